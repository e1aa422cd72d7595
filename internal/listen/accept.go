package listen

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebox-gateway/internal/descriptors"
)

// accept takes the connections of a socket until b.stop is closed.
func (s *Server) accept(b *bound) {
	defer func() {
		_ = b.socket.Close()
		b.aside.Wait()
		close(b.stopped)
	}()
	s.working.Go(func() {
		<-b.stop
		_ = b.socket.SetDeadline(unknown) // it ends the wait for a connection
	})
	for {
		select {
		case <-b.stop:
			// Closing the socket resets the connections that the kernel has accepted already.
			// So they are taken from it first.
			if !isWaiting(b.socket) {
				return
			}
			_ = b.socket.SetDeadline(time.Time{}) // one that is there is not waited for
		default:
		}
		nc, err := b.socket.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				s.isShort()
			}
			s.o.Log.Warn("a connection could not be accepted", "cause", err.Error())
			if !b.pause() {
				return
			}
			continue
		}
		c := newConn(s, nc)
		for short := s.o.Reserve && descriptors.Last(nc); short; short = descriptors.Short(nc) {
			if s.isShort(); !b.pause() { // upstreams and files give descriptors back without a word
				break
			}
		}
		if s.place(c.socket, b) {
			s.start(c, b)
			s.working.Go(c.serve)
		} else {
			s.setAside(c, b)
		}
	}
}

// pause waits for a moment; it is false if b.stop was closed.
func (b *bound) pause() bool {
	select {
	case <-time.After(lookAgain):
		return true
	case <-b.stop:
		return false
	}
}

// isWaiting reports whether a connection waits to be accepted.
func isWaiting(l listener) (waiting bool) {
	control(l, func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		waiting = err == nil && n > 0
	})
	return waiting
}

// place waits for a place with the connection in hand: a listener that only waits for callers
// must not keep a place from the others. It is false if those behind must not wait for it.
func (s *Server) place(c *socket, b *bound) bool {
	if s.slots.try(c) {
		return true
	}
	if s.capped.Load() {
		s.waiting.Add(1)
		defer func() {
			s.shortAt.Store(time.Now().UnixNano())
			s.waiting.Add(-1)
		}()
	}
	return s.slots.wait(c, false, b.stop)
}

// setAside has a connection wait while others are accepted. It is closed if too many do, or if the listener goes.
func (s *Server) setAside(c *conn, b *bound) {
	if s.aside.Add(1) > s.slots.mostAside() {
		s.aside.Add(-1)
		s.turnedAt.Store(time.Now().UnixNano())
		if s.o.TurnedAway != nil {
			s.o.TurnedAway()
		}
		_ = c.socket.Close()
		return
	}
	b.aside.Add(1)
	s.working.Go(func() {
		got := s.slots.wait(c.socket, true, b.stop)
		if got {
			s.start(c, b)
		}
		s.aside.Add(-1)
		b.aside.Done()
		if got {
			c.serve()
		} else {
			_ = c.socket.Close()
		}
	})
}

// start makes a connection that has a place one of the server's.
func (s *Server) start(c *conn, b *bound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.generation = b.generation.Load()
	c.socket.pace = paceOf(&c.generation.limits)
	s.conns[c] = struct{}{}
}

// isShort notes that the process has used up its file descriptors, and has one given back:
// that of the connection that has been idle longest.
func (s *Server) isShort() {
	s.shortAt.Store(time.Now().UnixNano())
	s.slots.makeRoom()
}

// Short reports whether file descriptors are short, or were within the last ten seconds, so that
// callers have to wait.
func (s *Server) Short() bool {
	const lately = 10 * time.Second
	return s.waiting.Load() > 0 || time.Since(time.Unix(0, s.shortAt.Load())) < lately
}

// TurnedAway reports whether a connection was closed unanswered within the last minute, since
// there was no place for it.
func (s *Server) TurnedAway() bool { return time.Since(time.Unix(0, s.turnedAt.Load())) < time.Minute }
