package gateway

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
)

// upstream is one system behind the gateway. Its stack is the pool's.
type upstream struct {
	to    *call.Upstream
	stack *stacked
	key   stackKey
	// kept is how its answers are kept, nil if they are not.
	kept *kept
	// provider is the entry of the directory that it was made for, if any.
	provider *directory.Provider
}

func (g *generation) newUpstream(o upstreamOptions, base *url.URL, rewriteLinks bool) (*upstream, error) {
	o.base = base.String()
	s, key := g.stackOf(o)
	up, err := call.NewUpstream(o.name, base, s.stack, rewriteLinks)
	if err != nil {
		g.pool.stacks.leave(g, key)
		return nil, err
	}
	return &upstream{to: up, stack: s, key: key}, nil
}

// fixed is the target of a route whose upstream the configuration names.
type fixed struct {
	g        *generation
	route    config.Route
	rules    *scopeRules
	upstream *upstream
}

func (g *generation) newFixed(route config.Route) (*fixed, error) {
	rules, err := g.newScopeRules(route)
	if err != nil {
		return nil, err
	}
	up, err := g.newUpstream(upstreamOptions{
		name: route.Name, timeouts: route.Timeouts, guard: egress.GuardOf(route.Upstream, route.AllowPrivateNetworks),
		allowHTTP: route.AllowHTTP, withoutToken: tokenless(route), protection: protectionOf(route),
	}, route.Upstream, route.RewriteLinks)
	if err != nil {
		return nil, err
	}
	up.to.CallerCredentials = route.CallerCredentials
	up.kept = g.newKept(route, rules, up.key.options.base)
	return &fixed{g: g, route: route, rules: rules, upstream: up}, nil
}

// tokenless tells a route that never sends a token: an empty list of scopes, said
// by the operator.
func tokenless(route config.Route) bool { return len(route.Scopes) == 0 && len(route.Rules) == 0 }

func (f *fixed) target(c *call.Call) (server.Target, error) {
	return f.upstream.target(f.rules, c, "")
}

// federated is the target of a route that leads to the Document Providers.
type federated struct {
	g     *generation
	route config.Route
	rules *scopeRules
	mu    sync.Mutex
	// upstreams are those of the providers that were called, by id.
	upstreams map[string]*upstream
}

func (g *generation) newFederated(route config.Route) (*federated, error) {
	rules, err := g.newScopeRules(route)
	if err != nil {
		return nil, err
	}
	return &federated{g: g, route: route, rules: rules, upstreams: make(map[string]*upstream)}, nil
}

// upstreamOf gives the upstream of a provider, made when it is called for the first
// time or when its entry in the directory is another.
func (f *federated) upstreamOf(p *directory.Provider) (*upstream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u, ok := f.upstreams[p.ID]; ok && u.provider == p {
		return u, nil
	}
	made, err := f.newUpstreamOf(p)
	if err != nil {
		return nil, err
	}
	for id, u := range f.upstreams {
		if _, there := f.g.directory.Lookup(id); there && id != p.ID {
			continue
		}
		delete(f.upstreams, id)
		if u.key != made.key {
			f.g.pool.stacks.leave(f.g, u.key)
		}
	}
	f.upstreams[p.ID] = made
	return made, nil
}

func (f *federated) newUpstreamOf(p *directory.Provider) (*upstream, error) {
	u, err := f.g.newUpstream(upstreamOptions{
		name: "provider " + p.ID, timeouts: f.route.Timeouts, guard: f.g.providerGuard(p.ID),
		allowHTTP: f.g.cfg.Registry.AllowHTTP, withoutToken: tokenless(f.route), protection: protectionOf(f.route),
	}, p.Base, f.route.RewriteLinks)
	if err != nil {
		return nil, err
	}
	u.provider = p
	u.kept = f.g.newKept(f.route, f.rules, u.key.options.base)
	return u, nil
}

// takeOver makes the upstreams that old has, if the provider is still there: its
// stack is then kept, and with it the circuit, the rate and the connections, even if
// nobody calls the provider before old ends. Before the directory is there, it
// cannot be called.
func (f *federated) takeOver(old *federated) {
	old.mu.Lock()
	called := slices.Collect(maps.Keys(old.upstreams))
	old.mu.Unlock()
	for _, id := range called {
		if p, ok := f.g.directory.Lookup(id); ok && p.Problem(f.g.now()) == nil {
			_, _ = f.upstreamOf(p) // what cannot be made now fails when it is called, with its reason
		}
	}
}

// below finds the provider below whose base URL a URL lies, and what the path has behind
// that base. Of bases that lie in one another the longest counts.
func (f *federated) below(authority, path string) (id, rest string, ok bool) {
	for _, p := range f.g.directory.List() {
		forms := links.NewForms(p.Base, strings.TrimRight(p.Base.EscapedPath(), "/"))
		if behind, under := forms.Below(authority, path); under && (!ok || len(behind) < len(rest)) {
			id, rest, ok = p.ID, behind, true
		}
	}
	return id, rest, ok
}

// circuit is the state of a provider's circuit, closed if it was never called.
func (f *federated) circuit(id string) resilience.State {
	f.mu.Lock()
	u, ok := f.upstreams[id]
	f.mu.Unlock()
	if ok {
		return u.stack.protection.State()
	}
	return resilience.State{Circuit: resilience.Closed}
}

// providerGuard says which addresses a provider may be called at. Where the list comes
// from elsewhere than the configuration, an address in it is not the operator's word.
func (g *generation) providerGuard(id string) egress.Guard {
	r := g.cfg.Registry
	for _, s := range r.Providers {
		if s.ID == id {
			return egress.GuardOf(s.URL, r.AllowPrivateNetworks)
		}
	}
	return egress.Guard{AllowPrivate: r.AllowPrivateNetworks}
}

func (f *federated) target(c *call.Call) (server.Target, error) {
	p, ok := f.g.directory.Lookup(c.Provider)
	if !ok {
		if f.g.directoryEmpty() {
			return server.Target{}, f.g.noListYet()
		}
		return server.Target{}, directory.Unknown(c.Provider, f.g.directory.ActiveIDs())
	}
	if refused := p.Problem(f.g.now()); refused != nil {
		return server.Target{}, refused
	}
	u, err := f.upstreamOf(p)
	if err != nil {
		return server.Target{}, problem.Internal(err)
	}
	return u.target(f.rules, c, p.APIVersion)
}

// target is the upstream as the target of a call. version is that of the provider's API,
// empty where there is no provider.
func (u *upstream) target(rules *scopeRules, c *call.Call, version string) (server.Target, error) {
	source, err := rules.source(c, version)
	if err != nil {
		return server.Target{}, err
	}
	t := server.Target{Upstream: u.to, Keep: u.kept.of(source, c.Segments)}
	if source != nil {
		t.Credential = source.Session()
	}
	return t, nil
}
