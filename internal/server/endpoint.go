// Package server is the gateway's front door: the internal endpoint that the
// company's applications call.
//
// A request passes these steps, in this order:
//
//	begin      gives it a call, a record and an id; end, every fault an answer
//	edge       Host, pages in browsers (edge.go)
//	target     the bytes of path and query, refused if they can be read in two ways;
//	           /enterprises/{number} is taken off the front
//	route      the routes of the configuration, on chi, or by the upstream's own URL for
//	           a program to which the gateway is a proxy (programs.go)
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
	"net/url"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

// Options are what the endpoint is made of. All but Inbox are required.
type Options struct {
	// Config is read for server, environment, oauth.tokenUrl and the absent APIs.
	Config  *config.Config
	Callers *tenancy.Callers
	// Resolver finds for whom a request is, and refuses. Whom it does not refuse is asked
	// about to Closed: the problem of a gateway that serves nobody now, or nil.
	Resolver *tenancy.Resolver
	Closed   func() error
	// Enter lets a caller in that has no more calls under way than it may, or may wait.
	// leave is called when the request has ended; nil if nothing is counted.
	Enter func(context.Context, *call.Call, *tenancy.Caller) (leave func(), err error)
	// AdmitCaller spends the rate of the caller, and may wait. It is asked before a body is
	// read, and behind Admit where none is.
	AdmitCaller func(context.Context, *call.Call, *tenancy.Caller) error
	// Admit spends the rate of the enterprise, and may wait.
	Admit func(context.Context, *call.Call, tenancy.Tenant) error
	// Memory bounds what is held in memory for callers.
	Memory *memory.Budget
	// Proxy sends the call and answers; a *proxy.Proxy, except where a call is only
	// explained. It comes after everything that decides whether the caller may.
	Proxy interface {
		Serve(http.ResponseWriter, *http.Request, *call.Call)
	}
	// Providers lists the Document Providers for /ebox/providers. It is not complete
	// before there has been a list of the registry.
	Providers func() (list []Provider, complete bool)
	Routes    []*Route
	// Inbox is the e-Box over all providers; nil if no route leads to them.
	Inbox *Inbox
	// Done receives each finished record. It must not keep the record.
	Done func(*call.Record)
}

// Endpoint answers the internal endpoint's requests. It is an http.Handler.
type Endpoint struct {
	o           Options
	server      *config.Server
	edge        *edge
	environment []string
	tokenURL    *url.URL // of the token endpoint, whose requests are never forwarded
	origin      string   // of server.publicUrl; empty: links name the gateway as the caller does
	mount       string   // the path of server.publicUrl, which a proxy in front takes off
	router      chi.Router
	handlers    map[string]handler // by the router's patterns
	forwards    map[*Route]handler
	routing     sync.Pool // of *chi.Context
}

// handler answers an exchange. An error is the answer, if there was none yet.
type handler func(*exchange) error

// NewEndpoint prepares the routes.
func NewEndpoint(o Options) *Endpoint {
	e := &Endpoint{
		o: o, server: &o.Config.Server, edge: newEdge(&o.Config.Server), environment: []string{string(o.Config.Environment)},
		router: chi.NewRouter(), handlers: make(map[string]handler), forwards: make(map[*Route]handler),
		routing: sync.Pool{New: func() any { return chi.NewRouteContext() }},
	}
	e.tokenURL, _ = url.Parse(o.Config.OAuth.TokenURL) // the configuration's check has parsed it
	if u := e.server.PublicURL; u != nil {
		e.origin = u.Scheme + "://" + u.Host
		e.mount = strings.TrimRight(u.EscapedPath(), "/")
	}
	e.addRoutes()
	return e
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := e.begin(w, r)
	defer x.end()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// serve takes the request through the door: the edge, the target, the route.
func (x *exchange) serve() error {
	if err := x.edge(); err != nil {
		return err
	}
	switch {
	case x.r.Method == http.MethodConnect:
		// Its target is an authority, which no route can have.
		return problem.MethodNotAllowed(x.r.Method, anyMethod)
	case x.r.RequestURI == "*" && x.r.Method == http.MethodOptions: // it asks about the gateway as a whole
		x.Header()["Allow"] = []string{strings.Join(anyMethod, ", ")}
		x.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := x.target(); err != nil {
		return err
	}
	return x.route()(x)
}

// edge turns away what is not meant for this gateway.
func (x *exchange) edge() error {
	c, h := x.c, x.r.Header
	c.Source = tenancy.ClientAddr(x.conn.remote, h["X-Forwarded-For"], x.e.server.TrustedProxies)
	c.Actor, c.Purpose = printable.Asserted(h["X-Actor"]), printable.Asserted(h["X-Purpose"])
	x.traceContext()
	x.browser = isBrowser(h)
	var err error
	if err = x.asProxy(); err != nil {
		return err
	}
	x.origin, err = x.e.edge.check(x.r, x.conn, x.proxied != nil, notThisGateway)
	return err
}

// target takes the request target apart and refuses what an upstream could read
// otherwise than we do.
func (x *exchange) target() (err error) {
	c, limits, target := x.c, &x.e.server.Limits, x.r.RequestURI
	if int64(len(target)) > int64(limits.MaxTargetBytes) {
		return problem.BadRequest("The request target is longer than this gateway takes. Shorten the query, or have the " +
			"platform team raise server.limits.maxTargetBytes.")
	}
	if target == "" || target[0] != '/' { // absolute form (RFC 9112, section 3.2.2)
		_, _, rest, ok := cutURL(target)
		if !ok {
			return problem.BadRequest("The request target is neither a path nor an absolute URL.")
		}
		target = rest
	}
	path, query, found := strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	if err := call.CheckPath(path); err != nil {
		return err
	}
	c.Path, c.Query, c.BareQuery = path, query, found && query == ""
	if err := call.CheckQuery(query, limits.MaxQueryParameters); err != nil {
		return err
	}
	if x.proxied == nil { // else the path is the upstream's own
		x.enterprise, x.rest, x.hasEnterprise, err = tenancy.CutPath(path)
	}
	return err
}

// route finds the handler by the path alone: which methods it has, and what to answer to
// the others, the handler itself knows.
//
// Chi finds the route, but does not serve it: it would note the path's parameters in the
// request for every call once more, and nobody looks for them there.
func (x *exchange) route() handler {
	switch p := x.proxied; {
	case p == nil:
	case p.stub:
		return (*exchange).tokenStub
	default:
		return x.e.forwards[p.route]
	}
	path := x.rest
	if path == "" {
		path = "/"
	}
	if h := x.e.handlers[x.e.router.Find(x.routing, http.MethodGet, path)]; h != nil {
		return h
	}
	return refuse(noRoute)
}

// addRoutes fills the router. /enterprises/{number} is off the path by then.
func (e *Endpoint) addRoutes() {
	handle := func(pattern string, h handler) {
		e.router.Handle(pattern, http.NotFoundHandler()) // chi's part is the pattern alone
		e.handlers[pattern] = h
	}
	for _, api := range e.o.Config.Absent {
		absent := refuse(func(*exchange) error { return problem.NotFound(api.Reason) })
		handle(api.Path, absent)
		handle(api.Path+"/*", absent)
	}
	providers := onRoute(providersRoute.Name, summaryMethods, (*exchange).listProviders)
	handle("/ebox/providers", providers)
	handle("/ebox/providers/", providers)
	if e.server.TokenStub != "" {
		handle(e.server.TokenStub, (*exchange).tokenStub)
	}
	nameless := refuse(withoutProvider)
	summary, messages := nameless, nameless
	if e.o.Inbox != nil {
		summary = onRoute(InboxRoute, summaryMethods, func(x *exchange) error { return x.serveInbox(inbox.SummaryPath) })
		messages = onRoute(InboxRoute, listMethods, func(x *exchange) error { return x.serveInbox(inbox.MessagesPath) })
	}
	handle(inbox.SummaryPath, summary)
	handle(inbox.MessagesPath, messages)
	handle(inbox.MessagesPath+"/*", nameless)
	for _, route := range e.o.Routes {
		h := onRoute(route.Name, allowed(route.Methods), func(x *exchange) error { return x.forward(route) })
		e.forwards[route] = h
		handle(route.Path, h)
		handle(route.Path+"/*", h)
	}
}

// refuse makes a handler that always answers with a problem. To somebody whom no
// rule knows it is the same as everywhere, and tells nothing of what there is.
func refuse(why func(*exchange) error) handler {
	return func(x *exchange) error {
		if _, err := x.identify(); err != nil {
			return err
		}
		return why(x)
	}
}

// anyMethod are the methods that some route or other may have.
var anyMethod = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// noRoute says what there is, and what may be wrong with a path that was put together
// from a base URL and the rest.
func noRoute(x *exchange) error {
	slip := ""
	switch {
	case strings.Contains(x.c.Path, "//"):
		slip = "It holds two slashes in a row: does the base URL end with one?"
	case len(x.c.Path) > 1 && strings.HasSuffix(x.c.Path, "/"):
		slip = "It ends with a slash: leave that out."
	case strings.ToLower(x.c.Path) != x.c.Path:
		slip = "Capital letters count."
	}
	if slip != "" {
		slip = " " + slip
	}
	return problem.NotFound("No route of this gateway has this path." + slip + " The messages of all providers are at " +
		"/ebox/messages, their summary at /ebox; the e-Box APIs are under /ebox/providers/{providerId}, /ebox/registry, " +
		"/ebox/partition and /ebox/federation, citizen mandates under /grant/citizen, each optionally after " +
		"/enterprises/{number}. GET /ebox/providers lists the Document Providers.")
}

// withoutProvider names the paths to use for a call that needs a provider.
func withoutProvider(x *exchange) error {
	prefix := x.c.Path[:len(x.c.Path)-len(x.rest)]
	if x.rest == inbox.MessagesPath+"/" {
		return problem.NotFound("There is nothing at this path. The list of messages has no slash at its end: use " +
			prefix + inbox.MessagesPath + ".")
	}
	var issues []problem.Issue
	list, _ := x.e.o.Providers()
	for _, p := range list {
		if p.State == "active" {
			issues = append(issues, problem.Issue{
				Type: problem.IssueInvalidInput, In: "path", Name: "providerId", Value: p.ID,
				Detail: "Use " + prefix + "/ebox/providers/" + url.PathEscape(p.ID) + x.rest,
			})
		}
	}
	return problem.NotFound("Messages are kept by a Document Provider, which this path does not name. Use "+prefix+
		"/ebox/providers/{providerId}"+x.rest+"; GET "+prefix+"/ebox/providers lists the providers.", issues...)
}
