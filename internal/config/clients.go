package config

import "cmp"

// SendsToken reports whether calls by the route carry a token. An empty list of scopes, said by
// the operator, sends none.
func (r *Route) SendsToken() bool { return len(r.Scopes) > 0 || len(r.Rules) > 0 }

// UsedClients are the OAuth clients that a call can need: of routes, of the registry, of
// enterprises, and the default, each once.
func (c *Config) UsedClients() []string {
	used := make(map[string]bool)
	if c.Registry.URL != nil && len(c.Registry.Scopes) > 0 {
		used[cmp.Or(c.Registry.Client, c.Tenancy.DefaultClient)] = true
	}
	for i := range c.Routes {
		if r := &c.Routes[i]; r.SendsToken() {
			used[r.Client] = true
		}
	}
	if used[""] { // by a route whose client the enterprise decides
		used[c.Tenancy.DefaultClient] = true
		for _, e := range c.Tenancy.Enterprises {
			used[e.Client] = true
		}
	}
	delete(used, "")
	return sorted(used)
}
