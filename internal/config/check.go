package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/enterprise"
)

// check looks at the configuration as a whole, after every value was found good
// by itself. It complains about what is missing only where the file says
// nothing: a value that is there and wrong was reported already.
type check struct {
	*decoder
	c      *Config
	routes map[string]bool
	// official are the routes that some environment has.
	official map[string]Route
	// listed are the enterprises, once all files were read without a mistake.
	listed map[enterprise.Number]origin
	// compatible are the environments that the URLs of a custom configuration
	// can all belong to; nil until an official one was seen.
	compatible []Environment
}

// references gathers the names of routes that may be referred to.
func (k *check) references() {
	k.routes = map[string]bool{groupEBox: true}
	k.official = officialRoutes()
	for name := range k.official {
		k.routes[name] = true
	}
	for i := range k.c.Routes {
		k.routes[k.c.Routes[i].Name] = true
	}
}

func (k *check) all() {
	c := k.c
	c.Server.check(k)
	c.Admin.check(k)
	c.OAuth.check(k)
	c.Tenancy.check(k)
	c.Routes.check(k)
	c.Registry.check(k)
	c.Egress.check(k)
	c.Redis.check(k)
	c.Audit.check(k)
	c.Tracing.check(k)
	k.tokens()
	k.callers()
}

// complain is fail for a message, if there is one.
func (k *check) complain(at, message string) {
	if message != "" {
		k.fail(at, "%s", message)
	}
}

func (k *check) unknownClient(name string) string {
	return unknownName("client", name, k.c.OAuth.Clients, "oauth.clients")
}

// names checks a list of references.
func (k *check) names(at string, list []string, unknown func(string) string) {
	for i, name := range list {
		k.complain(item(at, i), unknown(name))
	}
}

func (k *check) unknownRoute(name string) string {
	return unknownName("route", name, k.routes, "routes")
}

// unknownName says that there is no such name; nothing if there is one, or none is meant.
func unknownName[V any](what, name string, known map[string]V, where string) string {
	if _, ok := known[name]; ok || name == "" {
		return ""
	}
	names := sorted(known)
	if len(names) == 0 {
		return fmt.Sprintf("there is no %s %s: %s names none", what, quote(name), where)
	}
	return fmt.Sprintf("there is no %s %s: %sknown are %s", what, quote(name), didYouMean(name, names),
		strings.Join(names, ", "))
}

// belongs checks that an official host is one of the environment's.
func (k *check) belongs(at, host string, tokenEndpoint bool) {
	owners := environmentsOf(host, tokenEndpoint)
	if owners == nil || k.c.Environment == "" {
		return
	}
	of, allowed, others := strings.Join(words(owners...), " and "), k.compatible, "other URLs here to "
	switch {
	case k.c.Environment != Custom:
		allowed, others = []Environment{k.c.Environment}, "this is the environment "
	case allowed == nil:
		allowed = owners
	}
	both := slices.DeleteFunc(owners, func(e Environment) bool { return !slices.Contains(allowed, e) })
	if len(both) == 0 {
		k.fail(at, "%s belongs to %s, and %s%s: environments do not mix", host, of, others, allowed[0])
		return
	}
	k.compatible = both
}

// target checks a URL to which tokens or assertions go.
func (k *check) target(at string, u *url.URL, allowHTTP bool, allow string, tokenEndpoint bool) {
	if u == nil {
		return
	}
	k.belongs(at, u.Hostname(), tokenEndpoint)
	if u.Scheme != "http" || IsLoopbackHost(u.Hostname()) {
		return
	}
	switch {
	case environmentsOf(u.Hostname(), tokenEndpoint) != nil:
		k.fail(at, "the platform is called over https only: write https://")
	case !allowHTTP:
		k.fail(at, "tokens travel over https only: write https://, or %s: true in a lab", allow)
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
