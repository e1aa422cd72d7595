package gateway

import (
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// addRoute makes the route of the endpoint and the upstream, or the upstreams,
// that it leads to.
func (g *generation) addRoute(route config.Route) error {
	r := &server.Route{
		Path: route.Path, Methods: route.Methods, MaxBody: int64(route.MaxBody),
		Tenancy: tenancy.Route{Name: route.Name, Enterprise: demand(route.Enterprise)},
	}
	reads := make(ebox.Reads, len(route.Reads))
	for i, rule := range route.Reads {
		reads[i] = ebox.Read{Methods: rule.Methods, Paths: rule.Paths}
	}
	r.Classify = func(method, path string) ebox.Action { return ebox.Classify(method, path, reads) }
	switch route.Kind {
	case config.KindEBox, config.KindRegistry:
		r.Tenancy.Group = "ebox"
	case config.KindMandates:
		r.Tenancy.Mandates = true
		r.Classify = ebox.ClassifyMandates
	case config.KindPlain:
		r.Classify = func(method, path string) ebox.Action { return ebox.ClassifyPlain(method, path, reads) }
	}
	if route.Registry {
		f, err := g.newFederated(route)
		if err != nil {
			return err
		}
		g.federated = append(g.federated, f)
		r.Target = g.unlessSwitched(f.target)
	} else {
		f, err := g.newFixed(route)
		if err != nil {
			return err
		}
		r.Target = f.target
	}
	g.routes = append(g.routes, r)
	return nil
}

func demand(d config.Demand) tenancy.Rule {
	switch d {
	case config.Required:
		return tenancy.Required
	case config.None:
		return tenancy.None
	default:
		return tenancy.Optional
	}
}
