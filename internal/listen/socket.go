package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"ebox-gateway/internal/wire"
)

// socket is a connection that came in, beneath TLS. It resets the connection of a caller that
// takes what is written more slowly than its pace: HTTP/2 would keep one that can be written
// to no more until something comes from it.
type socket struct {
	net.Conn
	source netip.Addr
	owner  *conn
	// over reports whether it is closed, or just about to be.
	over atomic.Bool
	// idleSince is since when there has been no request, in nanoseconds since 1970; 0 while
	// there is one, evicted once the socket was chosen to be closed for another.
	idleSince atomic.Int64
	// pace is how long writers wait. Only they, who take turns, know it and their deadline.
	pace    pace
	writeBy wire.Deadline
}

const evicted = -1

// Write implements net.Conn.
func (s *socket) Write(b []byte) (n int, err error) {
	for {
		began, err := s.arm()
		if err != nil {
			return n, err
		}
		took, err := s.Conn.Write(b[n:])
		n += took
		if !s.goesOn(began, took, err) {
			return n, err
		}
	}
}

// writeBuffers writes several buffers, in one system call where that is possible, and
// leaves b empty or not, as net.Buffers.WriteTo does.
func (s *socket) writeBuffers(b *net.Buffers) error {
	for {
		began, err := s.arm()
		if err != nil {
			return err
		}
		took, err := b.WriteTo(s.Conn)
		if !s.goesOn(began, int(took), err) {
			return err
		}
	}
}

// arm sets the deadline for the next write, and gives the time.
func (s *socket) arm() (now time.Time, err error) {
	now = time.Now()
	return now, s.writeBy.Arm(now, s.pace.limit(), s.SetWriteDeadline)
}

// goesOn tells, of a write that took n bytes, whether the rest is to be tried again: the
// deadline is over, and the caller has not been too slow. If it has, the connection is reset.
func (s *socket) goesOn(began time.Time, n int, err error) bool {
	s.pace.note(time.Since(began), n)
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if n > 0 && !s.pace.over() {
		return true
	}
	s.reset()
	return false
}

// becomesIdle notes that there is no request from now on.
func (s *socket) becomesIdle() { s.idleSince.Store(time.Now().UnixNano()) }

// socketOf is the socket beneath a connection of an http.Server, nil if it is another's.
func socketOf(nc net.Conn) *socket {
	for {
		switch c := nc.(type) {
		case *socket:
			return c
		case *replay:
			nc = c.Conn
		case *tls.Conn:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// Close implements net.Conn.
func (s *socket) Close() error {
	s.over.Store(true)
	err := s.Conn.Close()
	s.owner.s.slots.give(s)
	return err
}

// reset closes the connection so that the caller sees an error, whatever it has read.
func (s *socket) reset() {
	if tcp, ok := s.Conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // a connection that is gone is as good
	}
	_ = s.Close() // an error would be that it is closed
}

// closeWrite closes the sending side.
func (s *socket) closeWrite() error {
	if tcp, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// control runs f with the file descriptor of c; it does nothing where there is none.
func control(c any, f func(fd uintptr)) {
	if c, ok := c.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(f) // a closed connection has none
		}
	}
}
