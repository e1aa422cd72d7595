package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

// Route is one route of the configuration, resolved.
type Route struct {
	// Path is the prefix, without a trailing slash; it may hold {providerId}.
	Path string
	// Methods are those that the upstream may be asked; GET brings HEAD with it.
	Methods []string
	// Tenancy is what the resolver needs to know of the route.
	Tenancy tenancy.Route
	// Classify tells what a call does; path is below the route's own.
	Classify func(method string, path ebox.Path) ebox.Action
	// Named gives the enterprises that a call names in its query and its body; nil on a
	// route whose calls name none. Its errors are problems.
	Named func(method string, path ebox.Path, query string, body []byte) ([]ebox.Named, error)
	// EnterpriseIn says where in the path below the route's own an enterprise stands, as
	// ebox.EnterpriseIn reads it; empty for nowhere.
	EnterpriseIn string
	// MaxBody is the most bytes of a request's body; 0 is unlimited.
	MaxBody int64
	// PassKeys leaves it to the callers to give publications an Idempotency-Key.
	PassKeys bool
	// Below tells whether a URL lies below the base of the route's upstream, or of one of
	// its providers, which it then names: what call.Upstream's Forms.Below tells.
	Below func(authority, path string) (provider, rest string, ok bool)
	// NamesProviders says that its answers may hold URLs of Document Providers, which then lead
	// to the gateway's paths for them.
	NamesProviders bool
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

// forward handles the requests of one route.
func (e *Endpoint) forward(route *Route) handler {
	allow := allowed(route.Methods)
	return func(x *exchange) error {
		x.c.Route = route.Tenancy.Name
		if done, err := x.ownMethods(allow); done || err != nil {
			return err
		}
		return x.forward(route)
	}
}

// allowed is what Allow says: GET brings HEAD, and OPTIONS is the gateway's own.
func allowed(methods []string) []string {
	list := slices.Clone(methods)
	if slices.Contains(list, http.MethodGet) && !slices.Contains(list, http.MethodHead) {
		list = append(list, http.MethodHead)
	}
	if !slices.Contains(list, http.MethodOptions) {
		list = append(list, http.MethodOptions)
	}
	return list
}

// ownMethods answers what is answered without an upstream: OPTIONS, preflights,
// and methods that the route does not have.
func (x *exchange) ownMethods(allow []string) (done bool, err error) {
	if x.r.Method == http.MethodOptions {
		list := strings.Join(allow, ", ")
		h := x.Header()
		if isPreflight(x.r) && x.origin != "" {
			preflight(h, x.r, list)
		}
		h["Allow"] = []string{list}
		x.WriteHeader(http.StatusNoContent)
		return true, nil
	}
	if !slices.Contains(allow, x.r.Method) {
		return true, problem.MethodNotAllowed(x.r.Method, allow)
	}
	return false, nil
}

// identify finds the caller's rule, and lets the caller in.
func (x *exchange) identify() (*tenancy.Caller, error) {
	caller, ok := x.e.o.Callers.Identify(tenancy.Peer{
		Addr: x.c.Source, Listener: x.conn.listener, Certificate: certificateOf(x.r),
	})
	if !ok {
		return nil, problem.Forbidden("This gateway does not know the caller. Have the platform team add a rule to callers " +
			"for the address, the listener or the client certificate that is used.")
	}
	x.c.Caller = caller.Name
	x.memory.Open(x.e.o.Memory, memory.PartyOf(caller.Name, x.c.Source))
	var err error
	x.leave, err = x.e.o.Enter(x.r.Context(), x.c, caller)
	return caller, err
}

// forward decides about the call and hands it to the proxy. An error is returned only
// while nothing was answered.
func (x *exchange) forward(route *Route) error {
	c, o := x.c, &x.e.o
	caller, err := x.identify()
	if err != nil {
		return err
	}
	if x.proxied != nil {
		c.Provider = x.proxied.provider
	} else if c.Provider, err = decode(x.routing.URLParam("providerId")); err != nil {
		return err
	}
	path := ebox.ParsePath(x.below())
	c.Target, c.Segments = path.Escaped, path.Segments
	c.Action = route.Classify(c.Method, path)
	c.Opening, c.Document = c.Action == ebox.Open, ebox.IsDocument(path)
	c.MaxBody = route.MaxBody

	if err := x.sameOrigin(); err != nil {
		return err
	}
	if c.Opening {
		listen.KeepServing(x) // a document is marked read, whoever gets it
	}

	claim := x.claim()
	if route.Tenancy.Mandates {
		if claim.Query, err = tenancy.NamedInQuery(c.Query); err != nil {
			return err
		}
		// What can be refused without the body is, before the caller is asked for it.
		if err := o.Resolver.Check(caller, &route.Tenancy, c.Action, claim); err != nil {
			return err
		}
		if c.Body, err = x.readBody(caller, route.MaxBody); err != nil {
			return err
		}
		c.BodyRead = true
		if claim.Body, err = namedInBody(c.Body, x.r.Header); err != nil {
			return err
		}
	}
	if err := x.named(caller, route, path, &claim); err != nil {
		return err
	}
	tenant, err := o.Resolver.Resolve(caller, &route.Tenancy, c.Action, c.Method, claim)
	if err != nil {
		return err
	}
	x.represent(tenant)
	if err := x.admit(caller, tenant); err != nil {
		return err
	}
	if err := aim(c, route, x.mount()+c.Path[:len(c.Path)-len(c.Target)], x.publicOrigin()); err != nil {
		return err
	}
	if c.Method == http.MethodPost && (c.Action == ebox.Publish || c.Action == ebox.Reply) {
		c.IdempotencyKey = idempotencyKey(c.Header, !route.PassKeys)
	}
	if route.NamesProviders {
		c.Links.Elsewhere = x.elsewhere
	}
	if x.publication != nil {
		defer x.publication.note(c.Record)
	}
	o.Proxy.Serve(x, x.r, c)
	return nil
}

// represent notes for whom the call is.
func (x *exchange) represent(t tenancy.Tenant) {
	c := x.c
	c.Enterprise, c.Own, c.Client, c.Represented = t.Number, t.Own, t.Client, t.Header
	if t.Query != "" {
		if c.Query != "" {
			c.Query += "&"
		}
		c.Query += t.Query
	}
}

// aim decides where a call goes that knows for whom it is: the upstream, the credential,
// how its answer is kept, and where links lead. prefix is the path that stands for the
// upstream's base.
func aim(c *call.Call, route *Route, prefix, origin string) error {
	target, err := route.Target(c)
	if err != nil {
		return err
	}
	c.To, c.Upstream, c.UpstreamHost = target.Upstream, target.Upstream.Name, target.Upstream.Base.Host
	c.Credential, c.Keep = target.Credential, target.Keep
	c.Keep.Partition.Enterprise, c.Keep.Partition.Own = c.Enterprise, c.Own
	c.Links = links.Base{Origin: origin, Prefix: prefix}
	return nil
}

// idempotencyKey gives the caller's key, as far as it is printable and no longer than 256
// bytes, or a new one if there is none and add is true. The key is a quoted string
// (draft-ietf-httpapi-idempotency-key-header, section 2.1).
func idempotencyKey(h http.Header, add bool) string {
	const most = 256
	theirs := strings.TrimSpace(strings.Join(h[call.IdempotencyField], ", "))
	if theirs == "" && add {
		return `"` + call.NewID() + `"`
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, theirs[:min(len(theirs), most)])
}

// publicOrigin is the gateway as this caller reaches it, or the upstream, if it takes the
// gateway for a proxy.
func (x *exchange) publicOrigin() string {
	switch {
	case x.proxied != nil:
		return x.proxied.scheme + "://" + x.proxied.authority
	case x.e.origin != "":
		return x.e.origin
	}
	return x.conn.originOf(x.r.Host)
}

// mount is the path that stands in front of every path that this caller uses.
func (x *exchange) mount() string {
	if x.proxied != nil {
		return ""
	}
	return x.e.mount
}

// below is what follows the route's own path, or the upstream's base, escaped: empty or
// with its slash.
func (x *exchange) below() string {
	if x.proxied != nil {
		return x.proxied.rest
	}
	params := &x.routing.URLParams
	for i := len(params.Keys) - 1; i >= 0; i-- {
		if params.Keys[i] == "*" {
			return x.c.Path[len(x.c.Path)-len(params.Values[i])-1:]
		}
	}
	return ""
}

// decode undoes the escapes of one path segment.
func decode(segment string) (string, error) {
	if strings.IndexByte(segment, '%') < 0 {
		return segment, nil
	}
	s, err := url.PathUnescape(segment)
	if err != nil {
		return "", problem.BadRequest("The path holds an escape that is not one. Escape a percent sign as %25.")
	}
	return s, nil
}

// claim gathers what the request says of the enterprise that it is for.
func (x *exchange) claim() tenancy.Claim {
	claim := tenancy.Claim{Path: x.enterprise, HasPath: x.hasEnterprise, Header: tenancy.HeaderValues(x.r.Header)}
	claimed := ""
	if claim.HasPath {
		claimed = claim.Path
	} else if len(claim.Header) > 0 {
		claimed = claim.Header[0]
	}
	const legible = 24 // no number is longer
	x.c.Claimed = printable.Text(claimed, legible)
	return claim
}

// admitCaller spends the caller's rate, once for a request.
func (x *exchange) admitCaller(caller *tenancy.Caller) error {
	if x.admitted {
		return nil
	}
	x.admitted = true
	return x.e.o.AdmitCaller(x.r.Context(), x.c, caller)
}

// admit spends the rates of the enterprise and of the caller. An enterprise beyond its own
// rate uses up nothing of its caller's, unless a body had to be read to know which it is.
func (x *exchange) admit(caller *tenancy.Caller, tenant tenancy.Tenant) error {
	if err := x.e.o.Admit(x.r.Context(), x.c, tenant); err != nil {
		return err
	}
	return x.admitCaller(caller)
}
