package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// generation is everything that one configuration makes. It is built whole and
// then swapped in; what the one before it has and the new configuration does not
// change is taken over: connections, tokens, the list of providers.
type generation struct {
	cfg   *config.Config
	log   *slog.Logger
	now   func() time.Time
	since time.Time
	done  func(*call.Record)

	pool      *pool
	caFile    []byte // content of egress.caFile
	egress    *egress.Egress
	redis     redis
	version   string // of the program
	tracing   tracing
	tokens    *authn.Tokens
	directory *directory.Directory
	// registryToken is the source of the registry's token, nil if it needs none.
	registryToken *authn.Source
	callers       *tenancy.Callers
	resolver      *tenancy.Resolver
	routes        []*server.Route
	federated     []*federated
	edge          *server.Edge
	// impersonal are the routes whose answers are about nobody.
	impersonal map[string]bool
	endpoint   *server.Endpoint

	// active counts the requests that the generation is serving.
	active atomic.Int64
}

func (g *generation) leave() { g.active.Add(-1) }

// newGeneration builds a generation. old is the one in force, nil at the start; it
// is not changed.
func newGeneration(cfg *config.Config, o Options, p *pool, old *generation,
	done func(*call.Record)) (*generation, error) {
	g := &generation{cfg: cfg, log: o.Log, now: o.Now, version: o.Version, since: o.Now(), done: done, pool: p}
	if err := g.build(old); err != nil {
		g.discard(old) // what it took and made before it failed
		return nil, err
	}
	return g, nil
}

func (g *generation) build(old *generation) error {
	cfg := g.cfg
	if err := g.newEgress(old); err != nil {
		return fmt.Errorf("preparing the way out: %w", err)
	}
	if err := g.newRedis(old); err != nil {
		return fmt.Errorf("preparing Redis: %w", err)
	}
	if err := g.newTokens(old); err != nil {
		return fmt.Errorf("preparing the OAuth clients: %w", err)
	}
	if err := g.newTracing(old); err != nil {
		return fmt.Errorf("preparing traces: %w", err)
	}
	g.callers, g.resolver = tenancy.NewCallers(cfg.Callers), tenancy.NewResolver(cfg.Tenancy, g.now)
	for _, route := range cfg.Routes {
		if err := g.addRoute(route); err != nil {
			return fmt.Errorf("preparing route %s: %w", route.Name, err)
		}
	}
	if err := g.newDirectory(old); err != nil {
		return err
	}
	if old != nil {
		for _, f := range g.federated {
			for _, before := range old.federated {
				if f.route.Name == before.route.Name {
					f.takeOver(before)
				}
			}
		}
	}
	way, err := proxy.New(proxy.Options{Log: g.log, Cache: g.pool.cache, Classify: egress.Classify, Now: g.now})
	if err != nil {
		return err
	}
	if old != nil && g.tokens != old.tokens {
		// All sources exist by now. Without this, tokens that are still good and keys
		// that wait to be accepted would be lost.
		g.tokens.Adopt(old.tokens)
	}
	g.impersonal = impersonalRoutes(cfg.Routes)
	g.edge = server.NewEdge(cfg.Server.PublicURL, cfg.Server.AllowedHosts, cfg.Server.AllowedOrigins)
	g.endpoint = g.newEndpoint(way, g.routes, nil, g.done)
	return nil
}

func (g *generation) newEgress(old *generation) error {
	c := g.cfg.Egress
	if c.CAFile != "" {
		var err error
		if g.caFile, err = files.Text(c.CAFile, files.Most); err != nil {
			return fmt.Errorf("reading egress.caFile: %w", err)
		}
	}
	if old != nil && reflect.DeepEqual(c, old.cfg.Egress) && bytes.Equal(g.caFile, old.caFile) {
		g.egress = old.egress
		return nil
	}
	var err error
	g.egress, err = egress.New(egress.Options{Egress: c, Now: g.now,
		Calls: g.pool.calls, Log: g.log})
	return err
}

// newEndpoint makes the endpoint. show is newInbox's.
func (g *generation) newEndpoint(f operate.Forwarder, routes []*server.Route, show func([]inbox.Provider),
	done func(*call.Record)) *server.Endpoint {
	absent := make(map[string]string, len(g.cfg.Absent))
	for _, a := range g.cfg.Absent {
		absent[a.Path] = a.Reason
	}
	tokenURL, _ := url.Parse(g.cfg.OAuth.TokenURL) // the configuration's check has parsed it
	return server.NewEndpoint(server.Options{
		Edge: g.edge, ForwardProxy: g.cfg.Server.ForwardProxy, TokenStub: g.cfg.Server.TokenStub, TokenURL: tokenURL,
		PublicURL: g.cfg.Server.PublicURL, TrustedProxies: g.cfg.Server.TrustedProxies,
		MaxTarget: int(g.cfg.Server.Limits.MaxTargetBytes), MaxParameters: g.cfg.Server.Limits.MaxQueryParameters,
		Callers: g.callers, Resolver: g.pool.switches.Resolver(g.resolver), Enter: g.pool.enter,
		AdmitCaller: g.pool.admitCaller, Admit: g.pool.evidence.Admission(g.impersonal, g.pool.admit),
		Memory: g.pool.memory,
		Proxy:  f, Providers: g.listProviders, Routes: routes, Inbox: g.newInbox(routes, show),
		Absent: absent, Environment: string(g.cfg.Environment), Done: done,
	})
}
