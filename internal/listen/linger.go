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

// bodyIdle is how long a caller may send nothing of what nobody wants.
func (g *generation) bodyIdle() time.Duration {
	if still := g.limits.BodyIdleTimeout; still > 0 {
		return min(still, lingerIdle)
	}
	return lingerIdle
}

var discards = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// linger calls read, with the time that is left, to throw away what comes.
func (s *Server) linger(ends func() bool, read func(buf []byte, left time.Duration) error) {
	defer s.lingering.Add(-1)
	if s.lingering.Add(1) > mostLingering {
		return
	}
	buf := discards.Get().(*[32 << 10]byte)
	defer discards.Put(buf)
	for start := time.Now(); ; {
		total := lingerTotal
		if ends() {
			total = lingerShort
		}
		if left := total - time.Since(start); left <= 0 || read(buf[:], left) != nil {
			return
		}
	}
}

// linger lets the caller read the answer that was written: it says that nothing more
// comes, and then reads and throws away what still comes from the caller. Closed with
// bytes unread, the kernel would reset the connection, and a caller that sends its whole
// request before it reads would find the reset instead of the answer (RFC 9112,
// section 9.6).
func (c *conn) linger() {
	if nc, ok := c.nc.(*tls.Conn); ok {
		_ = nc.CloseWrite() // the next one tells of an error
	}
	if c.socket.closeWrite() != nil {
		return
	}
	c.socket.becomesIdle() // it may be closed for another one
	c.r.Discard()
	c.mu.Lock()
	c.lingers = time.Now()
	c.mu.Unlock()
	ends := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.closing
	}
	c.s.linger(ends, func(buf []byte, left time.Duration) error {
		if err := c.socket.SetReadDeadline(time.Now().Add(min(c.generation.bodyIdle(), left))); err != nil {
			return err
		}
		// Beneath TLS: it is thrown away, so there is no need to decrypt it.
		_, err := c.socket.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// What came in time is there although the deadline is over, if the process itself stood still.
			if pending, _, gone := c.socket.state(); pending && !gone {
				return nil
			}
		}
		return err
	})
}

// linger reads and throws away what still comes of a body when its answer was written: as
// conn.linger does, and within its bounds. Of a stream that ends sooner HTTP/2 has the caller
// told, without an error (RFC 9113, section 8.1), that nobody reads on. Many take that for the
// failure of the request, or wait for room to send the rest.
func (h *streams) linger(b *streamBody) {
	still := h.c.bodyIdle()
	if !b.begun.Load() {
		still = lingerShort // the caller may wait for a 100, which it does not get behind an answer
	}
	h.s.linger(h.leaving, func(buf []byte, left time.Duration) error {
		err := b.skip(buf, min(still, left))
		still = h.c.bodyIdle()
		return err
	})
}
