package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
)

// call is one request inside the gateway. It is its context, its answer's writer
// and its record in one, and what is sent for it, so that a request costs one allocation
// for all of them.
type call struct {
	context.Context // the request's own: cancelled when the caller goes away

	record  exchange.Record
	routing *chi.Context
	conn    *conn

	// path and query are the raw bytes of the request target.
	path, query string
	bareQuery   bool // the target ends in "?"
	// enterprise is the segment after /enterprises/, decoded, if the path begins
	// so; rest is the path behind it.
	enterprise    string
	rest          string
	hasEnterprise bool

	// out is the call as it is to be sent, and represented its field of that name.
	out         proxy.Call
	represented [1]proxy.Field

	// credential is what the upstream stack finds under credentialKey.
	credentialKey, credential any

	w           http.ResponseWriter
	own         bool // the answer is the gateway's own
	wroteHeader bool
	environment []string
	origin      string // the allowed Origin, for CORS
	browser     bool   // the caller is one
}

// Value hands out what the layers below look for, without a context of its own
// for each.
func (c *call) Value(key any) any {
	switch key {
	case exchange.Key:
		return &c.record
	case chi.RouteCtxKey:
		return c.routing
	case callKey:
		return c
	}
	if c.credentialKey != nil && key == c.credentialKey {
		return c.credential
	}
	return c.Context.Value(key)
}

type contextKey struct{ name string }

var callKey any = &contextKey{"call"}

// from gives the call that r belongs to. Only handlers inside the endpoint use it.
func from(r *http.Request) *call { return r.Context().Value(callKey).(*call) }

// Header implements http.ResponseWriter.
func (c *call) Header() http.Header { return c.w.Header() }

// WriteHeader implements http.ResponseWriter and adds what every answer of the
// gateway carries.
func (c *call) WriteHeader(status int) {
	if status >= 200 && !c.wroteHeader {
		c.wroteHeader = true
		c.record.Status = status
		h := c.w.Header()
		if id := h["X-Request-Id"]; len(id) != 1 || id[0] != c.record.ID { // the proxy has set it
			h["X-Request-Id"] = []string{c.record.ID}
		}
		delete(h, "X-Ebox-Environment") // an upstream's word for it
		h["X-EBox-Environment"] = c.environment
		if c.origin != "" {
			exposeTo(h, c.origin)
		}
		if c.browser {
			contain(h)
		}
	}
	c.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *call) Write(b []byte) (int, error) {
	if !c.wroteHeader {
		c.WriteHeader(http.StatusOK)
	}
	n, err := c.w.Write(b)
	if c.own {
		c.record.BytesOut += int64(n) // the proxy counts what it passes on itself
	}
	return n, err
}

// FlushError lets http.ResponseController flush.
func (c *call) FlushError() error { return http.NewResponseController(c.w).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (c *call) Unwrap() http.ResponseWriter { return c.w }

// fail answers with the problem that err is to the caller.
func (c *call) fail(r *http.Request, err error) {
	p := problem.From(err)
	c.record.ProblemType, c.record.ProxyError, c.record.Detail, c.record.Cause = p.Type, p.ProxyError, p.Detail, p.Cause
	c.own = true
	problem.Write(c, r, p, c.record.ID, c.record.Tries)
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// The connection closes, but net/http first reads what it takes for the rest
		// of the body, without a limit of its own in time. A caller that waits for a
		// 100 never sends it. The moment is for those who are sending all the same, to
		// whom a close at once would lose the answer.
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(lingerUnread))
	}
}

// lingerUnread is how long a refusal waits for the body that it did not want.
const lingerUnread = 500 * time.Millisecond

// traceContext notes the caller's W3C trace context. Said twice it says nothing
// (Trace Context, section 3.2), and tracestate alone neither.
func (c *call) traceContext(h http.Header) {
	if parent := h["Traceparent"]; len(parent) == 1 {
		c.record.TraceParent, c.record.TraceState = parent[0], strings.Join(h["Tracestate"], ",")
	}
}

// maxMethod bounds a method in logs, in bytes: a caller may make one up.
const maxMethod = 32

// begin is the outermost layer: it makes the call, gives every fault an answer
// and hands the finished record on.
func (e *Endpoint) begin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{
			Context: r.Context(), w: w, environment: e.environment, credentialKey: e.credentialKey,
			routing: e.routing.Get().(*chi.Context),
		}
		c.conn = connOf(c.Context)
		rec := &c.record
		rec.ID = exchange.NewID()
		rec.Start = time.Now()
		rec.Method, rec.Host, rec.Protocol = printable.Text(r.Method, maxMethod), printable.Text(r.Host, printable.MaxAsserted), r.Proto
		rec.Listener = c.conn.listener
		defer e.end(c, r)
		next.ServeHTTP(c, r.WithContext(c))
	})
}

// end runs when the handler returned or panicked.
func (e *Endpoint) end(c *call, r *http.Request) {
	fault := recover()
	c.routing.Reset()
	e.routing.Put(c.routing)
	abort := fault != nil
	if err, ok := fault.(error); fault != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
		cause := panicError{value: fault, stack: stack()}
		if !c.wroteHeader {
			c.fail(r, problem.Internal(cause))
			abort = false
		} else {
			c.record.Cause = cause
		}
	}
	rec := &c.record
	rec.Cut = rec.Cut || abort
	rec.Phases.Total = time.Since(rec.Start)
	e.done(rec)
	if abort {
		// The server closes the connection or resets the stream, so that a cut
		// answer cannot be taken for a whole one.
		panic(http.ErrAbortHandler)
	}
}
