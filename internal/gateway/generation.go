package gateway

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
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
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/tenancy"
)

// generation is everything that one configuration makes. It is built whole and then
// swapped in.
type generation struct {
	gw    *Gateway
	cfg   *config.Config
	since time.Time
	// active counts the requests that the generation is serving.
	active atomic.Int64

	carried
	callers   *tenancy.Callers
	resolver  *tenancy.Resolver
	routes    []*server.Route
	federated []*federated
	endpoint  *server.Endpoint
	// templates are the paths of the routes in traces, by name; impersonal are the routes
	// whose answers are about nobody.
	templates  map[string]string
	impersonal map[string]bool
}

// carried are the parts that a generation takes over from the one before as far as the new
// configuration leaves them as they were. Stacks of upstreams are shared in the same way, by
// their key (stackOf).
type carried struct {
	contents  contents
	egress    *egress.Egress
	redis     *redisstore.Store // nil if there is none
	tracer    *telemetry.Tracer // nil without a collector
	tokens    *authn.Tokens
	directory *directory.Directory
	// registryToken is the source of the registry's token, nil if it needs none.
	registryToken *authn.Source
}

func (g *generation) leave() { g.active.Add(-1) }

// newGeneration builds a generation. old is the one in force, nil at the start; it
// is not changed.
func (gw *Gateway) newGeneration(cfg *config.Config, old *generation) (*generation, error) {
	g := &generation{gw: gw, cfg: cfg, since: gw.o.Now()}
	if err := g.build(old); err != nil {
		g.discard(old) // what it took and made before it failed
		return nil, err
	}
	return g, nil
}

// build takes over what stays, makes the rest, and hands on to it what the one before keeps.
func (g *generation) build(old *generation) error {
	read, err := readContents(g.cfg)
	if err != nil {
		return err
	}
	g.carried = carryOver(old, g.cfg, read)
	if err := g.makeParts(); err != nil {
		return err
	}
	g.callers = tenancy.NewCallers(g.cfg.Callers)
	g.resolver = tenancy.NewResolver(g.cfg.Tenancy, g.gw.o.Now)
	g.templates, g.impersonal = map[string]string{server.InboxRoute: "/ebox/*"}, make(map[string]bool)
	for i := range g.cfg.Routes {
		route := &g.cfg.Routes[i]
		if err := g.addRoute(route); err != nil {
			return fmt.Errorf("preparing route %s: %w", route.Name, err)
		}
		g.templates[route.Name] = route.Path
		g.impersonal[route.Name] = route.Kind == config.KindRegistry
	}
	if old != nil {
		g.adopt(old)
	}
	way := proxy.New(proxy.Options{Log: g.gw.o.Log, Cache: g.gw.cache, Classify: egress.Classify, Now: g.gw.o.Now})
	g.endpoint = g.newEndpoint(way, g.routes, nil, g.gw.done)
	return nil
}

// carryOver gives the parts of old that cfg leaves as they were; those that are nil are made
// anew. now is what the files of cfg hold.
func carryOver(old *generation, cfg *config.Config, now contents) carried {
	c := carried{contents: now}
	if old == nil {
		return c
	}
	was, before := old.cfg, &old.contents
	environment := cfg.Environment == was.Environment
	if reflect.DeepEqual(cfg.Egress, was.Egress) && bytes.Equal(now.egressCA, before.egressCA) {
		c.egress = old.egress
	}
	redis := environment && reflect.DeepEqual(cfg.Redis, was.Redis) && bytes.Equal(now.redisCA, before.redisCA) &&
		slices.EqualFunc(now.redisKeys, before.redisKeys, redisstore.Key.Same)
	if redis {
		c.redis = old.redis
	}
	if environment && reflect.DeepEqual(cfg.Tracing, was.Tracing) && bytes.Equal(now.tracingCA, before.tracingCA) &&
		bytes.Equal(now.tracingHeaders, before.tracingHeaders) {
		c.tracer = old.tracer
	}
	// Tokens hold on to the egress and the Redis that they were made with, the directory to tokens.
	if c.egress != nil && redis && reflect.DeepEqual(cfg.OAuth, was.OAuth) {
		c.tokens = old.tokens
	}
	if c.tokens != nil && reflect.DeepEqual(cfg.Registry, was.Registry) &&
		cfg.Tenancy.DefaultClient == was.Tenancy.DefaultClient {
		c.directory, c.registryToken = old.directory, old.registryToken
	}
	return c
}

// adopt has the parts that were made anew take what those of old keep: tokens that are still
// good and keys that wait to be accepted, the list of providers, and the circuits, rates and
// connections of the providers that were called.
func (g *generation) adopt(old *generation) {
	if g.tokens != old.tokens {
		g.tokens.Adopt(old.tokens) // all sources exist by now
	}
	if g.directory != old.directory {
		if now, was := g.cfg.Registry.URL, old.cfg.Registry.URL; now != nil && was != nil && *now == *was {
			g.directory.Adopt(old.directory)
		}
		g.directory.Warm(context.Background())
	}
	for _, f := range g.federated {
		for _, before := range old.federated {
			if f.route.Name == before.route.Name {
				f.takeOver(before)
			}
		}
	}
}

// discard gives up a generation that never came to serve.
func (g *generation) discard(old *generation) {
	g.gw.stacks.leaveAll(g)
	if r := g.redis; r != nil && (old == nil || old.redis != r) {
		r.Close()
	}
}

// contents are what the files held that parts are made of and that these do not watch
// themselves.
type contents struct {
	egressCA, redisCA, tracingCA, tracingHeaders []byte
	redisKeys                                    []redisstore.Key
}

func readContents(cfg *config.Config) (c contents, err error) {
	read := func(key, file string) (content []byte) {
		if file == "" || err != nil {
			return nil
		}
		if content, err = files.Text(file, files.Most); err != nil {
			err = fmt.Errorf("reading %s: %w", key, err)
		}
		return content
	}
	c.egressCA = read("egress.caFile", cfg.Egress.CAFile)
	if cfg.Tracing.Endpoint != nil {
		c.tracingCA = read("tracing.caFile", cfg.Tracing.CAFile)
		c.tracingHeaders = read("tracing.headersFile", cfg.Tracing.HeadersFile)
	}
	if cfg.Redis.URL == "" {
		return c, err
	}
	c.redisCA = read("redis.caFile", cfg.Redis.CAFile)
	for _, k := range cfg.Redis.EncryptionKeys {
		key, failed := redisstore.LoadKey(k.ID, k.File)
		c.redisKeys, err = append(c.redisKeys, key), cmp.Or(err, failed)
	}
	return c, err
}

// newEndpoint makes the endpoint. show is newInbox's.
func (g *generation) newEndpoint(f operate.Forwarder, routes []*server.Route, show func([]inbox.Provider),
	done func(*call.Record)) *server.Endpoint {
	return server.NewEndpoint(server.Options{
		Config: g.cfg, Callers: g.callers, Resolver: g.resolver, Closed: g.gw.switches.Closed, Enter: g.gw.enterCaller,
		AdmitCaller: g.gw.admitCaller, Admit: g.gw.evidence.Admission(g.impersonal, g.gw.admit),
		Memory: g.gw.memory, Proxy: f, Providers: g.listProviders, Routes: routes, Inbox: g.newInbox(routes, show),
		Done: done,
	})
}
