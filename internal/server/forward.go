package server

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
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
	Classify func(method, path string) ebox.Action
	// MaxBody is the most bytes of a request's body; 0 is unlimited.
	MaxBody int64
	// Target chooses upstream and credential. Its errors are problems.
	Target func(TargetRequest) (Target, error)
}

// TargetRequest is what decides where a call goes and with which credential.
type TargetRequest struct {
	// Provider is the decoded {providerId}, empty on routes without.
	Provider string
	// Client is the OAuth client's name.
	Client string
	// Method and Path, the path below the route's own, choose the scopes.
	Method, Path string
}

// Target is where a call goes.
type Target struct {
	Upstream *proxy.Upstream
	// Credential is handed to the upstream stack in the context.
	Credential any
	// Kept is how the upstream's answers are kept, for Options.Keeper; nil if they are
	// not.
	Kept any
}

// forward handles the requests of one route.
func (e *Endpoint) forward(route *Route) http.HandlerFunc {
	allow := allowed(route.Methods)
	return func(_ http.ResponseWriter, r *http.Request) {
		c := from(r)
		c.record.Route = route.Tenancy.Name
		if done := e.ownMethods(c, r, allow); done {
			return
		}
		if err := e.serve(c, r, route); err != nil {
			c.fail(r, err)
		}
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
func (e *Endpoint) ownMethods(c *call, r *http.Request, allow []string) bool {
	if r.Method == http.MethodOptions {
		list := strings.Join(allow, ", ")
		h := c.Header()
		if isPreflight(r) && c.origin != "" {
			preflight(h, r, list)
		}
		h["Allow"] = []string{list}
		c.WriteHeader(http.StatusNoContent)
		return true
	}
	if !slices.Contains(allow, r.Method) {
		c.fail(r, problem.MethodNotAllowed(r.Method, allow))
		return true
	}
	return false
}

// identify finds the caller's rule.
func (e *Endpoint) identify(c *call, r *http.Request) (*tenancy.Caller, error) {
	caller, ok := e.o.Callers.Identify(tenancy.Peer{
		Addr: c.record.Source, Listener: c.conn.listener, Certificate: certificateOf(r),
	})
	if !ok {
		return nil, problem.Forbidden("This gateway does not know the caller. Have the platform team add a rule to callers for the address, the listener or the client certificate that is used.")
	}
	c.record.Caller = caller.Name
	return caller, nil
}

// serve resolves the call and hands it to the proxy. An error is returned only
// while nothing was answered.
func (e *Endpoint) serve(c *call, r *http.Request, route *Route) error {
	caller, err := e.identify(c, r)
	if err != nil {
		return err
	}
	provider, err := decode(c.routing.URLParam("providerId"))
	if err != nil {
		return err
	}
	rest := below(c)
	prefix := c.path[:len(c.path)-len(rest)]

	rec := &c.record
	rec.Provider = provider
	rec.Action = route.Classify(r.Method, rest)
	rec.Opening = rec.Action == ebox.Open

	claim := c.claim(r.Header)
	out := &c.out
	*out = proxy.Call{
		Path: rest, RawQuery: c.query, ForceQuery: c.bareQuery,
		Opening: rec.Opening, Document: ebox.IsDocument(rest), MaxBody: route.MaxBody,
	}
	if route.Tenancy.Mandates {
		if claim.Query, err = tenancy.NamedInQuery(c.query); err != nil {
			return err
		}
		// What can be refused without the body is, before the caller is asked for it.
		if err := e.o.Resolver.Check(caller, &route.Tenancy, rec.Action, claim); err != nil {
			return err
		}
		if out.Body, err = readBody(r, route.MaxBody); err != nil {
			return err
		}
		out.BodyRead = true
		if claim.Body, err = namedInBody(out.Body, r.Header); err != nil {
			return err
		}
	}
	tenant, err := e.o.Resolver.Resolve(caller, &route.Tenancy, rec.Action, r.Method, claim)
	if err != nil {
		return err
	}
	rec.Enterprise, rec.Own, rec.Client = tenant.Number, tenant.Own, tenant.Client

	if err := e.o.Admit(r.Context(), caller, tenant); err != nil {
		return err
	}
	target, err := route.Target(TargetRequest{Provider: provider, Client: tenant.Client, Method: r.Method, Path: rest})
	if err != nil {
		return err
	}
	c.credential = target.Credential
	rec.Upstream, rec.UpstreamHost = target.Upstream.Name, target.Upstream.Base.Host

	out.Upstream = target.Upstream
	if tenant.Header != nil {
		c.represented[0] = proxy.Field{Name: tenancy.RepresentedHeader, Values: tenant.Header}
		out.Set = c.represented[:]
	}
	out.Links = proxy.LinkBase{Origin: e.origin, Prefix: e.mount + prefix}
	if e.origin == "" {
		out.Links.Origin = c.conn.originOf(r.Host)
	}
	if route.Tenancy.Mandates && tenant.Number != 0 {
		out.Links.Named, out.Links.NamedBy = tenancy.NamedIn(tenant.Number)
	}
	if target.Kept != nil && e.o.Keeper != nil {
		e.o.Keeper.Keep(c, r, out, target.Kept)
		return nil
	}
	e.o.Proxy.Serve(c, r, out)
	return nil
}

// below is what follows the route's own path, escaped: empty or with its slash.
func below(c *call) string {
	n := len(c.routing.URLParams.Keys)
	for i := n - 1; i >= 0; i-- {
		if c.routing.URLParams.Keys[i] == "*" {
			wild := c.routing.URLParams.Values[i]
			return c.path[len(c.path)-len(wild)-1:]
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
func (c *call) claim(h http.Header) tenancy.Claim {
	claim := tenancy.Claim{Path: c.enterprise, HasPath: c.hasEnterprise, Header: tenancy.HeaderValues(h)}
	if claim.HasPath {
		c.record.Claimed = claim.Path
	} else if len(claim.Header) > 0 {
		c.record.Claimed = claim.Header[0]
	}
	const legible = 24 // no number is longer
	c.record.Claimed = printable.Text(c.record.Claimed, legible)
	return claim
}

func namedInBody(body []byte, h http.Header) (tenancy.Named, error) {
	return tenancy.NamedInBody(body, strings.Join(h["Content-Type"], ","), strings.Join(h["Content-Encoding"], ","))
}

// readBody reads a body whole, since what it says decides whether it may be sent.
// A body that is too large by its own word is refused before it is asked for.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	tooLarge := func() error {
		return problem.TooLarge(limit, "The body is larger than this route takes.")
	}
	if limit > 0 && r.ContentLength > limit {
		return nil, tooLarge()
	}
	if _, err := namedInBody(nil, r.Header); err != nil {
		return nil, err // its coding or charset already is one that is not read
	}
	src := io.Reader(r.Body)
	if limit > 0 {
		src = io.LimitReader(r.Body, limit+1)
	}
	var body []byte
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(src, body)
	} else {
		body, err = io.ReadAll(src)
	}
	switch {
	case err != nil && errors.Is(err, r.Context().Err()):
		return nil, problem.BadRequest("The request's body ended early.").Because(err)
	case err != nil:
		return nil, problem.BadRequest("The request's body could not be read to its end. Send the whole of it.").Because(err)
	case limit > 0 && int64(len(body)) > limit:
		return nil, tooLarge()
	}
	return body, nil
}
