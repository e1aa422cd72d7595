// Package server is the gateway's front door: the internal endpoint that the
// company's applications call.
//
// A request passes these layers, each a func(http.Handler) http.Handler or a chi
// route, in this order:
//
//	begin      gives it a record, an id, and every fault an answer
//	edge       Host, pages in browsers (edge.go)
//	target     the bytes of path and query, refused if they can be read in two ways;
//	           /enterprises/{number} is taken off the front
//	routing    the routes of the configuration, on chi
//	forward    who is it for, may the caller, which upstream; then the proxy
//
// The path is looked at in one form only, as it was sent, escapes included: the
// form that chooses the route is the form that is forwarded.
//
// RFC 9110 and 9112 (HTTP), RFC 9457 (problems), Fetch (CORS, Sec-Fetch-Site).
package server

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/tenancy"
)

// Keeper is a cache in front of the upstreams. how is what Target.Kept says.
type Keeper interface {
	Keep(w http.ResponseWriter, r *http.Request, c *proxy.Call, how any)
}

// Options are what the endpoint is made of. All but PublicURL, the lists,
// Keeper, Inbox and CredentialKey are required.
type Options struct {
	Edge *Edge
	// PublicURL is how callers name the gateway, for links; nil: as each names it.
	PublicURL *url.URL
	// TrustedProxies may say in X-Forwarded-For for whom they ask.
	TrustedProxies []netip.Prefix
	// MaxTarget bounds the request target in bytes, MaxParameters its query's
	// parameters.
	MaxTarget, MaxParameters int

	Callers  *tenancy.Callers
	Resolver Resolver
	// Admit spends the rates of caller and enterprise, and may wait.
	Admit func(context.Context, *tenancy.Caller, tenancy.Tenant) error
	// Proxy sends the call and answers; a *proxy.Proxy, except where a call is only
	// explained.
	Proxy interface {
		Serve(http.ResponseWriter, *http.Request, *proxy.Call)
	}
	// Keeper answers from what is kept, or sends the call and keeps what comes back.
	// It comes after everything that decides whether the caller may. Nil for none.
	Keeper Keeper
	// Providers lists the Document Providers for /ebox/providers. It is not complete
	// before there has been a list of the registry.
	Providers func() (list []Provider, complete bool)
	Routes    []*Route
	// Inbox is the e-Box over all providers; nil if no route leads to them.
	Inbox *Inbox
	// Absent are paths of APIs that the environment does not have, with the reason.
	Absent map[string]string
	// Environment is the value of X-EBox-Environment.
	Environment string
	// CredentialKey is the context key under which the upstream stack looks for
	// Target.Credential.
	CredentialKey any
	// Done receives each finished record. It must not keep the record.
	Done func(*exchange.Record)
}

// Resolver finds for whom a request is, and refuses; a *tenancy.Resolver, or what
// stands for one.
type Resolver interface {
	Check(*tenancy.Caller, *tenancy.Route, ebox.Action, tenancy.Claim) error
	Resolve(*tenancy.Caller, *tenancy.Route, ebox.Action, string, tenancy.Claim) (tenancy.Tenant, error)
}

// Endpoint answers the internal endpoint's requests. It is an http.Handler.
type Endpoint struct {
	o             Options
	environment   []string
	credentialKey any
	done          func(*exchange.Record)
	origin        string // of PublicURL
	mount         string // PublicURL's path, which a proxy in front takes off
	handler       http.Handler
	routing       sync.Pool // of *chi.Context
}

// NewEndpoint puts the layers together.
func NewEndpoint(o Options) *Endpoint {
	e := &Endpoint{
		o: o, environment: []string{o.Environment}, credentialKey: o.CredentialKey, done: o.Done,
		routing: sync.Pool{New: func() any { return chi.NewRouteContext() }},
	}
	if o.PublicURL != nil {
		e.origin = o.PublicURL.Scheme + "://" + o.PublicURL.Host
		e.mount = strings.TrimRight(o.PublicURL.EscapedPath(), "/")
	}
	e.handler = chi.Chain(e.begin, e.edge, e.target).Handler(e.routes())
	return e
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }

// edge turns away what is not meant for this gateway.
func (e *Endpoint) edge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := from(r)
		c.record.Source = tenancy.ClientAddr(c.conn.remote, r.Header["X-Forwarded-For"], e.o.TrustedProxies)
		c.record.Actor = printable.Asserted(r.Header["X-Actor"])
		c.record.Purpose = printable.Asserted(r.Header["X-Purpose"])
		c.traceContext(r.Header)
		c.browser = isBrowser(r.Header)
		origin, err := e.o.Edge.Check(r)
		if err != nil {
			c.fail(r, err)
			return
		}
		c.origin = origin
		next.ServeHTTP(w, r)
	})
}

// target takes the request target apart and refuses what an upstream could read
// otherwise than we do.
func (e *Endpoint) target(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := from(r)
		switch {
		case r.Method == http.MethodConnect:
			// Its target is an authority, which no route can have.
			c.fail(r, problem.MethodNotAllowed(r.Method, anyMethod))
			return
		case r.RequestURI == "*" && r.Method == http.MethodOptions: // OPTIONS * asks about the gateway as a whole
			c.Header()["Allow"] = []string{strings.Join(anyMethod, ", ")}
			c.WriteHeader(http.StatusNoContent)
			return
		}
		if err := e.splitTarget(c, r.RequestURI); err != nil {
			c.fail(r, err)
			return
		}
		c.record.Path = c.path
		var err error
		if c.enterprise, c.rest, c.hasEnterprise, err = tenancy.CutPath(c.path); err != nil {
			c.fail(r, err)
			return
		}
		// The path alone chooses the route: which methods it has, and what to answer
		// to the others, the route itself knows.
		c.routing.RouteMethod = http.MethodGet
		c.routing.RoutePath = c.rest
		if c.rest == "" {
			c.routing.RoutePath = "/"
		}
		next.ServeHTTP(w, r)
	})
}

func (e *Endpoint) splitTarget(c *call, target string) error {
	if len(target) > e.o.MaxTarget {
		return problem.BadRequest("The request target is longer than this gateway takes. Shorten the query, or have the platform team raise server.limits.maxTargetBytes.")
	}
	if target == "" || target[0] != '/' { // absolute form (RFC 9112, section 3.2.2)
		_, rest, ok := strings.Cut(target, "://")
		if !ok {
			return problem.BadRequest("The request target is neither a path nor an absolute URL.")
		}
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			target = rest[i:]
		} else {
			target = "/"
		}
	}
	path, query, found := strings.Cut(target, "?")
	c.path, c.query, c.bareQuery = path, query, found && query == ""
	if c.path == "" {
		c.path = "/"
	}
	if err := proxy.CheckPath(c.path); err != nil {
		return err
	}
	return proxy.CheckQuery(c.query, e.o.MaxParameters)
}

// routes builds the router. /enterprises/{number} is off the path by then.
//
// Chi finds the route, but does not serve it: it would note the path's parameters in the
// request for every call once more, and nobody looks for them there.
func (e *Endpoint) routes() http.Handler {
	router, handlers := chi.NewRouter(), make(map[string]http.Handler)
	handle := func(pattern string, h http.Handler) {
		router.Handle(pattern, h)
		handlers[pattern] = h
	}
	for path, reason := range e.o.Absent {
		absent := e.refuse(func(*call) error { return problem.NotFound(reason) })
		handle(path, absent)
		handle(path+"/*", absent)
	}
	handle("/ebox/providers", e.listProviders())
	handle("/ebox/providers/", e.listProviders())
	nameless := e.refuse(func(c *call) error { return e.withoutProvider(c) })
	summary, messages := nameless, nameless
	if e.o.Inbox != nil {
		summary, messages = e.federated(inbox.SummaryPath, summaryMethods), e.federated(inbox.MessagesPath, listMethods)
	}
	handle(inbox.SummaryPath, summary)
	handle(inbox.MessagesPath, messages)
	handle(inbox.MessagesPath+"/*", nameless)
	for _, route := range e.o.Routes {
		h := e.forward(route)
		handle(route.Path, h)
		handle(route.Path+"/*", h)
	}
	unknown := e.refuse(noRoute)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		routing := from(r).routing
		if h := handlers[router.Find(routing, routing.RouteMethod, routing.RoutePath)]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		unknown(w, r)
	})
}

// refuse makes a handler that always answers with a problem. To somebody whom no
// rule knows it is the same as everywhere, and tells nothing of what there is.
func (e *Endpoint) refuse(why func(*call) error) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		c := from(r)
		if _, err := e.identify(c, r); err != nil {
			c.fail(r, err)
			return
		}
		c.fail(r, why(c))
	}
}

// anyMethod are the methods that some route or other may have.
var anyMethod = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// noRoute says what there is, and what may be wrong with a path that was put together
// from a base URL and the rest.
func noRoute(c *call) error {
	slip := ""
	switch {
	case strings.Contains(c.path, "//"):
		slip = "It holds two slashes in a row: does the base URL end with one?"
	case len(c.path) > 1 && strings.HasSuffix(c.path, "/"):
		slip = "It ends with a slash: leave that out."
	case strings.ToLower(c.path) != c.path:
		slip = "Capital letters count."
	}
	if slip != "" {
		slip = " " + slip
	}
	return problem.NotFound("No route of this gateway has this path." + slip + " The messages of all providers are at /ebox/messages, their summary at /ebox; the e-Box APIs are under /ebox/providers/{providerId}, /ebox/registry, /ebox/partition and /ebox/federation, citizen mandates under /grant/citizen, each optionally after /enterprises/{number}. GET /ebox/providers lists the Document Providers.")
}

// withoutProvider names the paths to use for a call that needs a provider.
func (e *Endpoint) withoutProvider(c *call) error {
	prefix := c.path[:len(c.path)-len(c.rest)]
	if c.rest == inbox.MessagesPath+"/" {
		return problem.NotFound("There is nothing at this path. The list of messages has no slash at its end: use " + prefix + inbox.MessagesPath + ".")
	}
	var issues []problem.Issue
	list, _ := e.o.Providers()
	for _, p := range list {
		if p.State == "active" {
			issues = append(issues, problem.Issue{
				Type: problem.IssueInvalidInput, In: "path", Name: "providerId", Value: p.ID,
				Detail: "Use " + prefix + "/ebox/providers/" + url.PathEscape(p.ID) + c.rest,
			})
		}
	}
	return problem.NotFound("Messages are kept by a Document Provider, which this path does not name. Use "+prefix+"/ebox/providers/{providerId}"+c.rest+"; GET "+prefix+"/ebox/providers lists the providers.", issues...)
}
