package gateway

import (
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// addRoute makes the route of the endpoint and the upstream, or the upstreams,
// that it leads to.
func (g *generation) addRoute(route config.Route) error {
	r := &server.Route{
		Path: route.Path, Methods: route.Methods, MaxBody: int64(route.MaxBody),
		PassKeys:     route.IdempotencyKey == config.KeyPassed,
		Tenancy:      tenancy.Route{Name: route.Name, Enterprise: route.Enterprise, Own: g.ownNumber(route.Client)},
		EnterpriseIn: route.EnterpriseIn,
	}
	reads := ebox.Reads(route.Reads)
	r.Classify = func(method string, path ebox.Path) ebox.Action { return ebox.Classify(method, path, reads) }
	switch route.Kind {
	case config.KindEBox, config.KindRegistry:
		r.Tenancy.Group = "ebox"
		r.Named = func(method string, path ebox.Path, query string, body []byte) ([]ebox.Named, error) {
			return ebox.NamedIn(method, path, query, body, reads)
		}
		r.NamesProviders = !route.Registry // the older registry's list is an answer of the Federation API
	case config.KindMandates:
		r.Tenancy.Mandates = true
		r.Classify = ebox.ClassifyMandates
	case config.KindPlain:
		r.Classify = func(method string, path ebox.Path) ebox.Action { return ebox.ClassifyPlain(method, path, reads) }
	}
	if route.Registry {
		f, err := g.newFederated(route)
		if err != nil {
			return err
		}
		g.federated = append(g.federated, f)
		r.Target, r.Below = g.pool.switches.Unless(f.target), f.below
	} else {
		f, err := g.newFixed(route)
		if err != nil {
			return err
		}
		r.Target = f.target
		r.Below = func(authority, path string) (_, rest string, ok bool) {
			rest, ok = f.upstream.to.Forms.Below(authority, path)
			return "", rest, ok
		}
	}
	g.routes = append(g.routes, r)
	return nil
}

// ownNumber is the office's own number by a client, the default one if client is empty; 0
// if the configuration does not say it.
func (g *generation) ownNumber(client string) enterprise.Number {
	if client == "" {
		client = g.cfg.Tenancy.DefaultClient
	}
	return g.cfg.OAuth.Clients[client].Enterprise
}
