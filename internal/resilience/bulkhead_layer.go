package resilience

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// Bulkhead is the layer below Rate. It bounds how many calls are in flight and, if
// none of the places is free, lets some wait; who finds no place, or gets none in
// time, is refused with ErrBulkheadFull as 503. A place is held until the answer's
// body has ended or was closed, since a download uses the upstream as much as a
// slow answer does.
func (u *Upstream) Bulkhead(next http.RoundTripper) http.RoundTripper {
	if u.bulkhead == nil {
		return next
	}
	return &bulkheadLayer{u: u, next: next}
}

type bulkheadLayer struct {
	u    *Upstream
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l *bulkheadLayer) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := exchange.From(r.Context())
	batch := rec.Batch
	if err := l.enter(r, rec); err != nil {
		closeBody(r)
		return nil, err
	}
	held := true
	defer func() {
		if held {
			l.u.bulkhead.leave(batch)
		}
	}()
	answer, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if !empty(answer) {
		answer.Body = &placedBody{ReadCloser: answer.Body, bulkhead: l.u.bulkhead, batch: batch}
		held = false
	}
	return answer, nil
}

// enter waits for a place and notes for how long.
func (l *bulkheadLayer) enter(r *http.Request, rec *exchange.Record) error {
	ctx := r.Context()
	s := &l.u.o.Settings
	if l.u.bulkhead.tryEnter(rec.Batch) {
		return nil
	}
	wait := s.Wait
	if rec.Batch {
		wait = max(wait, rec.Pace-rec.Phases.Limits)
	}
	start := l.u.o.Now()
	placed, err := l.u.bulkhead.enter(ctx, rec.Batch, wait)
	rec.Phases.Limits += l.u.o.Now().Sub(start)
	if placed || err != nil {
		return err
	}
	// After Wait all who wait now have left the queue: that much is known.
	return problem.Unavailable("The upstream has as many calls in flight as the gateway allows, and the queue is full or did not move in time. "+
		"Nothing was sent. Try again after the time in Retry-After, with fewer calls at once.", max(s.Wait, time.Second)).
		Proxy(problem.ProxyConnectionLimit).Because(ErrBulkheadFull)
}

// placedBody gives its place back when it ends.
type placedBody struct {
	io.ReadCloser
	bulkhead *bulkhead
	batch    bool
	left     atomic.Bool
}

// Read implements io.Reader.
func (b *placedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.leave()
	}
	return n, err
}

// Close implements io.Closer.
func (b *placedBody) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}

func (b *placedBody) leave() {
	if b.left.CompareAndSwap(false, true) {
		b.bulkhead.leave(b.batch)
	}
}
