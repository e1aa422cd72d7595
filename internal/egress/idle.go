package egress

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// errStalled is a body that stood still for Timeouts.Idle.
var errStalled = errors.New("the upstream's body stood still for too long")

// conn bounds how long a write may stand still: an upstream that stops reading
// would otherwise hold an upload for ever over HTTP/1.1. It re-arms the deadline
// only when less than idle is left of it, once per quarter of idle at most, since
// setting one costs more than a small write's share of everything else.
//
// Reading has no deadline here. On HTTP/2 many streams share the connection, and
// on HTTP/1.1 net/http reads it between requests too; stallWatch guards each body.
type conn struct {
	net.Conn
	idle  time.Duration
	armed atomic.Int64 // when the deadline is, in Unix nanoseconds; 0 is none
}

// mostWrite is the largest piece that has idle to itself: a slow link that takes
// less than this within idle is taken for standing still.
const mostWrite = 32 << 10

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		// The real clock: it is the kernel's deadline.
		if now := time.Now(); c.armed.Load()-now.UnixNano() < int64(c.idle) {
			deadline := now.Add(c.idle + c.idle/4)
			if err := c.Conn.SetWriteDeadline(deadline); err != nil {
				return n, err
			}
			c.armed.Store(deadline.UnixNano())
		}
		m, err := c.Conn.Write(p[:min(len(p), mostWrite)])
		n, p = n+m, p[m:]
		if err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// SetWriteDeadline and SetDeadline are for TLS and HTTP/2, which set deadlines of
// their own and take them away again: the next write then needs ours anew.

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.Conn.SetDeadline(t)
}

// stallWatch looks after the bodies of one upstream's answers and closes those in
// which a Read has been waiting for idle. One timer, which runs only while there
// are bodies, looks at all of them four times per idle; a body costs a place in a
// list, and a Read two additions, where a timer or a deadline for each would cost
// more than the rest of a small answer. A body that nobody reads is not the
// upstream's fault and never cut.
type stallWatch struct {
	tick time.Duration

	mu      sync.Mutex // for moments, never over a Read
	first   *watchedBody
	ticking bool
}

const ticksPerIdle = 4

func newStallWatch(idle time.Duration) *stallWatch {
	return &stallWatch{tick: max(idle/ticksPerIdle, time.Millisecond)}
}

// body returns a body that is watched until it ends or is closed.
func (w *stallWatch) body(inner io.ReadCloser) *watchedBody {
	b := &watchedBody{inner: inner, watch: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.next = w.first; b.next != nil {
		b.next.previous = b
	}
	w.first, b.listed = b, true
	if !w.ticking {
		w.ticking = true
		time.AfterFunc(w.tick, w.look)
	}
	return b
}

func (w *stallWatch) remove(b *watchedBody) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !b.listed {
		return
	}
	b.listed = false
	if b.previous != nil {
		b.previous.next = b.next
	} else {
		w.first = b.next
	}
	if b.next != nil {
		b.next.previous = b.previous
	}
	b.next, b.previous = nil, nil
}

func (w *stallWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.ticking = false
		return
	}
	for b := w.first; b != nil; b = b.next {
		if now := b.steps.Load(); now%2 == 0 || now != b.seen {
			b.seen, b.still = now, 0
			continue
		}
		if b.still++; b.still == ticksPerIdle {
			b.stalled.Store(true)
			// Closing makes the waiting Read return; it can take a moment.
			go b.inner.Close()
		}
	}
	time.AfterFunc(w.tick, w.look)
}

// watchedBody is the body of an answer. Its errors, other than io.EOF, are
// bodyErrors.
type watchedBody struct {
	inner io.ReadCloser
	watch *stallWatch
	// steps counts the beginnings and the ends of Reads: odd during one.
	steps   atomic.Uint64
	stalled atomic.Bool

	// Guarded by watch.mu.
	next, previous *watchedBody
	listed         bool
	seen           uint64
	still          int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.steps.Add(1)
	n, err := b.inner.Read(p)
	b.steps.Add(1)
	if err == nil {
		return n, nil
	}
	b.watch.remove(b)
	switch {
	case err == io.EOF:
	case b.stalled.Load():
		err = &bodyError{errStalled}
	default:
		err = &bodyError{err}
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.remove(b)
	return b.inner.Close()
}

// bodyError is an error after the answer's header: the answer is incomplete.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the upstream's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }
