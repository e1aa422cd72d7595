package server

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

// exchange is one request at the door and the answer to it. It is an http.ResponseWriter
// that adds what every answer of the gateway carries.
type exchange struct {
	e    *Endpoint
	w    http.ResponseWriter
	r    *http.Request
	conn *conn
	// c is what is decided about the request.
	c       *call.Call
	routing *chi.Context

	// enterprise is the segment after /enterprises/, decoded, if the path begins so; rest
	// is the path behind it.
	enterprise    string
	rest          string
	hasEnterprise bool

	publication *publication // nil for any other body

	proxied *proxied // nil for a request to the gateway itself

	leave       func() // ends the caller's call, nil for nothing; see Options.Enter
	own         bool   // the answer is the gateway's own
	wroteHeader bool
	origin      string // the allowed Origin, for CORS
	browser     bool   // the caller is one
	admitted    bool   // the caller's rate was spent
	memory      memory.Account

	id [1]string // the room for X-Request-Id
}

// begin gives the request a call, a record and an id.
func (e *Endpoint) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{e: e, w: w, r: r, conn: connOf(r.Context()), c: call.New(), routing: e.routing.Get().(*chi.Context)}
	c := x.c
	c.ID, c.Start = call.NewID(), time.Now()
	c.Method, c.Host, c.Protocol, c.Header = r.Method, printable.Text(r.Host, maxHost), r.Proto, r.Header
	c.HasBody = r.ContentLength != 0
	c.Listener = x.conn.listener
	c.Memory = &x.memory
	return x
}

// end runs when the request was answered, or something panicked: it gives every fault an
// answer, and hands the finished record on.
func (x *exchange) end() {
	fault := recover()
	x.memory.Close()
	x.routing.Reset()
	x.e.routing.Put(x.routing)
	rec := x.c.Record
	abort := fault != nil
	if err, ok := fault.(error); fault != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
		cause := panicError{value: fault, stack: debug.Stack()}
		if !x.wroteHeader {
			x.fail(problem.Internal(cause))
			abort = false
		} else {
			rec.Cause = cause
		}
	}
	rec.Cut = rec.Cut || abort
	rec.Phases.Redis = x.c.Redis.Spent()
	rec.Phases.Total = time.Since(x.c.Start)
	if x.leave != nil {
		x.leave()
	}
	x.e.o.Done(rec)
	if abort {
		// The server breaks the connection off or resets the stream, so that a cut answer
		// cannot be taken for a whole one.
		panic(http.ErrAbortHandler)
	}
}

// panicError carries a panic into the log; nothing of it reaches the caller.
type panicError struct {
	value any
	stack []byte
}

func (p panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// Header implements http.ResponseWriter.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if x.browser && x.origin == "" {
		// A browser fetches what rel=preload or prefetch names, and says that the gateway's own
		// origin asked for it: a provider would open the documents of others.
		delete(x.w.Header(), "Link")
	}
	if status >= 200 && !x.wroteHeader {
		x.wroteHeader = true
		x.c.Record.Status = status
		h := x.w.Header()
		x.id[0] = x.c.ID
		h["X-Request-Id"] = x.id[:]
		h["X-EBox-Environment"] = x.e.environment
		if x.origin != "" {
			exposeTo(h, x.origin)
		}
		if x.browser {
			contain(h, status)
		}
	}
	x.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if !x.wroteHeader {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.w.Write(b)
	if x.own {
		x.c.Record.BytesOut += int64(n) // the proxy counts what it passes on itself
	}
	return n, err
}

// FlushError lets http.ResponseController flush.
func (x *exchange) FlushError() error { return http.NewResponseController(x.w).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// fail answers with the problem that err is to the caller.
func (x *exchange) fail(err error) {
	p := problem.From(err)
	rec := x.c.Record
	rec.ProblemType, rec.ProxyError, rec.Detail, rec.Cause = p.Type, p.ProxyError, p.Detail, p.Cause
	rec.Planned = p.Planned
	x.own = true
	problem.Write(x, x.r, p, x.c.ID, rec.Tries)
}

const (
	// maxHost bounds what is noted of a Host, in bytes: the longest name of the DNS, with a
	// port.
	maxHost = 253 + len(":65535")
	// maxTraceParent and maxTraceState bound the trace context that is noted, in bytes: that
	// of version 00 has 55 (W3C Trace Context, section 3.2.2), of which later ones may add
	// something, and 512 of the state go on (section 3.3.1.5).
	maxTraceParent, maxTraceState = 128, 512
)

// traceContext notes the caller's W3C trace context. Said twice it says nothing
// (Trace Context, section 3.2), and tracestate alone neither. What is too long, or not
// printable, is none: cut, it would name something else.
func (x *exchange) traceContext() {
	parent := x.r.Header["Traceparent"]
	if len(parent) != 1 || !isWhole(parent[0], maxTraceParent) {
		return
	}
	x.c.TraceParent = parent[0]
	if state := strings.Join(x.r.Header["Tracestate"], ","); isWhole(state, maxTraceState) {
		x.c.TraceState = state
	}
}

// isWhole reports whether all of s is printable and no longer than most bytes.
func isWhole(s string, most int) bool { return len(s) <= most && printable.Text(s, most) == s }
