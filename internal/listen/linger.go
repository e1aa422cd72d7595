package listen

import (
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"
)

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
func (g *generation) stillness() time.Duration {
	if still := g.limits.BodyIdleTimeout; still > 0 {
		return min(still, lingerIdle)
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
	for start := time.Now(); ; {
		left, err := c.limitLinger(start)
		if err != nil || left <= 0 {
			return
		}
		// Beneath TLS: nobody wants to know what it says.
		if _, err = c.socket.Read(buf[:]); errors.Is(err, os.ErrDeadlineExceeded) {
			// What came in time is there although the deadline is over, if the process itself stood still.
			if pending, _, gone := c.socket.state(); pending && !gone {
				continue
			}
		}
		if err != nil {
			return
		}
	}
}

// limitLinger sets the deadline for the next read of a connection that lingers since start, and
// gives what is left of the whole time.
func (c *conn) limitLinger(start time.Time) (left time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := lingerTotal
	if c.closing {
		total = lingerShort
	}
	c.lingers = start
	now := time.Now()
	left = start.Add(total).Sub(now)
	return left, c.socket.SetReadDeadline(now.Add(min(c.generation.stillness(), left)))
}

// linger reads and throws away what still comes of a body when its answer was written: as
// conn.linger does, and within its bounds. Of a stream that ends sooner HTTP/2 has the caller
// told, without an error (RFC 9113, section 8.1), that nobody reads on. Many take that for the
// failure of the request, or wait for room to send the rest.
func (h *streams) linger(b *streamBody) {
	defer h.s.lingering.Add(-1)
	if h.s.lingering.Add(1) > mostLingering {
		return
	}
	buf := waste.Get().(*[32 << 10]byte)
	defer waste.Put(buf)
	still := h.c.stillness()
	if !b.begun.Load() {
		still = lingerShort // the caller may wait for a 100, which it does not get behind an answer
	}
	for start := time.Now(); ; still = h.c.stillness() {
		total := lingerTotal
		if h.leaving() {
			total = lingerShort
		}
		if left := total - time.Since(start); left <= 0 || b.skip(buf[:], min(still, left)) != nil {
			return
		}
	}
}
