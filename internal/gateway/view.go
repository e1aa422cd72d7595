package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/server"
)

// View is what operators may see of the gateway as it is now.
func (g *Gateway) View() *operate.View {
	now := g.current.Load()
	v := &operate.View{
		Version: g.o.Version, Started: g.started, Since: now.since, Now: g.o.Now,
		Config: now.cfg, Tokens: now.tokens, Directory: now.directory, Egress: now.egress, Redis: now.redis.shared,
		Callers: now.callers, Resolver: now.resolver, Routes: now.routes,
		Switches: g.pool.switches, Activity: g.activity, Cache: g.pool.cache,
		Evidence: g.pool.evidence.Status(), Suspended: len(now.resolver.Suspended()),
		Internal: g.Addrs(), Admin: g.AdminAddrs(),
		Stopping: g.state.Load() != serving, ReadyBefore: g.readiness.reached.Load(),
		UsedClients: now.usedClients, NoListYet: now.directoryEmpty, Upstreams: g.pool.status, Circuit: now.circuit,
		ProviderGuard: now.providerGuard,
		Endpoint: func(f operate.Forwarder, routes []*server.Route, show func([]inbox.Provider),
			done func(*call.Record)) http.Handler {
			return now.newEndpoint(f, routes, show, done)
		},
		Assume: now.assume, Short: g.internal.Short(),
	}
	if r := g.rejected.Load(); r != nil {
		v.Rejected = &operate.Rejected{At: r.at, Hash: r.hash, Errors: r.errors}
	}
	if expiry := g.listenerCertificates.Load(); expiry != nil {
		v.ListenerExpiry = *expiry
	}
	if missing := g.readiness.missing.Load(); missing != nil {
		v.Missing = *missing
	}
	return v
}

// assume is operate.View's.
func (g *generation) assume(route int, base *url.URL, c *call.Call) (server.Target, error) {
	const apiVersion = "3"
	to, err := call.NewUpstream(c.Provider, base, nowhere, false)
	if err != nil {
		return server.Target{}, err
	}
	rules, err := g.newScopeRules(g.cfg.Routes[route])
	if err != nil {
		return server.Target{}, err
	}
	up := &upstream{to: to, kept: g.newKept(g.cfg.Routes[route], rules, base.String())}
	return up.target(rules, c, apiVersion)
}

// nowhere is the stack of an upstream that is never called.
var nowhere = call.SenderFunc(func(context.Context, *call.Call, *http.Request) (*http.Response, error) {
	return nil, errors.New("a request that is only explained was sent")
})

// knownProvider gives the problem of an id that no Document Provider has.
func (g *Gateway) knownProvider(id string) error {
	now := g.current.Load()
	if _, ok := now.directory.Lookup(id); ok {
		return nil
	}
	if now.directoryEmpty() {
		return now.noListYet()
	}
	return directory.Unknown(id, now.directory.ActiveIDs())
}
