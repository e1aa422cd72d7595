package listen

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/wire"
)

// body is the body of a request. It may be read by another goroutine than the handler's.
type body struct {
	e *exchange
	// ended tells that nothing of it is left on the connection.
	ended atomic.Bool

	mu      sync.Mutex
	in      wire.Body
	expects bool // a 100 has to be sent before it comes
	closed  bool
	err     error
}

// Read implements io.Reader. Of a caller that waits for a 100 it first writes one, unless
// the answer has begun.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	case b.expects:
		b.expects = false
		b.e.sendContinue()
	}
	n, b.err = b.in.Read(p)
	if b.err == io.EOF {
		b.ended.Store(true)
		b.e.req.Trailer = b.in.Trailer(b.e.req.Trailer)
	}
	return n, b.err
}

// Close implements io.Closer. What was not read is the server's to deal with.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// takeBack ends all reading by others, and a read that is under way with an error.
func (b *body) takeBack() {
	if c := b.e.c; !b.mu.TryLock() {
		c.taken.Store(true) // for a read that is just about to set its deadline
		_ = c.socket.SetReadDeadline(unknown)
		b.mu.Lock()
		c.taken.Store(false)
		c.readBy.Passed()
	}
	defer b.mu.Unlock()
	b.closed = true
}

// mostUnread is how much of a body that nobody read is read by the server, in bytes, to
// keep the connection.
const mostUnread = 64 << 10

// isShort tells that a body is so short that the connection is kept although nobody may
// read it: the caller sends it in any case.
func (b *body) isShort() bool {
	n := b.e.req.ContentLength
	return b.ended.Load() || n > 0 && n <= mostUnread && !wire.HasToken(b.e.req.Header["Expect"], "100-continue")
}

// skip reads a short body to its end, if that comes soon.
func (b *body) skip() bool {
	if b.ended.Load() {
		return true
	}
	c := b.e.c
	c.reading = readBegun
	c.readBy.Passed()
	if c.socket.SetReadDeadline(time.Now().Add(c.generation.stillness())) != nil {
		return false
	}
	_, err := io.Copy(io.Discard, &b.in)
	return err == nil
}
