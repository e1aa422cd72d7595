package config

import (
	"cmp"
	"slices"
)

// SendsToken reports whether calls by the route carry a token. An empty list of scopes, said by
// the operator, sends none.
func (r *Route) SendsToken() bool { return len(r.Scopes) > 0 || len(r.Rules) > 0 }

// UsedClients are the OAuth clients that a call can need: of routes, of the registry, of
// enterprises, and the default, each once.
func (c *Config) UsedClients() []string {
	clients := []string{}
	add := func(client string) {
		if client != "" && !slices.Contains(clients, client) {
			clients = append(clients, client)
		}
	}
	if c.Registry.URL != nil && len(c.Registry.Scopes) > 0 {
		add(cmp.Or(c.Registry.Client, c.Tenancy.DefaultClient))
	}
	shared := false // a route whose client the enterprise decides
	for i := range c.Routes {
		if r := &c.Routes[i]; r.SendsToken() {
			add(r.Client)
			shared = shared || r.Client == ""
		}
	}
	if shared {
		add(c.Tenancy.DefaultClient)
		for _, e := range c.Tenancy.Enterprises {
			add(e.Client)
		}
	}
	return clients
}
