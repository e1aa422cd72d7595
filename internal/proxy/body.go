package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// keepLimit is how much of a request body is kept for a second sending, in bytes.
const keepLimit = 64 << 10

var (
	errBodyTooLarge   = errors.New("reading the request body: it is larger than the route allows")
	errBodyNotKept    = errors.New("sending the request body again: more of it was sent than was kept")
	errBodyGivenUp    = errors.New("reading the request body: the exchange is over")
	errBodySuperseded = errors.New("reading the request body: a later try sends it now")
)

// sendBody gives the outgoing request its body. What is read of the caller for it is read
// through x.body, which endBody ends.
func (x *exchange) sendBody(out *http.Request) {
	c, r := x.c, x.r
	if !x.expectsContinue() {
		delete(out.Header, "Expect")
	}
	switch {
	case c.BodyRead && len(c.Body) > 0:
		body := c.Body
		out.ContentLength = int64(len(body))
		out.Body = io.NopCloser(bytes.NewReader(body))
		if !c.Opening {
			out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		}
		return
	case c.BodyRead || r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		return
	}
	out.ContentLength, out.Trailer = r.ContentLength, requestTrailer(r)
	s := &source{body: r.Body, in: r, limit: c.MaxBody, trailer: out.Trailer, kept: c.Memory.Buffer()}
	s.current = &attempt{source: s}
	out.Body = s.current
	// A request with trailers is sent once: their map is filled when the body ends,
	// and an earlier try could still be reading it.
	if !c.Opening && out.Trailer == nil {
		out.GetBody = s.again
	}
	x.body = s
}

// endBody ends all reading of the caller's body, and notes how much of it there was. A read that
// is under way ends with the server's own closing of the body, which waits for it.
func (x *exchange) endBody() {
	if x.body == nil {
		x.c.Record.BytesIn = int64(len(x.c.Body))
		return
	}
	x.body.closed.Store(true)
	x.c.Record.BytesIn = x.body.read.Load()
}

// source is a request body that several tries may send, one after the other. What
// was read is kept while it is no more than keepLimit, so that the next try can
// begin at the beginning. The transport may read in a goroutine of its own after
// RoundTrip returned, so every try reads through an attempt, and only the latest one
// gets anything.
type source struct {
	in      *http.Request
	body    io.ReadCloser
	limit   int64       // of the whole body, in bytes; 0 is none
	trailer http.Header // of the outgoing request; its values are filled at the end
	closed  atomic.Bool
	read    atomic.Int64 // bytes read from the caller

	mu      sync.Mutex // held while the caller is read, too
	current *attempt
	kept    memory.Buffer
	err     error // how the caller's body ended
}

// attempt is the body as one try sends it.
type attempt struct {
	source *source
	off    int64
}

func (a *attempt) Close() error { return nil } // the server closes the caller's body

func (a *attempt) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := a.source
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, read := s.kept.Bytes(), s.read.Load()
	switch {
	case s.closed.Load():
		return 0, errBodyGivenUp
	case s.current != a:
		return 0, errBodySuperseded
	case a.off < int64(len(kept)):
		n := copy(p, kept[a.off:])
		a.off += int64(n)
		return n, nil
	case s.err != nil:
		return 0, s.end()
	}
	n, err := s.readCaller(p)
	if int64(len(kept)) == read && s.in.ContentLength <= keepLimit {
		s.kept.Append(p[:n], keepLimit) // or the body cannot be sent again
	}
	s.err = err
	if read = s.read.Add(int64(n)); s.limit > 0 && read > s.limit {
		s.err = errBodyTooLarge
		return 0, s.err
	}
	if s.closed.Load() {
		return 0, errBodyGivenUp
	}
	a.off = read
	if s.err != nil {
		return n, s.end()
	}
	return n, nil
}

// readCaller reads from the caller. Bodies that name enterprises are looked into as they go up,
// in the transport's own goroutine: a fault there ends this request, and not the process.
func (s *source) readCaller(p []byte) (n int, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			n, err = 0, problem.Internal(fmt.Errorf("reading the request body: panic: %v\n%s", fault, debug.Stack()))
		}
	}()
	return s.body.Read(p)
}

// end gives the error that the body ended with, and the trailers behind it.
func (s *source) end() error {
	if s.err == io.EOF {
		for name := range s.trailer {
			s.trailer[name] = s.in.Trailer[name]
		}
	}
	return s.err
}

// again is GetBody: the body from its beginning, if it is still there.
func (s *source) again() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return nil, errBodyGivenUp
	case int64(len(s.kept.Bytes())) < s.read.Load():
		return nil, errBodyNotKept
	case s.err != nil && s.err != io.EOF:
		return nil, s.err
	}
	s.current = &attempt{source: s}
	return s.current, nil
}

// ended is how the caller's body has ended; nil while it has not, as long as it is read.
func (s *source) ended() error {
	if s == nil {
		return io.EOF
	}
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	return s.err
}
