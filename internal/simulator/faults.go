package simulator

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Names of the upstreams, in faults and in the record of requests. A provider's
// is ProviderUpstream(id).
const (
	UpstreamToken      = "token"
	UpstreamRegistry   = "registry"
	UpstreamPartition  = "partition"
	UpstreamFederation = "federation"
	UpstreamGrant      = "grant"
)

var upstreams = []string{UpstreamToken, UpstreamRegistry, UpstreamPartition, UpstreamFederation, UpstreamGrant}

// ProviderUpstream is the upstream name of one provider's Message Registry.
func ProviderUpstream(id string) string { return "provider:" + id }

// FaultKind is a way for an upstream to fail.
type FaultKind string

// The kinds of faults.
const (
	// FaultLatency waits Delay, then answers as usual (or meets the next fault).
	FaultLatency FaultKind = "latency"
	// FaultStatus answers Status with Body, ContentType and Header.
	FaultStatus FaultKind = "status"
	// FaultReset sends a TCP reset instead of an answer.
	FaultReset FaultKind = "reset"
	// FaultClose reads the request and closes without an answer.
	FaultClose FaultKind = "close"
	// FaultLost does what was asked and closes without an answer.
	FaultLost FaultKind = "lost"
	// FaultFreeze accepts the request and never answers, until the client goes
	// or the simulator is closed.
	FaultFreeze FaultKind = "freeze"
	// FaultSlowBody sends the body in pieces of Bytes (default 1024), each after Delay.
	FaultSlowBody FaultKind = "slowBody"
	// FaultTruncate cuts the connection after Bytes bytes of the body. A shorter
	// body arrives whole.
	FaultTruncate FaultKind = "truncate"
	// FaultSurplus answers 200 with a body, to a HEAD too, and once more after Delay: what
	// comes behind the answer belongs to nobody.
	FaultSurplus FaultKind = "surplus"
	// FaultMalformed sends bytes that are no HTTP.
	FaultMalformed FaultKind = "malformed"
	// FaultMalformedJSON answers 200 with JSON that breaks off.
	FaultMalformedJSON FaultKind = "malformedJSON"
	// FaultUnauthorized refuses the token: 401 in the form of the upstream; at the
	// token endpoint, invalid_client.
	FaultUnauthorized FaultKind = "unauthorized"
	// FaultRedirect answers Status (default 307) with the Location in Header,
	// or to a host that does not exist.
	FaultRedirect FaultKind = "redirect"
)

var faultKinds = []FaultKind{
	FaultLatency, FaultStatus, FaultReset, FaultClose, FaultFreeze, FaultSlowBody,
	FaultTruncate, FaultLost, FaultSurplus, FaultMalformed, FaultMalformedJSON, FaultUnauthorized, FaultRedirect,
}

// Fault is something that goes wrong, and for which requests. Faults are tried in
// the order in which they were laid; the first that matches applies, and latencies
// before it.
type Fault struct {
	// ID is set by the simulator, for taking one fault away again.
	ID int `json:"id,omitempty"`
	// Upstream is one of the Upstream… names or "provider:<id>"; empty or "*": all.
	Upstream string `json:"upstream,omitempty"`
	// Method is the request's; empty: all.
	Method string `json:"method,omitempty"`
	// Path is a prefix of the escaped path below the upstream's base: "/ebox/messages".
	Path string `json:"path,omitempty"`
	// Count is how many requests it applies to; 0: all until it is taken away.
	Count int `json:"count,omitempty"`
	// Kind is what happens.
	Kind FaultKind `json:"kind"`
	// Delay belongs to latency, slowBody and surplus. In JSON it is a text: "250ms".
	Delay time.Duration `json:"-"`
	// Status, Body, ContentType and Header belong to status and redirect. Without a
	// body the upstream's own form of an error is sent. ContentType is JSON by default.
	Status      int         `json:"status,omitempty"`
	Body        string      `json:"body,omitempty"`
	ContentType string      `json:"contentType,omitempty"`
	Header      http.Header `json:"header,omitempty"`
	// RetryAfter is sent as the header Retry-After, seconds or a date.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Bytes belongs to truncate and slowBody.
	Bytes int64 `json:"bytes,omitempty"`
	// Hits counts the requests it was applied to; set by the simulator.
	Hits int `json:"hits"`
}

// Fault lays a fault and returns its id. A kind or upstream that does not exist is an error,
// since it would never show.
func (s *Simulator) Fault(f Fault) (int, error) {
	if !slices.Contains(faultKinds, f.Kind) {
		return 0, fmt.Errorf("laying a fault: there is no kind %q, use one of %v", f.Kind, faultKinds)
	}
	known := slices.Contains(upstreams, f.Upstream) || strings.HasPrefix(f.Upstream, ProviderUpstream(""))
	if !known && f.Upstream != "" && f.Upstream != "*" { // of all
		return 0, fmt.Errorf("laying a fault: there is no upstream %q, use one of %v or provider:ID", f.Upstream, upstreams)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextFault++
	f.ID, f.Hits = s.nextFault, 0
	f.Header = f.Header.Clone()
	s.faults = append(s.faults, &f)
	return f.ID, nil
}

// ClearFaults takes all faults away. Requests that are frozen stay so.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// RemoveFault takes one fault away and reports whether it was there.
func (s *Simulator) RemoveFault(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return f.ID == id })
	return len(s.faults) < n
}

// takeFaults finds the faults for a request and counts and records them as applied: how long it
// waits, and what else happens to it, nil for nothing.
func (c *call) takeFaults() (wait time.Duration, other *Fault) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, f := range c.s.faults {
		if !f.matches(c.upstream, c.r.Method, c.below) {
			continue
		}
		f.Hits++
		c.entry.Fault = f.Kind
		if f.Kind != FaultLatency {
			copied := *f
			return wait, &copied
		}
		wait += f.Delay
	}
	return wait, nil
}

func (f *Fault) matches(upstream, method, path string) bool {
	return (f.Upstream == "" || f.Upstream == "*" || f.Upstream == upstream) &&
		(f.Method == "" || f.Method == method) &&
		strings.HasPrefix(path, f.Path) &&
		(f.Count == 0 || f.Hits < f.Count)
}

// drainedForFault bounds what is read of a request body before a fault answers,
// so that the client gets the answer rather than a reset. In bytes.
const drainedForFault = 1 << 20

// SecondAnswer is the body that FaultSurplus sends behind its answer.
const SecondAnswer = `{"answer": 2}`

// applyFaults lets the faults that match the request happen. It returns true if
// nothing is left to answer.
func (s *Simulator) applyFaults(c *call) bool {
	wait, f := c.takeFaults()
	if wait > 0 && !pause(c.r.Context(), wait) {
		panic(http.ErrAbortHandler)
	}
	if f == nil {
		return false
	}
	switch f.Kind {
	case FaultReset:
		c.takeConnection(func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) })
	case FaultClose:
		_, _ = io.Copy(io.Discard, c.r.Body) // unread bytes would turn the close into a reset
		c.takeConnection(func(net.Conn) {})
	case FaultSurplus:
		c.drain()
		c.takeConnection(func(conn net.Conn) {
			const header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
			_, _ = io.WriteString(conn, header+`{"answer": 1}`)
			if pause(s.ctx, f.Delay) {
				_, _ = io.WriteString(conn, header+SecondAnswer)
			}
			_, _ = io.Copy(io.Discard, conn)
		})
	case FaultMalformed:
		c.drain()
		c.takeConnection(func(conn net.Conn) { _, _ = io.WriteString(conn, "\x16\x03this is no HTTP\r\n\r\n") })
	case FaultFreeze:
		c.takeConnection(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	case FaultSlowBody, FaultTruncate, FaultLost:
		c.w.shape = f
		return false
	default:
		c.drain()
		c.answer(c.answerFault(f))
	}
	return true
}

// answerFault gives the answers that are well-formed HTTP.
func (c *call) answerFault(f *Fault) (any, error) {
	h := c.w.Header()
	for name, values := range f.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if f.RetryAfter != "" {
		h.Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Kind == FaultUnauthorized && c.upstream == UpstreamToken:
		return nil, &oauthError{"invalid_client", "the client is refused"}
	case f.Kind == FaultUnauthorized:
		return nil, unauthorized("invalid_token", "invalidAccessToken", "Invalid Access Token",
			"The access token is not accepted. Get a new one.")
	case f.Kind == FaultMalformedJSON:
		return content{plainJSON, []byte(`{"items":[{"messageId":"1000001","subject":`)}, nil
	case f.Kind == FaultRedirect:
		if h.Get("Location") == "" {
			h.Set("Location", "https://elsewhere.invalid"+c.r.URL.EscapedPath())
		}
		c.status = cmp.Or(f.Status, http.StatusTemporaryRedirect)
		return nil, nil
	}
	c.status = cmp.Or(f.Status, http.StatusServiceUnavailable)
	switch {
	case f.Body != "":
		if f.ContentType != "" || h["Content-Type"] == nil {
			h.Set("Content-Type", cmp.Or(f.ContentType, plainJSON))
		}
		return asTheFaultSays(f.Body), nil
	case c.upstream == UpstreamToken:
		return map[string]string{"error": "server_error"}, nil
	case c.status < 400:
		return nil, nil
	}
	return nil, refuse(c.status, cmp.Or(faultTypes[c.status], "internalServerError"), http.StatusText(c.status),
		"The request could not be served.")
}

// asTheFaultSays is a body to which nothing is added: no entity tag, and of Content-Type as many fields as the
// fault has.
type asTheFaultSays string

func (body asTheFaultSays) send(c *call) { c.write(c.status, []byte(body)) }

// faultTypes are the problem types of the errors that an upstream gives often.
var faultTypes = map[int]string{
	http.StatusBadRequest:         "badRequest",
	http.StatusForbidden:          "missingPermission",
	http.StatusNotFound:           "resourceNotFound",
	http.StatusTooManyRequests:    "tooManyRequests",
	http.StatusServiceUnavailable: "serviceUnavailable",
}

// pause lets time pass and reports whether there is still somebody to answer. The context of a request ends with
// the simulator too.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain reads what is left of a request body, within bounds.
func (c *call) drain() {
	if c.r.Header.Get("Expect") != "" {
		return // nothing was sent yet, and an early answer is what the header is for
	}
	_, _ = io.CopyN(io.Discard, c.r.Body, drainedForFault)
}

// takeConnection takes the connection away from HTTP, does something with it and
// closes it. The end of the simulator closes it at once.
func (c *call) takeConnection(do func(net.Conn)) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil { // the connection is gone already
		panic(http.ErrAbortHandler)
	}
	stop := context.AfterFunc(c.s.ctx, func() { _ = conn.Close() })
	defer stop()
	do(conn)
	_ = conn.Close()
}

// writeShaped is Write under slowBody or truncate.
func (w *answer) writeShaped(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:]
		if w.shape.Kind == FaultTruncate {
			left := w.shape.Bytes - w.sent
			if left <= 0 { // whatever framing the answer has, its end does not come
				_ = http.NewResponseController(w.ResponseWriter).Flush()
				panic(http.ErrAbortHandler)
			}
			piece = piece[:min(int64(len(piece)), left)]
		} else {
			piece = piece[:min(int64(len(piece)), cmp.Or(max(w.shape.Bytes, 0), 1024))]
			if !pause(w.request, w.shape.Delay) {
				panic(http.ErrAbortHandler)
			}
		}
		m, err := w.ResponseWriter.Write(piece)
		n, w.sent = n+m, w.sent+int64(m)
		if err != nil {
			return n, err
		}
		if w.shape.Kind == FaultSlowBody {
			_ = http.NewResponseController(w.ResponseWriter).Flush()
		}
	}
	return n, nil
}
