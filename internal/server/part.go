package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
)

// part is the answer to a call to one provider that is made for another call. It is read
// as it is written: the two sides wait for each other, so that nothing heaps up between
// them. It implements http.ResponseWriter.
type part struct {
	ctx    context.Context
	c      *call.Call
	bundle *bundle

	header http.Header
	// given is closed when the header of the answer is there, or will not come. What
	// stands in answered was written before.
	given    chan struct{}
	isGiven  bool
	answered inbox.Answer
	failure  error

	w *io.PipeWriter
}

// end finishes the record of the call, whatever happened.
func (p *part) end(fault any) {
	rec := p.c.Record
	err, isError := fault.(error)
	switch {
	case fault == nil:
		err = nil
	case isError && errors.Is(err, http.ErrAbortHandler):
		if err = rec.Cause; err == nil {
			err = io.ErrUnexpectedEOF
		}
		rec.Cut = true
	default:
		err = panicError{value: fault, stack: debug.Stack()}
		rec.Cause, rec.ProxyError = err, problem.ProxyInternalError
	}
	if err != nil && !p.isGiven {
		p.failed(err)
	}
	p.give()
	if err != nil {
		err = fmt.Errorf("reading the answer of a provider: %w", err)
	}
	_ = p.w.CloseWithError(err) // nil is the end of a whole answer
	rec.Phases.Total = time.Since(p.c.Start)
	p.bundle.mu.Lock()
	p.bundle.sent = p.bundle.sent || rec.Sent
	p.bundle.mu.Unlock()
	rec.Phases.Redis = p.c.Redis.Spent()
	p.bundle.x.e.o.Done(rec)
}

// failed is for a call that ended without any answer: the time for all of them was over
// just then, the caller has gone, or the gateway itself is at fault.
func (p *part) failed(err error) {
	what := problem.Internal(err)
	if errors.Is(p.ctx.Err(), context.DeadlineExceeded) {
		what = problem.Timeout("The Document Provider had not answered when the time for the whole list was over. Try "+
			"again later.", problem.ProxyResponseTimeout).Because(err)
	}
	p.failure = what
	if p.ctx.Err() == nil || errors.Is(p.ctx.Err(), context.DeadlineExceeded) {
		p.c.Record.Cut = false
		p.c.Record.Status, p.c.Record.ProblemType, p.c.Record.ProxyError = what.Status, what.Type, what.ProxyError
	}
}

// Header implements http.ResponseWriter.
func (p *part) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *part) WriteHeader(status int) {
	if status < http.StatusOK || p.isGiven {
		return
	}
	p.c.Record.Status = status
	a := &p.answered
	a.ID, a.Status = p.c.Record.ID, status
	a.ContentType, a.RetryAfter = p.header.Get("Content-Type"), p.header.Get("Retry-After")
	if p.c.Record.ProblemType != "" { // it was the gateway that answered
		a.Reason = p.bundle.x.e.o.Inbox.Reason(p.c.Record)
	}
	p.give()
}

// Write implements http.ResponseWriter. It waits until p was read.
func (p *part) Write(b []byte) (int, error) {
	if !p.isGiven {
		p.WriteHeader(http.StatusOK)
	}
	n, err := p.w.Write(b)
	if p.c.Record.ProblemType != "" {
		p.c.Record.BytesOut += int64(n) // of an upstream's answer the proxy counts
	}
	return n, err
}

func (p *part) give() {
	if !p.isGiven {
		p.isGiven = true
		close(p.given)
	}
}
