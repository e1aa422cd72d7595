package server

import (
	"io"
	"net/http"
	"time"
)

// patientBody is a request's body whose caller may pause for the patience and no
// longer. Progress renews it: a slow but honest upload is never cut.
type patientBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	until    time.Time
	http1    bool
	ended    bool
}

// patient makes both directions of an exchange as patient as they may be. body is
// nil if r has none.
//
// On HTTP/1 the time for the body runs from the start: a handler that never reads it
// would leave that to the server, which does so before the header leaves, without a
// limit of its own. On HTTP/2 such a limit would outlast a wait that is no fault of
// the caller, and an unread body holds nothing up.
func patient(w http.ResponseWriter, r *http.Request, patience time.Duration) (http.ResponseWriter, *patientBody) {
	if patience <= 0 {
		return w, nil
	}
	var body *patientBody
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		body = &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), patience: patience, http1: r.ProtoMajor == 1}
		r.Body = body
		if body.http1 {
			body.until = time.Now().Add(patience)
			_ = body.control.SetReadDeadline(body.until) // a connection that fails shows when it is read
		}
	}
	if r.ProtoMajor == 2 {
		w = &patientStream{ResponseWriter: w, control: http.NewResponseController(w), patience: patience}
	}
	return w, body
}

// leave is for when the handler has returned and the server ends the exchange.
func leave(w http.ResponseWriter, body *patientBody) {
	if body != nil && body.http1 && !body.ended {
		_ = body.control.SetReadDeadline(time.Now().Add(lingerUnread)) // the connection may be gone
	}
	if stream, ok := w.(*patientStream); ok {
		stream.arm() // until the stream has ended
	}
}

func (b *patientBody) Read(p []byte) (int, error) {
	// The deadline is moved when an eighth of it has passed, not for every read.
	if now := time.Now(); b.until.Sub(now) < b.patience*7/8 {
		b.until = now.Add(b.patience)
		if err := b.control.SetReadDeadline(b.until); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	// At the end the server reads on, to learn whether the caller is still there. On
	// HTTP/2 a limit that passes while nobody reads, because the upstream takes its
	// time, would end the stream.
	b.ended = b.ended || err == io.EOF
	if b.ended || !b.http1 {
		b.until = time.Time{}
		if err := b.control.SetReadDeadline(b.until); err != nil {
			return n, err
		}
	}
	return n, err
}

// mostAtOnce is what a caller on HTTP/2 has to take of an answer, in bytes, within
// the patience: one frame as large as any receiver must accept.
const mostAtOnce = 16 << 10

// patientStream is the answer on an HTTP/2 stream. Its caller decides by the stream's
// window how much is sent, and one that opens none would hold the answer, and the
// upstream behind it, while the connection itself is in the best of health. Nothing
// runs between writes: an upstream that is slow is no fault of the caller.
type patientStream struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (s *patientStream) arm() { _ = s.control.SetWriteDeadline(time.Now().Add(s.patience)) } // HTTP/2 has deadlines

func (s *patientStream) disarm() { _ = s.control.SetWriteDeadline(time.Time{}) }

// Write implements http.ResponseWriter.
func (s *patientStream) Write(p []byte) (n int, err error) {
	defer s.disarm()
	for {
		s.arm()
		m, err := s.ResponseWriter.Write(p[n:min(len(p), n+mostAtOnce)])
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError lets http.ResponseController flush.
func (s *patientStream) FlushError() error {
	s.arm()
	defer s.disarm()
	return s.control.Flush()
}

// Unwrap lets http.ResponseController reach the stream.
func (s *patientStream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// lingerUnread is how long a refusal waits for the body that it did not want.
const lingerUnread = 500 * time.Millisecond
