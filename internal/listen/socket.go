package listen

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a connection that came in, beneath TLS. It ends a caller that takes nothing
// of its answer for the idle time; one that takes a little at a time is never cut, however
// long it needs.
type socket struct {
	net.Conn
	idle   time.Duration // 0 is for ever
	closed func()        // called once, when it is closed
	once   sync.Once
	// until is the deadline for writing that is set; only writers, which take turns,
	// know it.
	until time.Time
	// asSet tells that a handler has set the deadline for writing by itself.
	asSet atomic.Bool
}

// slack is by how much of itself a deadline may be later than it has to be, so that it
// need not be set for every read and write.
const slack = 8

// Write implements net.Conn.
func (s *socket) Write(b []byte) (n int, err error) {
	for {
		if err := s.arm(); err != nil {
			return n, err
		}
		took, err := s.Conn.Write(b[n:])
		n += took
		if err == nil || took == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || s.asSet.Load() {
			return n, err
		}
	}
}

// writeBuffers writes several buffers, in one system call where that is possible, and
// leaves b empty or not, as net.Buffers.WriteTo does.
func (s *socket) writeBuffers(b *net.Buffers) error {
	for {
		if err := s.arm(); err != nil {
			return err
		}
		took, err := b.WriteTo(s.Conn)
		if err == nil || took == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || s.asSet.Load() {
			return err
		}
	}
}

func (s *socket) arm() error {
	if s.idle <= 0 || s.asSet.Load() {
		return nil
	}
	now := time.Now()
	if s.until.Sub(now) >= s.idle {
		return nil
	}
	s.until = now.Add(s.idle + s.idle/slack)
	return s.SetWriteDeadline(s.until)
}

// Close implements net.Conn.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.closed)
	return err
}

// reset closes the connection so that the caller sees an error, whatever it has read.
func (s *socket) reset() {
	if tcp, ok := s.Conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // a connection that is gone is as good
	}
	_ = s.Close()
}

// closeWrite tells the caller that nothing more comes.
func (s *socket) closeWrite() error {
	if tcp, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// control runs f with the connection's file descriptor; it does nothing where there is none.
func (s *socket) control(f func(fd uintptr)) {
	if c, ok := s.Conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(f) // a closed connection has none
		}
	}
}
