package wire

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// mostWrite is the largest piece that has idle to itself: a slow link that takes less than this within idle is taken
// for standing still.
const mostWrite = 32 << 10

// Deadline is the time for reading, or for writing, that is set on a connection, as far as it is known. It is set anew
// only when it has to be, so that it costs next to nothing; what stands still is cut at most an eighth later than its
// limit says.
type Deadline struct{ at time.Time }

// Passed makes it one that somebody else has set, and that is over.
func (l *Deadline) Passed() { l.at = past }

// Arm has it at least d away from now, and little more; d of 0 is for ever.
func (l *Deadline) Arm(now time.Time, d time.Duration, set func(time.Time) error) error {
	const slack = 8
	switch left := l.at.Sub(now); {
	case d <= 0 && l.at.IsZero(), d > 0 && left >= d && left <= d+d/slack:
		return nil
	case d <= 0:
		l.at = time.Time{}
	default:
		l.at = now.Add(d + d/slack)
	}
	return set(l.at)
}

// Socket is a connection on the network, below TLS if there is any. It bounds how long a Write may stand still, and a
// Read while paced.
type Socket struct {
	net.Conn
	idle time.Duration

	readBy, writeBy Deadline
	paced           bool // each Read has idle to itself; else the deadline of within stands
	cancelled       atomic.Bool
	sent            atomic.Int64 // bytes that the kernel took

	// For looking at what waits without waiting for it.
	raw     syscall.RawConn // nil: the connection cannot be looked at
	attempt func(fd uintptr)
	looking bool
	p       []byte
	n       int
	err     error
}

// NewSocket wraps a connection just dialled. idle is how long it may stand still within a body, in either direction.
func NewSocket(c net.Conn, idle time.Duration) *Socket {
	s := &Socket{Conn: c, idle: idle}
	if conn, ok := c.(syscall.Conn); ok {
		s.raw, _ = conn.SyscallConn()
	}
	s.attempt = func(fd uintptr) {
		for {
			if s.n, s.err = syscall.Read(int(fd), s.p); s.err != syscall.EINTR {
				return
			}
		}
	}
	return s
}

// cancel ends a Read and a Write under way, and all to come.
func (s *Socket) cancel() {
	s.cancelled.Store(true)
	s.Conn.SetDeadline(past)
}

// within gives the Reads to come limit, or a little more, together; 0 is for ever.
func (s *Socket) within(limit time.Duration) error {
	return s.uncancelled(s.readBy.Arm(time.Now(), limit, s.Conn.SetReadDeadline))
}

// uncancelled passes on what came of setting a deadline, unless cancel came before or at the same time.
func (s *Socket) uncancelled(err error) error {
	if s.cancelled.Load() {
		return s.Conn.SetDeadline(past)
	}
	return err
}

func (s *Socket) Read(p []byte) (int, error) {
	switch {
	case s.looking:
		return s.try(p)
	case s.paced:
		if err := s.within(s.idle); err != nil {
			return 0, err
		}
	}
	return s.Conn.Read(p)
}

func (s *Socket) Write(p []byte) (n int, err error) {
	for {
		if err := s.uncancelled(s.writeBy.Arm(time.Now(), s.idle, s.Conn.SetWriteDeadline)); err != nil {
			return n, err
		}
		m, err := s.Conn.Write(p[:min(len(p), mostWrite)])
		s.sent.Add(int64(m))
		n, p = n+m, p[m:]
		if err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// try reads what is there already. If nothing is, its error is one after which crypto/tls goes on where it was.
func (s *Socket) try(p []byte) (int, error) {
	s.p = p
	err := s.raw.Control(s.attempt)
	s.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == syscall.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case s.err != nil:
		return 0, s.err
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// TLS is tls.Client with eyes below it: on whether the connection ended without close_notify, and on whether it is
// in the middle of a record. under is a *Socket, or what TLS returned.
func TLS(under net.Conn, config *tls.Config) *tls.Conn {
	socket, ok := under.(*Socket)
	if !ok {
		socket = under.(*tls.Conn).NetConn().(*records).socket
	}
	return tls.Client(&records{Conn: under, socket: socket}, config)
}

// records follows the records of TLS (RFC 8446, section 5.1): five bytes, of which the last two are the length of
// what follows.
type records struct {
	net.Conn
	socket *Socket // at the bottom
	ended  bool    // the connection ended; crypto/tls says io.EOF for close_notify too
	header [5]byte
	have   int // bytes of the header
	left   int // bytes of the record
}

func (r *records) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if err == io.EOF {
		r.ended = true
	}
	for p = p[:n]; len(p) > 0; {
		if r.have < len(r.header) {
			m := copy(r.header[r.have:], p)
			r.have, p = r.have+m, p[m:]
			if r.have < len(r.header) {
				break
			}
			r.left = int(r.header[3])<<8 | int(r.header[4])
		}
		m := min(r.left, len(p))
		r.left, p = r.left-m, p[m:]
		if r.left == 0 {
			r.have = 0
		}
	}
	return n, err
}

// within reports whether a record has begun and not ended.
func (r *records) within() bool { return r.have > 0 }
