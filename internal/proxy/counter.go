package proxy

import (
	"context"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/printable"
)

// traceHeader is BelGov-Trace-Id in canonical form: unique for every outgoing
// call, at most 36 characters.
const traceHeader = "Belgov-Trace-Id"

const (
	// maxTraceID bounds what is noted of an upstream's, in bytes.
	maxTraceID = 128
	// largeBody is from how many bytes on a body may take its time.
	largeBody = 64 << 10
)

// NewCounter makes the layer that counts the tries of a request: it gives each one
// a trace id of its own and notes in the record the id, the number of tries, whether the
// upstream may have seen one, what it answered, and how long its header took. It belongs
// below retries and directly above the credentials layer. waiting has the calls that wait
// for the header, but those with large bodies: how long those take is up to the caller.
//
// The first try's id goes into the header map that it is given: the map was made for
// this one exchange, and a copy would be the second, since the credentials layer below
// makes one anyway. A later try gets a copy, because an earlier one may still be written.
func NewCounter(next call.Sender, classify func(error) call.Failure, now func() time.Time,
	waiting *Waiting) call.Sender {
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		rec := c.Record
		id := call.NewID()
		if _, again := r.Header[traceHeader]; again {
			copied := *r
			copied.Header = r.Header.Clone()
			r = &copied
		}
		r.Header[traceHeader] = []string{id}
		rec.TraceID, rec.AnswerTraceID, rec.UpstreamStatus = id, "", 0
		rec.Tries++
		start := now()
		var waits *time.Time
		if r.ContentLength >= 0 && r.ContentLength <= largeBody {
			waits = waiting.begin(start)
		}
		resp, err := next.Send(ctx, c, r)
		end := now()
		rec.Phases.Header = end.Sub(start)
		if err != nil {
			failure := classify(err)
			waiting.end(waits, end, !failure.Timeout && !failure.Cancelled)
			rec.Sent = rec.Sent || failure.Sent
			return nil, err
		}
		waiting.end(waits, end, true)
		rec.Sent = true
		rec.UpstreamStatus = resp.StatusCode
		noteScopes(resp, rec)
		if v := resp.Header[traceHeader]; len(v) > 0 {
			// The record may wait in a queue, and the header not with it.
			rec.AnswerTraceID = strings.Clone(printable.Text(v[0], maxTraceID))
		}
		return resp, nil
	})
}
