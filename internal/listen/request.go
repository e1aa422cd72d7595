package listen

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// blank makes requests: only WithContext can give one a context.
var blank http.Request

// request makes a request of its head. The problem is for the caller if it is none.
func (c *conn) request(start string, header http.Header) (*exchange, *problem.Problem) {
	malformed := func(what string) (*exchange, *problem.Problem) {
		return nil, unreadable(http.StatusBadRequest, what)
	}
	method, rest, _ := strings.Cut(start, " ")
	target, proto, ok := strings.Cut(rest, " ")
	if !ok || !wire.IsToken(method) {
		return malformed("its first line is not a method, a target and a version, with one blank between them")
	}
	major, minor, ok := http.ParseHTTPVersion(proto)
	switch {
	case !ok:
		return malformed("its version is malformed")
	case major != 1:
		return nil, unreadable(http.StatusHTTPVersionNotSupported, "")
	}
	http10 := minor == 0
	hosts := header["Host"]
	switch {
	case len(hosts) == 0 && !http10:
		return malformed("it has no Host")
	case len(hosts) > 1:
		return malformed("it has more than one Host")
	case len(hosts) == 1 && !httpguts.ValidHostHeader(hosts[0]):
		return malformed("its Host is malformed")
	}
	framing, err := wire.ParseFraming(header, http10)
	switch {
	case err == wire.ErrCoding:
		return nil, unreadable(http.StatusNotImplemented, "")
	case err != nil:
		return malformed(err.Error())
	case http10 && framing.Length == wire.Undeclared &&
		(method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch):
		// HTTP/1.0 has no other way to say where a body ends (RFC 1945, section 7.2.2).
		return nil, unreadable(http.StatusLengthRequired, "")
	}
	e := &exchange{c: c, http10: http10, isHead: method == http.MethodHead, response: response{length: -1}}
	u, err := parseTarget(&e.url, method, target)
	if err != nil {
		return malformed("its target is malformed")
	}
	e.ctx.Context = c.base
	r := blank.WithContext(&e.ctx)
	e.req = r
	r.Method, r.RequestURI, r.URL, r.Header = method, target, u, header
	r.Proto, r.ProtoMajor, r.ProtoMinor = proto, major, minor
	r.RemoteAddr, r.TLS = c.remote, c.tls
	if r.Host = u.Host; r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	delete(header, "Host")
	connection := header["Connection"]
	e.closes = framing.Close || wire.HasToken(connection, "close") || http10 && !wire.HasToken(connection, "keep-alive")
	r.Close = e.closes
	e.kept.Store(http10 || method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions)
	e.setBody(framing.Length)
	if expectsOther(r) {
		return nil, unreadable(http.StatusExpectationFailed, "")
	}
	return e, nil
}

// setBody gives the request its body, whose length is one of wire.Framing.
func (e *exchange) setBody(length int64) {
	r, b := e.req, &e.body
	b.e = e
	if length == wire.Undeclared || length == 0 {
		r.Body = http.NoBody
		b.ended.Store(true)
		return
	}
	if length == wire.Chunked {
		if names, ok := r.Header["Trailer"]; ok {
			delete(r.Header, "Trailer")
			r.Trailer = wire.Announced(names)
		}
	}
	b.in = wire.NewBody(e.c.r, length)
	r.Body, r.ContentLength = b, length
	b.expects = !e.http10 && wire.HasToken(r.Header["Expect"], "100-continue")
}

// parseTarget reads a request target (RFC 9112, section 3.2). Most are a plain path and
// query, for which u is filled without looking further; what it gives is always as
// url.ParseRequestURI has it.
func parseTarget(u *url.URL, method, target string) (*url.URL, error) {
	if isPlain(target) {
		var query bool
		u.Path, u.RawQuery, query = strings.Cut(target, "?")
		u.ForceQuery = query && u.RawQuery == ""
		return u, nil
	}
	if method != http.MethodConnect || strings.HasPrefix(target, "/") {
		return url.ParseRequestURI(target)
	}
	u, err := url.ParseRequestURI("http://" + target) // an authority
	if err == nil {
		u.Scheme = ""
	}
	return u, err
}

// isPlain reports whether a target is a path whose bytes all stand for themselves, perhaps with a
// query behind it.
func isPlain(target string) bool {
	path, query, _ := strings.Cut(target, "?")
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune("/-_.~$&+:=@", r)
	}
	control := func(r rune) bool { return r <= ' ' || r == 0x7f }
	return strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, special) && !strings.ContainsFunc(query, control)
}

// expectsOther reports whether a request expects what this server cannot do (RFC 9110,
// section 10.1.1).
func expectsOther(r *http.Request) bool {
	for expected := range wire.Elements(r.Header["Expect"]) {
		if !strings.EqualFold(expected, "100-continue") {
			return true
		}
	}
	return false
}

// unreadable is the problem of a request that cannot be read. what says what is wrong with
// it, where the status does not.
func unreadable(status int, what string) *problem.Problem {
	detail, ok := map[int]string{
		http.StatusRequestURITooLong: "The request line is longer than this gateway takes. Shorten the query, or have the " +
			"platform team raise server.limits.maxHeaderBytes.",
		http.StatusRequestHeaderFieldsTooLarge: "The request line and the header fields are longer than this gateway " +
			"takes. Send fewer or shorter ones, or have the platform team raise server.limits.maxHeaderBytes.",
		http.StatusNotImplemented: "The request has a transfer coding that this gateway does not know. Send the body " +
			"chunked or with a Content-Length.",
		http.StatusLengthRequired: "A body on HTTP/1.0 needs a Content-Length, and the request has none. Send it, also if " +
			"the body is empty; the connection is closed.",
		http.StatusHTTPVersionNotSupported: "The request cannot be read: its version of HTTP is not one of 1.0, 1.1 and " +
			"2. Nothing was sent. Correct the request; the connection is closed.",
		http.StatusExpectationFailed: "The request has an Expect field that asks for something else than 100-continue, " +
			"which is all that this gateway knows. Send it without.",
	}[status]
	if !ok {
		detail = "The request cannot be read: " + what + ". Nothing was sent. Correct the request; the connection is closed."
	}
	return problem.Unreadable(status, detail)
}

// refuse answers a request that no handler sees, and closes the connection.
func (c *conn) refuse(p *problem.Problem, isHead bool) {
	e := &exchange{c: c, isHead: isHead, response: response{length: -1, closes: true}}
	e.req = blank.WithContext(context.Background())
	if isHead {
		e.req.Method = http.MethodHead
	}
	e.body.e = e // it is not known whether there is one
	c.s.refuse(e, e.req, p, c.remote)
	e.finish()
}

// refuse writes a problem for a request that no handler sees.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem, source string) {
	id := s.o.NewID()
	w.Header()["X-Request-Id"] = []string{id}
	s.o.Log.Info("a request could not be read", "requestId", id, "source", source, "status", p.Status, "detail", p.Detail)
	problem.Write(w, r, p, id, 0)
}
