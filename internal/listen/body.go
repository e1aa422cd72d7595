package listen

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/wire"
)

// lent is what the bodies of both protocols have in common: a handler has them until it returns.
// Another goroutine may read them for it.
type lent struct {
	mu   sync.Mutex
	over bool // the handler has returned, or has no use for it
}

// Close implements io.Closer. What was not read is the server's to deal with.
func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	return nil
}

// takeBack ends all reading, a read that is under way by what endRead does to it.
func (l *lent) takeBack(endRead func()) {
	if !l.mu.TryLock() {
		endRead()
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	l.over = true
}

// body is the body of a request.
type body struct {
	lent
	e *exchange
	// ended reports whether nothing of it is left on the connection.
	ended   atomic.Bool
	in      wire.Body
	expects bool // a 100 has to be sent before it comes
	err     error
}

// Read implements io.Reader. Of a caller that waits for a 100 it first writes one, unless
// the answer has begun.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
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

// takeBack ends all reading by others.
func (b *body) takeBack() {
	c := b.e.c
	b.lent.takeBack(func() {
		c.taken.Store(true) // for a read that is just about to set its deadline
		_ = c.socket.SetReadDeadline(unknown)
	})
	if c.taken.Swap(false) {
		c.readBy.Passed()
	}
}

// mostUnread is how much of a body that nobody read is read by the server, in bytes, to
// keep the connection.
const mostUnread = 64 << 10

// isShort reports whether a body is so short that the connection is kept although nobody may
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
	if c.socket.SetReadDeadline(time.Now().Add(c.generation.bodyIdle())) != nil {
		return false
	}
	_, err := io.Copy(io.Discard, &b.in)
	return err == nil
}
