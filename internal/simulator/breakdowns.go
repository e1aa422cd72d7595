package simulator

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// drainedForFault bounds what is read of a request body before a fault answers,
// so that the client gets the answer rather than a reset. In bytes.
const drainedForFault = 1 << 20

// SecondAnswer is the body that FaultSurplus sends behind its answer.
const SecondAnswer = `{"answer": 2}`

// applyFaults lets the faults that match the request happen. It returns true if
// nothing is left to answer.
func (s *Simulator) applyFaults(c *call) bool {
	latency, f := c.takeFaults()
	if latency != nil && !pause(s.ctx, c.r.Context(), latency.Delay) {
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
			if pause(c.s.ctx, context.Background(), f.Delay) {
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
		c.answerFault(f)()
	}
	return true
}

// answerFault gives the answers that are well-formed HTTP.
func (c *call) answerFault(f *Fault) response {
	h := c.w.Header()
	for name, values := range f.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if f.RetryAfter != "" {
		h.Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Kind == FaultUnauthorized && c.upstream == UpstreamToken:
		return c.send(http.StatusUnauthorized, &oauthError{"invalid_client", "the client is refused"})
	case f.Kind == FaultUnauthorized:
		return c.unauthorized("invalid_token", "invalidAccessToken", "Invalid Access Token",
			"The access token is not accepted. Get a new one.")
	case f.Kind == FaultMalformedJSON:
		return c.sendBytes(http.StatusOK, "application/json", []byte(`{"items":[{"messageId":"1000001","subject":`))
	case f.Kind == FaultRedirect:
		if h.Get("Location") == "" {
			h.Set("Location", "https://elsewhere.invalid"+c.r.URL.EscapedPath())
		}
		return c.status(cmp.Or(f.Status, http.StatusTemporaryRedirect))
	}
	status := cmp.Or(f.Status, http.StatusServiceUnavailable)
	switch {
	case f.Body != "" && f.ContentType == "" && len(f.Header["Content-Type"]) > 0:
		return func() {
			c.w.WriteHeader(status) // with as many of that field as the fault has
			_, _ = c.w.Write([]byte(f.Body))
		}
	case f.Body != "":
		return c.sendBytes(status, cmp.Or(f.ContentType, "application/json"), []byte(f.Body))
	case c.upstream == UpstreamToken:
		return c.send(status, &oauthError{Code: "server_error"})
	case status < 400:
		return c.status(status)
	}
	return c.fail(refuse(status, cmp.Or(faultTypes[status], "internalServerError"), http.StatusText(status),
		"The request could not be served."))
}

// faultTypes are the problem types of the errors that an upstream gives often.
var faultTypes = map[int]string{
	http.StatusBadRequest: "badRequest", http.StatusForbidden: "missingPermission", http.StatusNotFound: "resourceNotFound",
	http.StatusTooManyRequests: "tooManyRequests", http.StatusServiceUnavailable: "serviceUnavailable",
}

// pause lets time pass and tells whether there is still somebody to answer.
func pause(simulator, request context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-request.Done():
	case <-simulator.Done():
	}
	return false
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
			if !pause(w.ctx, w.request, w.shape.Delay) {
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
