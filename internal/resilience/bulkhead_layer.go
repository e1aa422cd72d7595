package resilience

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Bulkhead is the layer below Rate. It bounds how many calls are in flight, shares them
// fairly between callers and enterprises and, if there is no place, lets some wait; who
// finds no place, or gets none in time, is refused with ErrBulkheadFull as 503. A place is
// held until the answer's body has ended or was closed, since a download uses the upstream
// as much as a slow answer does.
func (u *Upstream) Bulkhead(next call.Sender) call.Sender {
	if u.bulkhead == nil {
		return next
	}
	return &bulkheadLayer{u: u, next: next}
}

type bulkheadLayer struct {
	u    *Upstream
	next call.Sender
}

// Send implements call.Sender.
func (l *bulkheadLayer) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	place, err := l.enter(ctx, c)
	if err != nil {
		call.CloseBody(r)
		return nil, err
	}
	held := true
	defer func() {
		if held {
			l.u.bulkhead.leave(place)
		}
	}()
	answer, err := l.next.Send(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if !empty(answer) {
		answer.Body = &placedBody{ReadCloser: answer.Body, bulkhead: l.u.bulkhead, place: place}
		held = false
	}
	return answer, nil
}

// enter waits for a place and notes for how long.
func (l *bulkheadLayer) enter(ctx context.Context, c *call.Call) (*entry, error) {
	s := &l.u.o.Settings
	start := l.u.o.Now()
	place, why, err := l.u.bulkhead.enter(ctx, c, max(s.Wait, c.PaceLeft(start)))
	c.Record.Phases.Limits += l.u.o.Now().Sub(start)
	if place != nil || err != nil {
		return place, err
	}
	share := l.u.bulkhead.places.share
	text := "The upstream has as many calls in flight as the gateway allows, and the queue is full " +
		"or did not move in time."
	switch why {
	case callerShare:
		text = fmt.Sprintf("This caller has its share of the calls that this upstream may have in flight, %d of %d; "+
			"what is left is for other callers. Wait for some of them to end.", share, s.Max)
	case enterpriseShare:
		text = fmt.Sprintf("The calls for this enterprise have their share of those that this upstream may have in flight, "+
			"%d of %d; what is left is for other enterprises. Wait for some of them to end.", share, s.Max)
	case full:
	}
	// After Wait all who wait now have left the queue: that much is known.
	text += " Nothing was sent. Try again after the time in Retry-After, with fewer calls at once."
	return nil, problem.Unavailable(text, max(s.Wait, time.Second)).Proxy(problem.ProxyConnectionLimit).Because(ErrBulkheadFull)
}

// placedBody gives its place back when it ends.
type placedBody struct {
	io.ReadCloser
	bulkhead *bulkhead
	place    *entry
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
		b.bulkhead.leave(b.place)
	}
}
