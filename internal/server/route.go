package server

import (
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

// Route is one route of the configuration, with what its kind of API means.
type Route struct {
	tenancy.Route
	// classify says what a call does; path is below the route's own.
	classify func(method string, path ebox.Path) ebox.Action
	// namesEnterprises says that its calls name enterprises in query and body, as ebox.NamedIn finds them.
	namesEnterprises bool
	// namesProviders says that its answers may hold URLs of Document Providers, which then lead
	// to the gateway's paths for them.
	namesProviders bool

	// Below reports whether a URL lies below the base of the route's upstream, or of one of
	// its providers, which it then names: what call.Upstream's Forms.Below tells.
	Below func(authority, path string) (provider, rest string, ok bool)
	// Target chooses upstream and credential by the call's provider, client, method, path below
	// the route's own, and by whether it is for a represented enterprise. Its errors are problems.
	Target func(*call.Call) (Target, error)
}

// Target is where a call goes.
type Target struct {
	Upstream *call.Upstream
	// Credential is where the call's token comes from; nil for none.
	Credential call.Credential
	// Keep is how the upstream's answers are kept; its partition lacks the enterprise.
	Keep call.Keep
}

// NewRoute makes the route of a configuration, without Below and Target. own is the office's
// own number by the route's client, 0 if it is not known.
func NewRoute(route *config.Route, own enterprise.Number) *Route {
	r := &Route{Route: tenancy.Route{Route: route, Own: own}}
	reads := ebox.Reads(route.Reads)
	r.classify = func(method string, path ebox.Path) ebox.Action { return ebox.Classify(method, path, reads) }
	switch route.Kind {
	case config.KindEBox, config.KindRegistry:
		r.namesEnterprises = true
		r.namesProviders = !route.Registry // the older registry's list is an answer of the Federation API
	case config.KindMandates:
		r.classify = ebox.ClassifyMandates
	case config.KindPlain:
		r.classify = func(method string, path ebox.Path) ebox.Action { return ebox.ClassifyPlain(method, path, reads) }
	}
	return r
}
