package server

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

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

// onRoute handles the requests of a route of that name. OPTIONS, preflights, and methods that the
// route does not have are answered without it.
func onRoute(name string, allow []string, handle handler) handler {
	list := strings.Join(allow, ", ")
	return func(x *exchange) error {
		x.c.Route = name
		switch {
		case x.r.Method == http.MethodOptions:
			h := x.Header()
			if x.origin != "" && x.r.Header.Get("Access-Control-Request-Method") != "" {
				preflight(h, x.r, list)
			}
			h["Allow"] = []string{list}
			x.WriteHeader(http.StatusNoContent)
			return nil
		case !slices.Contains(allow, x.r.Method):
			return problem.MethodNotAllowed(x.r.Method, allow)
		}
		return handle(x)
	}
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
	c := x.c
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
	c.MaxBody, c.Document = int64(route.MaxBody), ebox.IsDocument(path)
	tenant, _, err := x.judge(caller, route, path, c.MaxBody)
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
		c.IdempotencyKey = idempotencyKey(c.Header, route.IdempotencyKey != config.KeyPassed)
	}
	if route.namesProviders {
		c.Links.Elsewhere = x.elsewhere
	}
	if x.publication != nil {
		defer x.publication.note(c.Record)
	}
	x.e.o.Proxy.Serve(x, x.r, c)
	return nil
}

// judge decides whether the caller may make a call to a route, by all that the call says, and for whom it is. most
// bounds the body that is read for that, in bytes; 0 for no bound of the route's own.
func (x *exchange) judge(caller *tenancy.Caller, route *Route, path ebox.Path, most int64,
) (tenant tenancy.Tenant, body []byte, err error) {
	c := x.c
	c.Action = route.classify(c.Method, path)
	if c.Opening = c.Action == ebox.Open; c.Opening {
		listen.KeepServing(x) // a document is marked read, whoever gets it
	}
	if err := x.sameOrigin(); err != nil {
		return tenant, nil, err
	}
	claim := x.claim()
	if body, err = x.named(caller, route, path, &claim, most); err != nil {
		return tenant, nil, err
	}
	tenant, err = x.resolve(caller, &route.Route, claim)
	return tenant, body, err
}

// check refuses what can be refused before the body is read.
func (x *exchange) check(caller *tenancy.Caller, route *Route, claim tenancy.Claim) error {
	if err := x.e.o.Resolver.Check(caller, &route.Route, x.c.Action, claim); err != nil {
		return err
	}
	return x.e.o.Closed()
}

// resolve finds for whom the call is. Who may not call at all is told that also while the
// gateway serves nobody.
func (x *exchange) resolve(caller *tenancy.Caller, route *tenancy.Route, claim tenancy.Claim) (tenancy.Tenant, error) {
	tenant, err := x.e.o.Resolver.Resolve(caller, route, x.c.Action, x.c.Method, claim)
	if err == nil {
		err = x.e.o.Closed()
	}
	return tenant, err
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
	return x.conn.scheme + "://" + cmp.Or(x.r.Host, x.conn.host)
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
