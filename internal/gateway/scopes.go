package gateway

import (
	"fmt"
	"slices"
	"strings"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// scopeRules decide which token a call carries: one with the scopes of the first
// rule that matches method, path, the provider's API version and for whom it is, else with the
// route's own. A third party's registry must never hold a token that opens more
// than the call needs.
type scopeRules struct {
	client string // the route's, if it has one
	rules  []scopeRule
	// sources are the sources of the tokens, by client: at 0 for the route's own
	// scopes, at i+1 for those of rule i.
	sources map[string][]*authn.Source
}

type scopeRule struct {
	config.ScopeRule
	paths patterns
}

// newScopeRules prepares the tokens that calls of a route may need. A route with
// neither scopes nor rules sends none: its rules are nil.
func (g *generation) newScopeRules(route *config.Route) (*scopeRules, error) {
	if !route.SendsToken() {
		return nil, nil
	}
	s := &scopeRules{client: route.Client, sources: make(map[string][]*authn.Source)}
	sets := [][]string{route.Scopes}
	for _, r := range route.Rules {
		s.rules = append(s.rules, scopeRule{r, patternsOf(r.Paths)})
		sets = append(sets, r.Scopes)
	}
	for client := range g.cfg.OAuth.Clients {
		for _, scopes := range sets {
			var source *authn.Source
			if len(scopes) > 0 {
				var err error
				if source, err = g.tokens.Source(client, scopes); err != nil {
					return nil, err
				}
			}
			s.sources[client] = append(s.sources[client], source)
		}
	}
	return s, nil
}

// source gives the source of the token for a call, nil for a route that sends none.
// version is that of the provider's API, empty where there is no provider.
func (s *scopeRules) source(c *call.Call, version string) (*authn.Source, error) {
	if s == nil {
		return nil, nil
	}
	client := c.Client
	if s.client != "" {
		client = s.client
	}
	sources, ok := s.sources[client]
	if !ok {
		return nil, problem.Internal(fmt.Errorf("there is no OAuth client %q", client))
	}
	source := sources[s.choose(c, version)+1]
	if source == nil {
		// Asked for without scopes, a token would carry every scope of the client.
		return nil, problem.Forbidden("This call has no scope in the gateway's configuration, so that no token can be " +
			"asked for. Have the platform team add one to the route's rules.")
	}
	return source, nil
}

// choose gives the index of the rule that decides, -1 for none.
func (s *scopeRules) choose(c *call.Call, version string) int {
	if len(s.rules) == 0 {
		return -1
	}
	method, whom := c.Method, config.ForOwn
	if method == "HEAD" {
		method = "GET"
	}
	if c.Enterprise != 0 {
		whom = config.ForAnother
	}
	// The path is read as leniently as the most lenient upstream would, lest a
	// variant of it be sent with the scopes of another call.
	return slices.IndexFunc(s.rules, func(r scopeRule) bool {
		return (r.For == "" || r.For == whom) && r.matches(method, c.Segments, version)
	})
}

func (r scopeRule) matches(method string, path []string, version string) bool {
	ofVersion := func(v string) bool { return sameVersion(v, version) }
	return (len(r.Methods) == 0 || slices.Contains(r.Methods, method)) &&
		(len(r.APIVersions) == 0 || slices.ContainsFunc(r.APIVersions, ofVersion)) &&
		(len(r.paths) == 0 || r.paths.match(path))
}

// patterns are the paths that a rule is for, as ebox.Segments reads them.
type patterns [][]string

func patternsOf(paths []string) (all patterns) {
	for _, p := range paths {
		all = append(all, ebox.Segments(p))
	}
	return all
}

// match reports whether one of them matches the segments of a call's path.
func (all patterns) match(path []string) bool {
	return slices.ContainsFunc(all, func(p []string) bool { return ebox.Matches(p, path) })
}

// sameVersion reports whether version is pattern or one below it: "2" is every 2.x.
func sameVersion(pattern, version string) bool {
	rest, ok := strings.CutPrefix(version, pattern)
	return ok && (rest == "" || rest[0] == '.')
}
