package config

import (
	"cmp"
	"slices"

	"go.yaml.in/yaml/v4"
)

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

// tokens checks that there is somebody to get tokens for, and somewhere.
func (k *check) tokens() {
	needed := k.c.Registry.URL != nil && len(k.c.Registry.Scopes) > 0 ||
		slices.ContainsFunc(k.c.Routes, func(r Route) bool { return r.SendsToken() })
	if !needed || k.c.Environment == "" {
		return
	}
	if k.c.OAuth.TokenURL == "" && !k.given("oauth.tokenUrl") {
		why := "the token endpoint of the environment " + string(k.c.Environment) +
			" is not public: ask the NSSO for it and write it here"
		if k.c.Environment == Custom {
			why = "a custom environment has no token endpoint of its own: write its URL"
		}
		k.fail("oauth.tokenUrl", "tokenUrl is missing: %s", why)
	}
	n := k.at("oauth.clients") // what is no mapping was reported
	if len(k.c.OAuth.Clients) == 0 && (n == nil || n.Kind == yaml.MappingNode) {
		k.fail("oauth.clients", "there is no client: add one with clientId and keystore, under a name of your choosing")
	}
}
