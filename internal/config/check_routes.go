package config

import (
	"regexp"
	"slices"
	"strings"
)

func (routes Routes) check(k *check) {
	paths := make(map[string]string)
	for i := range routes {
		r := &routes[i]
		at := k.routeAt[r.Name]
		if at == "" && r.Name == "" {
			continue // a route without a name was reported
		}
		if at != "" { // else the file does not touch the environment's
			r.check(k, at)
		}
		if other, taken := paths[r.Path]; taken && r.Path != "" {
			k.fail(join(at, "path"), "the path %s is the route %s's already", r.Path, other)
		}
		paths[r.Path] = r.Name
	}
	// What the configuration adds by hand is not absent.
	k.c.Absent = slices.DeleteFunc(slices.Clone(k.c.Absent), func(a AbsentAPI) bool { return paths[a.Path] != "" })
}

func (r *Route) check(k *check, at string) {
	if r.Name == groupEBox {
		k.fail(at+".name", "%q stands for all e-Box routes: choose another name", groupEBox)
	}
	if o, ok := k.official[r.Name]; ok && k.c.Environment != Custom && r.Kind != o.Kind && k.given(at+".kind") {
		k.fail(at+".kind", "%s is of kind %s: give another route another name", r.Name, o.Kind)
	}
	if !k.given(at, "path", "upstream") && k.absentHere(r.Name) {
		k.fail(at, "the environment %s has no %s to change; a route of your own needs path, upstream and scopes",
			k.c.Environment, r.Name)
		return
	}
	r.checkPath(k, at+".path")
	switch {
	case r.Upstream != nil:
		k.target(at+".upstream", r.Upstream, r.AllowHTTP, "allowHttp", false)
	case !r.Registry && !k.given(at+".upstream"):
		k.fail(at, "upstream is missing: the base URL, or {registry: true} for the provider of the path")
	}
	if !k.given(at+".scopes") && r.Scopes == nil {
		k.fail(at, "scopes are missing: say what the token for this route carries, scopes: [] for no token at all")
	}
	r.checkEnterpriseIn(k, at+".enterpriseIn")
	for i, rule := range r.Rules {
		at := item(at+".rules", i)
		if k.given(at) && !k.given(at, "methods", "paths", "apiVersions", "for") { // not an environment's own rule
			k.fail(at, "this rule matches every call: add methods, paths, apiVersions or for, or use the route's scopes")
		}
		k.methods(at+".methods", rule.Methods, false, r.Kind == KindPlain)
	}
	for i, rule := range r.Reads {
		at := item(at+".reads", i) + ".methods"
		k.methods(at, rule.Methods, false, r.Kind == KindPlain)
		if j := slices.Index(rule.Methods, "GET"); j >= 0 {
			k.fail(item(at, j), "GET reads without being named: name the other methods that do")
		}
	}
	k.complain(at+".client", k.unknownClient(r.Client))
	k.methods(at+".methods", r.Methods, true, r.Kind == KindPlain)
	r.checkCallerCredentials(k, at+".callerCredentials")
	r.Rate.check(k, k.decoder, at+".rate", false)
	if r.Kind == KindMandates && r.Cache.Enabled {
		k.fail(at+".cache.enabled", "answers of kind mandates are never kept: leave it false")
	}
	if r.Kind == KindMandates && (r.MaxBody == Unlimited || r.MaxBody > 16<<20) {
		k.fail(at+".maxBody", "bodies of kind mandates are read whole before they are sent: at most 16MiB is allowed")
	}
}

// absentHere reports whether other environments have a route and this one has not.
func (k *check) absentHere(name string) bool {
	if _, official := k.official[name]; !official || k.c.Environment == Custom || k.c.Environment == "" {
		return false
	}
	var here Config
	presetOf(k.c.Environment).apply(&here)
	return !slices.ContainsFunc(here.Routes, func(r Route) bool { return r.Name == name })
}

func (r *Route) checkPath(k *check, at string) {
	if r.Path == "" {
		if !k.given(at) {
			k.fail(at, "path is missing: the prefix on the internal endpoint, as in /hr/archive")
		}
		return
	}
	holes := strings.Count(r.Path, "{")
	switch {
	case !cleanPath(r.Path) || strings.Contains(r.Path, "*"):
		k.fail(at, "%s is no path: /segments of letters, digits, \"-\", \".\", \"_\" and \"~\" are expected, without a "+
			"slash at the end", quote(r.Path))
	case holes > 1 || holes != strings.Count(r.Path, "}") || holes == 1 &&
		!slices.Contains(strings.Split(r.Path, "/"), providerSegment):
		k.fail(at, "the only variable segment is %s, once", providerSegment)
	case r.Registry && holes == 0:
		k.fail(at, "a route to the registry's providers needs the segment %s in its path", providerSegment)
	case !r.Registry && holes == 1 && r.Upstream != nil:
		k.fail(at, "%s is for upstream: {registry: true}", providerSegment)
	case below(r.Path, "/enterprises"):
		k.fail(at, "/enterprises/{number} stands in front of every path and cannot be a route")
	case answeredHere(r.Path) || below(r.Path, "/ebox/providers") && !r.Registry:
		k.fail(at, "the gateway answers %s itself: choose another path", r.Path)
	}
}

// answeredHere reports whether the gateway answers a path itself.
func answeredHere(path string) bool {
	return path == "/ebox" || path == "/ebox/providers" || below(path, "/ebox/messages")
}

// checkEnterpriseIn checks where a route has the number in its paths.
func (r *Route) checkEnterpriseIn(k *check, at string) {
	if r.EnterpriseIn == "" {
		return
	}
	number := 0
	for segment := range strings.SplitSeq(r.EnterpriseIn, "/") {
		if segment == enterpriseSegment {
			number++
		}
	}
	switch plain := strings.ReplaceAll(r.EnterpriseIn, enterpriseSegment, "n"); {
	case number != 1 || !cleanPath(plain) || strings.ContainsAny(plain, "{}*"):
		k.fail(at, "%s is no place of a number: write it as /ebox/%s, segments with %[2]s once", quote(r.EnterpriseIn),
			enterpriseSegment)
	case r.Kind == KindMandates:
		k.fail(at, "grant/citizen names the enterprise in body or query: leave the key out")
	case r.Enterprise == None:
		k.fail(at, "a route whose paths name enterprises cannot have enterprise: none")
	}
}

var methodNames = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// ownMethod is the name of a method that only an upstream of one's own may have.
// Methods are case-sensitive, and those that are in use are in capitals.
var ownMethod = regexp.MustCompile(`^[A-Z][A-Z0-9-]{0,31}$`)

// methods checks a route's methods, or a rule's. A plain route may have any that can be
// forwarded.
func (k *check) methods(at string, list []string, route, plain bool) {
	for i, m := range list {
		item := item(at, i)
		switch {
		case m == "":
		case m == "OPTIONS" || m == "TRACE" || m == "CONNECT":
			k.fail(item, "%s is never forwarded: allowed are %s", m, strings.Join(methodNames, ", "))
		case m == "HEAD" && route && !slices.Contains(list, "GET"):
			k.fail(item, "HEAD goes where GET goes: add GET")
		case m == "HEAD" && !route:
			k.fail(item, "HEAD goes with GET: write GET")
		case plain && m != "PRI" && ownMethod.MatchString(m): // PRI begins HTTP/2
		case !slices.Contains(methodNames, m):
			k.fail(item, "%s is no method: allowed are %s", quote(m), strings.Join(methodNames, ", "))
		}
	}
}

// checkCallerCredentials checks that a caller's own credentials go nowhere but to an upstream
// of the operator's own: never beside a token of the gateway's, never to a system of the
// e-Box, and not for an enterprise, which such an upstream knows nothing of.
func (r *Route) checkCallerCredentials(k *check, at string) {
	if !r.CallerCredentials {
		return
	}
	switch {
	case r.Kind != KindPlain || r.Registry:
		k.fail(at, "only a route of kind plain, to an upstream of your own, can pass them on: leave it false")
	case r.SendsToken() || r.Client != "":
		k.fail(at, "this route sends a token of the gateway's, and a call has one credential: leave it false, or write "+
			"scopes: [] and no rules or client")
	case r.Enterprise != None:
		k.fail(at, "an upstream that knows its callers itself is not told of enterprises: write enterprise: "+
			"none, or leave it false")
	}
}
