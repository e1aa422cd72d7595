package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/problem"
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
	// handed tells that the connection is HTTP/2's now.
	handed atomic.Bool

	// current is the request that a handler works on; seen is what watchCallers found
	// there before.
	current atomic.Pointer[exchange]
	seen    *exchange

	// reading says which limit of time holds for reading; until is the deadline that is
	// set, as far as it is known.
	reading reading
	until   time.Time
	// upload is the pace of the body that is read.
	upload pace
	// taken tells that the body is taken back from somebody who reads it.
	taken atomic.Bool

	mu sync.Mutex
	// waiting tells that nothing of a request has come; closing that the connection is
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
	sock.closed = func() { s.slots.give(sock) }
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		sock.source = tcp.AddrPort().Addr().Unmap()
	}
	sock.rests()
	conn.socket, conn.nc = sock, sock
	conn.r = wire.NewReader(conn)
	return conn
}

// serve serves the connection to its end.
func (c *conn) serve() {
	defer c.s.forget(c)
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

// handshake begins TLS. It is false if the connection is not to be served as HTTP/1.
func (c *conn) handshake() bool {
	nc := tls.Server(c.socket, c.generation.tls)
	if !c.beginWaiting(c.generation.limits.ReadHeaderTimeout) {
		return false
	}
	err := nc.Handshake()
	c.endWaiting()
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS) && looksLikeHTTP(noTLS.RecordHeader):
		c.refuse(problem.BadRequest("This listener speaks TLS, and the request came without it. Use https in the URL; the "+
			"connection is closed."), false)
		return false
	case err != nil:
		c.s.o.Log.Debug("a TLS handshake failed", "source", c.remote)
		return false
	}
	c.nc = nc
	state := nc.ConnectionState()
	c.tls = &state
	if state.NegotiatedProtocol == "h2" {
		c.handOver(nc)
		return false
	}
	return true
}

// looksLikeHTTP tells that the first bytes of a connection are those of a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

func (c *conn) handOver(nc net.Conn) {
	c.handed.Store(true)
	_ = c.socket.SetReadDeadline(time.Time{}) // a connection that is gone shows when it is read
	c.socket.until = time.Time{}              // net/http begins with deadlines of its own
	c.generation.http2.serve(c.s, nc)
}

// The beginning of an HTTP/2 connection (RFC 9113, section 3.4) is a request line and what
// stands after an empty line.
const (
	prefaceLine = "PRI * HTTP/2.0"
	prefaceRest = "SM\r\n\r\n"
)

// replay is a connection of which something has been read already.
type replay struct {
	net.Conn
	ahead []byte
}

func (c *replay) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// http2 takes the rest of the preface and hands the connection over.
func (c *conn) http2() {
	rest := make([]byte, len(prefaceRest))
	for n := 0; n < len(rest); {
		m, err := c.r.Read(rest[n:])
		if n += m; err != nil {
			return
		}
	}
	if string(rest) != prefaceRest {
		c.refuse(unreadable(http.StatusBadRequest, "the preface of HTTP/2 is malformed"), false)
		return
	}
	ahead := []byte(prefaceLine + "\r\n\r\n" + prefaceRest)
	if n := c.r.Buffered(); n > 0 {
		more := make([]byte, n)
		_, _ = io.ReadFull(c.r, more) // it is there
		ahead = append(ahead, more...)
	}
	c.r.Discard()
	c.handOver(&replay{c.socket, ahead})
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
		c.refuse(unreadableHead(syntax), false)
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
	if c.socket.idleSince.Swap(0) == 0 { // it was to be closed just then: the answer closes it
		e.closes = true
		c.s.slots.stays(c.socket)
	}
	c.upload, c.socket.pace = paceOf(&c.generation.limits), paceOf(&c.generation.limits)
	goesOn := e.serve()
	c.current.Store(nil)
	c.socket.rests()
	e.ctx.cancel()
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
		c.until = unknown
	}
}

// arm makes the deadline for reading one that is at least d away, and little more.
func (c *conn) arm(d time.Duration) error {
	if d <= 0 {
		if c.until.IsZero() {
			return nil
		}
		c.until = time.Time{}
		return c.socket.SetReadDeadline(c.until)
	}
	now := time.Now()
	if left := c.until.Sub(now); left >= d && left <= d+d/slack {
		return nil
	}
	c.until = now.Add(d + d/slack)
	return c.socket.SetReadDeadline(c.until)
}

// Read is what the wire.Reader reads by: from the connection, within the limit that holds.
func (c *conn) Read(p []byte) (int, error) {
	switch c.reading {
	case readHead:
		c.reading = readBegun
		c.until = time.Time{}
		if limit := c.generation.limits.ReadHeaderTimeout; limit > 0 {
			c.until = time.Now().Add(limit)
		}
		if err := c.socket.SetReadDeadline(c.until); err != nil {
			return 0, err
		}
	case readBody:
		if err := c.arm(c.upload.patience()); err != nil {
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

// expel closes the connection for another one, unless a request has come.
func (c *conn) expel() {
	c.mu.Lock()
	waiting := c.waiting
	c.mu.Unlock()
	c.closeWhenIdle()
	if !waiting && c.current.Load() == nil {
		c.socket.reset()
	}
}

// isClosing tells that no further request is to be served.
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

const (
	// lingerTotal and lingerIdle are how long a connection is read from whose caller
	// sends what nobody wants, in all and without a byte. lingerShort is what is left of
	// it when the server ends.
	lingerTotal = 30 * time.Second
	lingerIdle  = 5 * time.Second
	lingerShort = 500 * time.Millisecond
	// mostLingering is how many connections, and streams of HTTP/2, may be read from for that
	// at once.
	mostLingering = 500
)

// stillness is how long a caller may send nothing of what nobody wants.
func (l *Limits) stillness() time.Duration {
	if l.BodyIdleTimeout > 0 {
		return min(l.BodyIdleTimeout, lingerIdle)
	}
	return lingerIdle
}

var waste = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// linger lets the caller read the answer that was written: it says that nothing more
// comes, and then reads and throws away what still comes from the caller. Closed with
// bytes unread, the kernel would reset the connection, and a caller that sends its whole
// request before it reads would find the reset instead of the answer (RFC 9112,
// section 9.6).
func (c *conn) linger() {
	defer c.s.lingering.Add(-1)
	if c.s.lingering.Add(1) > mostLingering {
		return
	}
	if nc, ok := c.nc.(*tls.Conn); ok {
		_ = nc.CloseWrite() // the next one tells of an error
	}
	if c.socket.closeWrite() != nil {
		return
	}
	c.socket.rests() // it may be closed for another one
	c.r.Discard()
	buf := waste.Get().(*[32 << 10]byte)
	defer waste.Put(buf)
	start := time.Now()
	for {
		c.mu.Lock()
		total := lingerTotal
		if c.closing {
			total = lingerShort
		}
		c.lingers = start
		now := time.Now()
		err := c.socket.SetReadDeadline(now.Add(min(c.generation.limits.stillness(), start.Add(total).Sub(now))))
		c.mu.Unlock()
		if err != nil {
			return
		}
		// Beneath TLS: nobody wants to know what it says.
		if _, err := c.socket.Read(buf[:]); err != nil {
			return
		}
	}
}
