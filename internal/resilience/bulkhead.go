package resilience

import (
	"context"
	"net/http"
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
	q := u.bulkhead
	if q == nil {
		return next
	}
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		s := &u.o.Settings.Concurrency
		start := u.o.Now()
		place, why, err := q.enter(ctx, c, max(s.Wait, c.PaceLeft(start)))
		c.Record.Phases.Limits += u.o.Now().Sub(start)
		if place == nil {
			call.CloseBody(r)
			if err == nil {
				// After Wait all who wait now have left the queue: that much is known.
				err = problem.Unavailable(why+" Nothing was sent. Try again after the time in Retry-After, with fewer calls at "+
					"once.", max(s.Wait, time.Second)).Proxy(problem.ProxyConnectionLimit).Because(ErrBulkheadFull)
			}
			return nil, err
		}
		held := true
		defer func() { // also if the transport panics
			if held {
				q.leave(place)
			}
		}()
		answer, err := next.Send(ctx, c, r)
		if err == nil && !empty(answer) {
			answer.Body = &endedBody{ReadCloser: answer.Body, end: func(error) { q.leave(place) }}
			held = false
		}
		return answer, err
	})
}
