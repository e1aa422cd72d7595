package listen

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync/atomic"

	"ebox-gateway/internal/problem"
)

// exchange is one request and its answer, whose http.ResponseWriter it is. conn.next makes it
// of the request's head and calls serve: the handler runs, reads the body (body.go) and writes
// the answer (response.go); then finish sends what is left and sees whether the connection can
// be used again.
type exchange struct {
	c    *conn
	req  *http.Request
	url  url.URL
	body body
	ctx  requestContext
	// http10 and isHead are about the request.
	http10, isHead bool
	// kept reports whether a caller is served that has closed its sending side.
	kept atomic.Bool
	response
}

// KeepServing is for a request whose answer must not be lost, because what it asks for
// happens once: a caller that closes its sending side is served from now on, and only the
// reset of its connection cancels the request. Requests by HTTP/1.0 and methods other than
// GET, HEAD and OPTIONS are served so in any case. It does nothing for HTTP/2, whose callers
// say when they cancel.
func KeepServing(w http.ResponseWriter) {
	for {
		switch t := w.(type) {
		case *exchange:
			t.kept.Store(true)
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return
		}
	}
}

// serve has the request answered. It is false if the connection is not to be used any more.
func (e *exchange) serve() bool {
	c := e.c
	c.reading = readBody
	if e.body.ended.Load() {
		c.r.Release() // an answer may take long, and nothing is read meanwhile
	}
	if !e.handle() {
		c.cut()
		return false
	}
	return e.finish()
}

// handle runs the handler. It is false if the answer is to be cut.
func (e *exchange) handle() (whole bool) {
	defer func() {
		e.body.takeBack()
		fault := recover()
		if fault != nil && !isAbort(fault) {
			id := e.c.s.panicked(fault)
			if e.status == 0 {
				clear(e.header)
				e.Header()["X-Request-Id"] = []string{id}
				problem.Write(e, e.req, problem.Internal(nil), id, 0)
				fault = nil
			}
		}
		whole = fault == nil
		e.mu.Lock()
		defer e.mu.Unlock()
		e.over = true
	}()
	e.c.s.o.Handler.ServeHTTP(e, e.req)
	return true
}

func isAbort(fault any) bool {
	err, ok := fault.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// panicked logs a fault of a handler under an id.
func (s *Server) panicked(fault any) string {
	id := s.o.NewID()
	s.o.Log.Error("a handler panicked", "requestId", id, "cause", fmt.Sprintf("%.200q", fmt.Sprint(fault)), "stack",
		string(debug.Stack()))
	return id
}

// finish writes what is left of the answer. It is false if the connection is not to be
// used any more.
func (e *exchange) finish() bool {
	c := e.c
	e.mu.Lock()
	e.end()
	failed, closes := e.failed, e.closes
	e.giveBack()
	e.mu.Unlock()
	switch {
	case failed != nil:
		c.cut()
		return false
	case !closes:
		return e.body.skip()
	}
	pending := c.r.Buffered() > 0 || !e.body.ended.Load()
	if !pending {
		pending, _, _ = c.socket.state()
	}
	if pending {
		c.linger()
	}
	return false
}
