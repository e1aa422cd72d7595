package listen

import (
	"context"
	"net/http"

	"ebox-gateway/internal/problem"
)

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
