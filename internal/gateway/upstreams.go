package gateway

import (
	"sync/atomic"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/server"
)

// upstream is one system behind the gateway, with all that is its own.
type upstream struct {
	proxy     *proxy.Upstream
	transport *egress.Transport
}

// fixed is the target of a route whose upstream the configuration names.
type fixed struct {
	g        *Gateway
	route    config.Route
	rules    *scopeRules
	upstream *upstream
}

func (g *Gateway) newFixed(route config.Route) (*fixed, error) {
	rules, err := g.newScopeRules(route)
	if err != nil {
		return nil, err
	}
	o := upstreamOptions{
		name: route.Name, timeouts: route.Timeouts, guard: guardFor(route.Upstream, route.AllowPrivateNetworks),
		allowHTTP: route.AllowHTTP, withoutToken: tokenless(route),
	}
	stack, transport := g.stack(o)
	up, err := proxy.NewUpstream(route.Name, route.Upstream, stack, route.RewriteLinks)
	if err != nil {
		return nil, err
	}
	return &fixed{g: g, route: route, rules: rules, upstream: &upstream{proxy: up, transport: transport}}, nil
}

// tokenless tells a route that never sends a token: an empty list of scopes, said
// by the operator.
func tokenless(route config.Route) bool { return len(route.Scopes) == 0 && len(route.Rules) == 0 }

func (f *fixed) target(r server.TargetRequest) (server.Target, error) {
	t := server.Target{Upstream: f.upstream.proxy}
	var err error
	t.Credential, err = f.rules.credential(r, "")
	return t, err
}

// credentialKey is where the token layer looks for the source.
var credentialKey = authn.SourceKey

// federated is the target of a route that leads to the Document Providers.
type federated struct {
	g     *Gateway
	route config.Route
	rules *scopeRules
	// upstreams are those of the providers that may be called, by id. The map is
	// replaced as a whole when the directory changes.
	upstreams atomic.Pointer[map[string]*upstream]
}

func (g *Gateway) newFederated(route config.Route) (*federated, error) {
	rules, err := g.newScopeRules(route)
	if err != nil {
		return nil, err
	}
	f := &federated{g: g, route: route, rules: rules}
	f.upstreams.Store(&map[string]*upstream{})
	return f, nil
}

// follow makes the upstreams of a new list of providers. Those whose base URL did
// not change keep theirs, connections and all.
func (f *federated) follow(providers []directory.Provider) {
	old := *f.upstreams.Load()
	next := make(map[string]*upstream, len(providers))
	for i := range providers {
		p := &providers[i]
		if p.Base == nil || p.Refusal != "" {
			continue
		}
		if u, ok := old[p.ID]; ok && u.proxy.Base.String() == p.Base.String() {
			next[p.ID] = u
			continue
		}
		u, err := f.upstreamOf(p)
		if err != nil {
			f.g.log.Error("a Document Provider cannot be used", "provider", p.ID, "route", f.route.Name, "cause", err.Error())
			continue
		}
		next[p.ID] = u
	}
	f.upstreams.Store(&next)
	for id, u := range old {
		if next[id] != u {
			u.transport.CloseIdleConnections()
		}
	}
}

func (f *federated) upstreamOf(p *directory.Provider) (*upstream, error) {
	stack, transport := f.g.stack(upstreamOptions{
		name: "provider " + p.ID, timeouts: f.route.Timeouts, guard: f.g.providerGuard(p.ID),
		allowHTTP: f.g.cfg.Registry.AllowHTTP, withoutToken: tokenless(f.route),
	})
	up, err := proxy.NewUpstream("provider "+p.ID, p.Base, stack, f.route.RewriteLinks)
	if err != nil {
		return nil, err
	}
	return &upstream{proxy: up, transport: transport}, nil
}

// providerGuard says which addresses a provider may have. Where the list comes from
// elsewhere, an address in it is not the operator's word.
func (g *Gateway) providerGuard(id string) egress.Guard {
	allowPrivate := g.cfg.Registry.AllowPrivateNetworks
	for _, s := range g.cfg.Registry.Providers {
		if s.ID == id {
			return guardFor(s.URL, allowPrivate)
		}
	}
	return egress.Guard{AllowPrivate: allowPrivate}
}

func (f *federated) target(r server.TargetRequest) (server.Target, error) {
	p, ok := f.g.directory.Lookup(r.Provider)
	if !ok {
		if f.g.directoryEmpty() {
			return server.Target{}, problem.Unavailable("The gateway has no list of Document Providers yet: the Provider Registry has not answered since the start. Try again shortly; the platform team sees the reason in the gateway's status.", registryWait)
		}
		return server.Target{}, directory.Unknown(r.Provider, f.g.activeProviders())
	}
	if refused := p.Problem(f.g.now()); refused != nil {
		return server.Target{}, refused
	}
	u, ok := (*f.upstreams.Load())[p.ID]
	if !ok {
		return server.Target{}, directory.Unknown(r.Provider, f.g.activeProviders())
	}
	credential, err := f.rules.credential(r, p.APIVersion)
	return server.Target{Upstream: u.proxy, Credential: credential}, err
}
