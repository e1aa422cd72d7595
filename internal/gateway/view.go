package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/server"
)

// View is what operators may see of the gateway as it is now.
func (g *Gateway) View() *operate.View {
	now := g.current.Load()
	v := &operate.View{
		Version: g.o.Version, Started: g.started, Since: now.since, Now: g.o.Now,
		Config: now.cfg, Tokens: now.tokens, Directory: now.directory, Egress: now.egress, Redis: now.redis,
		Callers: now.callers, Resolver: now.resolver, Routes: now.routes,
		Switches: g.switches, Activity: g.activity, Cache: g.cache.Stats,
		Evidence: g.evidence.Status(), Suspended: len(now.resolver.Suspended()),
		Internal: g.Addrs(), Admin: g.AdminAddrs(),
		Stopping: g.state.Load() != serving, ReadyBefore: g.readiness.reached.Load(),
		Upstreams: g.upstreams, Circuit: now.circuit,
		Endpoint: func(f operate.Forwarder, routes []*server.Route, show func([]inbox.Provider),
			done func(*call.Record)) http.Handler {
			return now.newEndpoint(f, routes, show, done)
		},
		Assume: now.assume, UnderWay: g.serving.Load(), RateRefusals: g.limits.Refusals(), Short: g.internal.Short(),
		TurnedAway:     g.internal.TurnedAway(),
		ListenerExpiry: g.certificates.Load().expiry, Missing: firstTry,
	}
	if r := g.rejected.Load(); r != nil {
		v.Rejected = &r.Rejected
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
	rules, err := g.newScopeRules(&g.cfg.Routes[route])
	if err != nil {
		return server.Target{}, err
	}
	up := &upstream{to: to, rules: rules, kept: g.newKept(&g.cfg.Routes[route], base.String())}
	return up.target(c, apiVersion)
}

// nowhere is the stack of an upstream that is never called.
var nowhere = call.SenderFunc(func(context.Context, *call.Call, *http.Request) (*http.Response, error) {
	return nil, errors.New("a request that is only explained was sent")
})
