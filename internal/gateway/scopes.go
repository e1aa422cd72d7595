package gateway

import (
	"slices"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
)

// scopeRules decide which scopes the token for a call carries: those of the first
// rule that matches method, path and the provider's API version, else the route's
// own. A third party's registry must never hold a token that opens more than the
// call needs.
type scopeRules struct {
	rules    []scopeRule
	fallback []string
}

type scopeRule struct {
	methods, versions []string
	paths             [][]string // segments, lower case
	scopes            []string
}

func newScopeRules(route config.Route) scopeRules {
	s := scopeRules{fallback: route.Scopes}
	for _, r := range route.Rules {
		rule := scopeRule{methods: r.Methods, versions: r.APIVersions, scopes: r.Scopes}
		for _, p := range r.Paths {
			rule.paths = append(rule.paths, ebox.Segments(p))
		}
		s.rules = append(s.rules, rule)
	}
	return s
}

// choose gives the scopes, and the index of the rule that decided: -1 for none.
// version is that of the provider's API, empty where there is no provider.
func (s scopeRules) choose(method, path, version string) (scopes []string, rule int) {
	if len(s.rules) == 0 {
		return s.fallback, -1
	}
	if method == "HEAD" {
		method = "GET"
	}
	// The path is read as leniently as the most lenient upstream would, lest a
	// variant of it be sent with the scopes of another call.
	segments := ebox.Segments(path)
	for i, r := range s.rules {
		if r.matches(method, segments, version) {
			return r.scopes, i
		}
	}
	return s.fallback, -1
}

func (r scopeRule) matches(method string, path []string, version string) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, method) {
		return false
	}
	if len(r.versions) > 0 && !slices.ContainsFunc(r.versions, func(v string) bool { return sameVersion(v, version) }) {
		return false
	}
	return len(r.paths) == 0 || slices.ContainsFunc(r.paths, func(p []string) bool { return matchPath(p, path) })
}

// matchPath compares segment by segment: "*" is any one, a last "**" any number.
func matchPath(pattern, path []string) bool {
	for i, p := range pattern {
		if p == "**" && i == len(pattern)-1 {
			return true
		}
		if i >= len(path) || p != "*" && p != path[i] {
			return false
		}
	}
	return len(path) == len(pattern)
}

// sameVersion tells whether version is pattern or one below it: "2" is every 2.x.
func sameVersion(pattern, version string) bool {
	rest, ok := strings.CutPrefix(version, pattern)
	return ok && (rest == "" || rest[0] == '.')
}
