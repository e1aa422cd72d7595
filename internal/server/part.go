package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
)

// part is a call to one provider that is made for another call. It is its context, its
// record and the writer of its answer in one. The answer is read as it is written: the
// two sides wait for each other, so that nothing heaps up between them.
type part struct {
	context.Context
	record exchange.Record
	bundle *bundle

	credentialKey, credential any

	header http.Header
	// given is closed when the header of the answer is there, or will not come. What
	// stands in answered was written before.
	given    chan struct{}
	isGiven  bool
	answered inbox.Answer
	failure  error

	w *io.PipeWriter
}

func newPart(b *bundle, ctx context.Context, q *inbox.Request, target *Target, path string) *part {
	p := &part{
		Context: ctx, bundle: b, header: make(http.Header), given: make(chan struct{}),
		credentialKey: b.e.credentialKey, credential: target.Credential,
	}
	// The record is the caller's own up to where it is sent.
	from := &b.c.record
	p.record = exchange.Record{
		ID: exchange.NewID(), Parent: from.ID, TraceParent: from.TraceParent, TraceState: from.TraceState, Start: time.Now(),
		Source: from.Source, Listener: from.Listener, Caller: from.Caller, Actor: from.Actor, Purpose: from.Purpose, Batch: from.Batch, Pace: from.Pace,
		Method: q.Method, Host: from.Host, Path: path, Protocol: from.Protocol,
		Route: b.e.o.Inbox.Route.Tenancy.Name, Provider: q.Provider, Action: from.Action,
		Enterprise: from.Enterprise, Own: from.Own, Claimed: from.Claimed, Client: from.Client,
		Upstream: target.Upstream.Name, UpstreamHost: target.Upstream.Base.Host,
	}
	p.answered.Body, p.w = io.Pipe()
	return p
}

// Value hands out what the layers below look for.
func (p *part) Value(key any) any {
	if key == exchange.Key {
		return &p.record
	}
	if p.credentialKey != nil && key == p.credentialKey {
		return p.credential
	}
	return p.Context.Value(key)
}

// answer waits for the header of the answer.
func (p *part) answer() (*inbox.Answer, error) {
	<-p.given // the stack below ends with the context
	if p.failure != nil {
		return nil, p.failure
	}
	return &p.answered, nil
}

// run makes the call and finishes its record, whatever happens.
func (p *part) run(do func()) {
	defer func() { p.end(recover()) }()
	do()
}

func (p *part) end(fault any) {
	rec := &p.record
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
		err = panicError{value: fault, stack: stack()}
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
	rec.Phases.Total = time.Since(rec.Start)
	p.bundle.mu.Lock()
	p.bundle.sent = p.bundle.sent || rec.Sent
	p.bundle.mu.Unlock()
	p.bundle.e.done(rec)
}

// failed is for a call that ended without any answer: the time for all of them was over
// just then, the caller has gone, or the gateway itself is at fault.
func (p *part) failed(err error) {
	what := problem.Internal(err)
	if errors.Is(p.Err(), context.DeadlineExceeded) {
		what = problem.Timeout("The Document Provider had not answered when the time for the whole list was over. Try again later.", problem.ProxyResponseTimeout).Because(err)
	}
	p.failure = what
	if p.Err() == nil || errors.Is(p.Err(), context.DeadlineExceeded) {
		p.record.Cut = false
		p.record.Status, p.record.ProblemType, p.record.ProxyError = what.Status, what.Type, what.ProxyError
	}
}

// Header implements http.ResponseWriter.
func (p *part) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *part) WriteHeader(status int) {
	if status < http.StatusOK || p.isGiven {
		return
	}
	p.record.Status = status
	a := &p.answered
	a.ID, a.Status = p.record.ID, status
	a.ContentType, a.RetryAfter = first(p.header["Content-Type"]), first(p.header["Retry-After"])
	if p.record.ProblemType != "" { // it was the gateway that answered
		a.Reason = p.bundle.e.o.Inbox.Reason(&p.record)
	}
	p.give()
}

// Write implements http.ResponseWriter. It waits until p was read.
func (p *part) Write(b []byte) (int, error) {
	if !p.isGiven {
		p.WriteHeader(http.StatusOK)
	}
	n, err := p.w.Write(b)
	if p.record.ProblemType != "" {
		p.record.BytesOut += int64(n) // of an upstream's answer the proxy counts
	}
	return n, err
}

func (p *part) give() {
	if !p.isGiven {
		p.isGiven = true
		close(p.given)
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
