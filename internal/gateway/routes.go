package gateway

import (
	"cmp"
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

// addRoute makes a route of the endpoint and the upstream, or the upstreams, that it leads to.
func (g *generation) addRoute(route *config.Route) error {
	// The office's own number is that of the route's client.
	client := cmp.Or(route.Client, g.cfg.Tenancy.DefaultClient)
	r := server.NewRoute(route, g.cfg.OAuth.Clients[client].Enterprise)
	rules, err := g.newScopeRules(route)
	if err != nil {
		return err
	}
	if route.Registry {
		f := &federated{g: g, route: route, rules: rules, upstreams: make(map[string]*upstream)}
		g.federated = append(g.federated, f)
		r.Target, r.Below = f.target, f.below
	} else {
		guard := egress.GuardOf(route.Upstream, route.AllowPrivateNetworks)
		u, err := g.newUpstream(route, rules, route.Name, route.Upstream, guard, route.AllowHTTP)
		if err != nil {
			return err
		}
		u.to.CallerCredentials = route.CallerCredentials
		r.Target = func(c *call.Call) (server.Target, error) { return u.target(c, "") }
		r.Below = func(authority, path string) (_, rest string, ok bool) {
			rest, ok = u.to.Forms.Below(authority, path)
			return "", rest, ok
		}
	}
	g.routes = append(g.routes, r)
	return nil
}

// upstream is one system behind the gateway, as one route calls it. Its stack may be shared.
type upstream struct {
	to    *call.Upstream
	stack *stacked
	key   stackKey
	rules *scopeRules
	// kept is how its answers are kept, nil if they are not.
	kept *kept
	// provider is the entry of the directory that it was made for, if any.
	provider *directory.Provider
}

func (g *generation) newUpstream(route *config.Route, rules *scopeRules, name string, base *url.URL,
	guard egress.Guard, allowHTTP bool) (*upstream, error) {
	o := upstreamOptions{
		name: name, base: base.String(), timeouts: route.Timeouts, guard: guard, allowHTTP: allowHTTP,
		withoutToken: !route.SendsToken(), protection: protectionOf(route),
	}
	u := &upstream{rules: rules, kept: g.newKept(route, o.base)}
	u.stack, u.key = g.stackOf(o)
	var err error
	if u.to, err = call.NewUpstream(name, base, u.stack.stack, route.RewriteLinks); err != nil {
		g.gw.stacks.leave(g, u.key)
		return nil, err
	}
	return u, nil
}

// target is the upstream as the target of a call. version is that of the provider's API,
// empty where there is no provider.
func (u *upstream) target(c *call.Call, version string) (server.Target, error) {
	source, err := u.rules.source(c, version)
	if err != nil {
		return server.Target{}, err
	}
	t := server.Target{Upstream: u.to, Keep: u.kept.of(source, c.Segments)}
	if source != nil {
		t.Credential = source.Session()
	}
	return t, nil
}

// federated is a route that leads to the Document Providers.
type federated struct {
	g     *generation
	route *config.Route
	rules *scopeRules
	mu    sync.Mutex
	// upstreams are those of the providers that were called, by id.
	upstreams map[string]*upstream
}

// target finds the call's provider, unless it cannot be called.
func (f *federated) target(c *call.Call) (server.Target, error) {
	if off := f.g.gw.switches.Refused(c.Provider); off != nil {
		return server.Target{}, off
	}
	p, ok := f.g.directory.Lookup(c.Provider)
	if !ok {
		return server.Target{}, f.g.unknownProvider(c.Provider)
	}
	if refused := p.Problem(f.g.gw.o.Now()); refused != nil {
		return server.Target{}, refused
	}
	u, err := f.upstreamOf(p)
	if err != nil {
		return server.Target{}, problem.Internal(err)
	}
	return u.target(c, p.APIVersion)
}

// upstreamOf gives the upstream of a provider, made when it is called for the first
// time or when its entry in the directory is another.
func (f *federated) upstreamOf(p *directory.Provider) (*upstream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u, ok := f.upstreams[p.ID]; ok && u.provider == p {
		return u, nil
	}
	r := &f.g.cfg.Registry
	made, err := f.g.newUpstream(f.route, f.rules, "provider "+p.ID, p.Base, egress.GuardOfProvider(r, p.ID), r.AllowHTTP)
	if err != nil {
		return nil, err
	}
	made.provider = p
	for id, u := range f.upstreams {
		if _, there := f.g.directory.Lookup(id); there && id != p.ID {
			continue
		}
		delete(f.upstreams, id)
		if u.key != made.key {
			f.g.gw.stacks.leave(f.g, u.key)
		}
	}
	f.upstreams[p.ID] = made
	return made, nil
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
		if p, ok := f.g.directory.Lookup(id); ok && p.Problem(f.g.gw.o.Now()) == nil {
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

// circuit is the state of a provider's circuit: closed if it was never called, the worst if
// several routes lead to it.
func (g *generation) circuit(id string) resilience.State {
	worst := resilience.State{Circuit: resilience.Closed}
	for _, f := range g.federated {
		f.mu.Lock()
		u, called := f.upstreams[id]
		f.mu.Unlock()
		if !called {
			continue
		}
		if s := u.stack.protection.State(); s.Circuit == resilience.Open || worst.Circuit == resilience.Closed {
			worst = s
		}
	}
	return worst
}
