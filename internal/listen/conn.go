package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/wire"
)

// conn is one connection of a caller while it speaks HTTP/1. One goroutine serves it.
type conn struct {
	s          *Server
	generation *generation
	socket     *socket
	// nc is the socket, or TLS on it.
	nc     net.Conn
	tls    *tls.ConnectionState
	r      *wire.Reader
	base   context.Context
	remote string
	// handed reports whether the connection is HTTP/2's now.
	handed atomic.Bool

	// current is the request that a handler works on; seen is what watchCallers found
	// there before.
	current atomic.Pointer[exchange]
	seen    *exchange

	// memory has what is held for heads that are longer than the first buffer, until their
	// request has ended; grown reports whether there is something.
	memory memory.Account
	grown  bool

	// reading says which limit of time holds for reading.
	reading reading
	readBy  wire.Deadline
	// upload is the pace of the body that is read.
	upload pace
	// taken reports whether the body is taken back from somebody who reads it.
	taken atomic.Bool

	mu sync.Mutex
	// waiting reports whether nothing of a request has come; closing whether the connection is
	// to be closed then; lingers since when it waits for the end of a body.
	waiting, closing bool
	lingers          time.Time
}

// reading is what is read from a connection.
type reading int

const (
	readFirst reading = iota // the first request of the connection: its whole head has one limit
	readNext                 // the beginning of another request
	readHead                 // the rest of a head, which has one limit from here
	readBegun                // the same, or what nobody reads of a body: the limit is set
	readBody                 // a body, whose caller may pause between bytes
)

// unknown is for a deadline that was set by somebody else; it is over in any case.
var unknown = time.Unix(1, 0)

// newConn makes the connection of nc, whose generation is to be set when it has a place.
func newConn(s *Server, nc net.Conn) *conn {
	conn := &conn{s: s, remote: nc.RemoteAddr().String()}
	sock := &socket{Conn: nc, owner: conn}
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		sock.source = tcp.AddrPort().Addr().Unmap()
	}
	sock.becomesIdle()
	conn.socket, conn.nc = sock, sock
	conn.r = wire.NewReader(conn, func(n int) bool { // for a head, beside what it has
		conn.grown = true
		return conn.memory.Hold(int64(n))
	})
	conn.memory.Open(s.o.Memory, memory.PartyOf("", sock.source))
	return conn
}

// serve serves the connection to its end.
func (c *conn) serve() {
	defer c.s.forget(c)
	defer c.memory.Close()
	defer func() {
		if fault := recover(); fault != nil {
			_ = c.s.panicked(fault) // nobody can be told the id
			c.cut()
		}
		if !c.handed.Load() {
			_ = c.nc.Close() // an error would be that it is closed
			c.r.Discard()
		}
	}()
	if c.generation.tls != nil && !c.handshake() {
		return
	}
	c.base = c.s.connContext(c.generation.Listener, c.nc)
	for c.next() {
	}
}

// next serves one request. It is false if the connection is not to be used any more.
func (c *conn) next() bool {
	if c.r.Buffered() == 0 && !c.await() {
		return false
	}
	if c.reading == readNext {
		c.reading = readHead
	}
	limit := int(c.generation.limits.MaxHeaderBytes)
	start, header, err := c.r.Head(wire.Limits{Bytes: limit, Line: limit, Fields: mostFields, Request: true})
	var syntax *wire.SyntaxError
	switch {
	case errors.As(err, &syntax):
		status := http.StatusBadRequest
		if err == wire.ErrStartSize {
			status = http.StatusRequestURITooLong
		} else if syntax.TooLarge() {
			status = http.StatusRequestHeaderFieldsTooLarge
		}
		c.refuse(unreadable(status, err.Error()), false)
		return false
	case err == wire.ErrNoRoom:
		c.refuse(memory.Full(), false)
		return false
	case err != nil:
		return false // the caller has gone or is too slow
	case start == prefaceLine && len(header) == 0 && c.tls == nil && c.reading == readFirst:
		c.http2()
		return false
	}
	e, p := c.request(start, header)
	if p != nil {
		c.refuse(p, strings.HasPrefix(start, "HEAD "))
		return false
	}
	c.current.Store(e)
	if c.socket.over.Load() { // it was cut before there was a request to cancel
		return false
	}
	if c.socket.idleSince.Swap(0) == evicted {
		e.closes = true // it was to be closed just then: the answer does it
	}
	c.upload, c.socket.pace = paceOf(&c.generation.limits), paceOf(&c.generation.limits)
	goesOn := e.serve()
	c.current.Store(nil)
	c.socket.becomesIdle()
	e.ctx.cancel()
	if c.grown {
		c.grown = false
		c.memory.Give(math.MaxInt64)
	}
	c.reading = readNext
	return goesOn
}

// mostFields is how many fields a request may have.
const mostFields = 1000

// await waits for the first byte of a request.
func (c *conn) await() bool {
	c.r.Release()
	limit := c.generation.limits.IdleTimeout
	if c.reading == readFirst {
		limit = c.generation.limits.ReadHeaderTimeout
	}
	open := c.beginWaiting(limit)
	var err error = os.ErrDeadlineExceeded
	if open {
		err = c.r.Fill()
		c.endWaiting()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err == nil
	}
	// The time is over, or the connection is to be closed. A request that came in just
	// this moment is served: closed under it, the connection would lose it.
	if pending, _, gone := c.socket.state(); !pending || gone {
		return false
	}
	c.reading = readHead
	return c.r.Fill() == nil
}

// beginWaiting sets the limit for what comes next. It is false if the connection is to be
// closed instead.
func (c *conn) beginWaiting(limit time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.waiting = true
	return c.arm(limit) == nil
}

func (c *conn) endWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	if c.closing {
		c.readBy.Passed()
	}
}

// arm has whoever reads wait for d.
func (c *conn) arm(d time.Duration) error {
	return c.readBy.Arm(time.Now(), d, c.socket.SetReadDeadline)
}

// Read is what the wire.Reader reads by: from the connection, within the limit that holds.
func (c *conn) Read(p []byte) (int, error) {
	switch c.reading {
	case readHead:
		c.reading = readBegun
		c.readBy.Passed() // anew for each head
		if err := c.arm(c.generation.limits.ReadHeaderTimeout); err != nil {
			return 0, err
		}
	case readBody:
		if err := c.arm(c.upload.limit()); err != nil {
			return 0, err
		}
		if c.taken.Load() {
			return 0, os.ErrDeadlineExceeded
		}
		began := time.Now()
		n, err := c.nc.Read(p)
		c.upload.note(time.Since(began), n)
		return n, err
	case readFirst, readNext, readBegun:
	}
	return c.nc.Read(p)
}

// closeWhenIdle closes the connection when it waits for a request, and has the answer that
// is under way close it otherwise.
func (c *conn) closeWhenIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	switch {
	case c.waiting:
		_ = c.socket.SetReadDeadline(unknown) // it ends the wait
	case !c.lingers.IsZero():
		_ = c.socket.SetReadDeadline(c.lingers.Add(lingerShort))
	}
}

// evict closes the connection for another one, unless a request has come.
func (c *conn) evict() {
	if c.handed.Load() {
		_ = c.socket.Close() // an error would be that it is closed
		return
	}
	c.mu.Lock()
	waiting := c.waiting
	c.mu.Unlock()
	c.closeWhenIdle()
	if !waiting && c.current.Load() == nil {
		c.socket.reset()
	}
}

// isClosing reports whether no further request is to be served.
func (c *conn) isClosing() bool {
	if c.s.leaving.Load() || c.generation.retired.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// cut ends the connection, and what a handler does for it, with a reset.
func (c *conn) cut() {
	c.socket.reset() // first: nothing that the handler does once it is cancelled is an answer
	if e := c.current.Load(); e != nil {
		e.ctx.cancel()
	}
}
