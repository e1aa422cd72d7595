package proxy

import (
	"io"
	"net/http"
	"strings"

	"ebox-gateway/internal/call"
)

// traceHeader is BelGov-Trace-Id in canonical form: unique for every outgoing
// call, at most 36 characters.
const traceHeader = "Belgov-Trace-Id"

// maxTraceID bounds what is noted of an upstream's, in bytes.
const maxTraceID = 128

// NewCounter makes the layer that counts the tries of a request: it gives each one
// a trace id of its own and notes in the exchange record the id, the number of
// tries, whether the upstream may have seen one, what it answered, and how long its
// header took. It belongs below retries and directly above the credentials layer.
//
// The first try's id goes into the header map that it is given, against the letter
// of http.RoundTripper: the map is the proxy's own, made for this one exchange, and
// a copy would be the second, since the credentials layer below makes one anyway. A
// later try gets a copy, because a transport may still write an earlier one. Whoever
// sends a request of another origin through here gives it a header map of its own.
//
// It also keeps the transport from repeating an opening by itself. The layers above
// may, if its connection was never made.
func NewCounter(next http.RoundTripper, o Options) http.RoundTripper {
	return &counter{next: next, o: o}
}

// noBody is the body of an opening, which must not be repeated once it was sent:
// the transport repeats by itself a GET whose keep-alive connection died, even after
// the request was written, unless it has a body that it cannot get again.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }

type counter struct {
	next http.RoundTripper
	o    Options
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := exchange.From(r.Context())
	id := c.o.NewID()
	if _, again := r.Header[traceHeader]; again {
		r = r.WithContext(r.Context())
		r.Header = r.Header.Clone()
	}
	r.Header[traceHeader] = []string{id}
	if rec.Opening && (r.Body == nil || r.Body == http.NoBody) {
		r = r.WithContext(r.Context())
		r.Body = noBody{}
	}
	rec.TraceID, rec.AnswerTraceID, rec.UpstreamStatus = id, "", 0
	rec.Tries++
	start := c.o.Now()
	resp, err := c.next.RoundTrip(r)
	rec.Phases.Header = c.o.Now().Sub(start)
	if err != nil {
		rec.Sent = rec.Sent || c.o.Classify(err).Sent
		return nil, err
	}
	rec.Sent = true
	rec.UpstreamStatus = resp.StatusCode
	if v := resp.Header[traceHeader]; len(v) > 0 {
		// The record may wait in a queue, and the header not with it.
		rec.AnswerTraceID = strings.Clone(v[0][:min(len(v[0]), maxTraceID)])
	}
	return resp, nil
}
