package listen

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebox-gateway/internal/descriptors"
)

// accept takes the connections of a socket until b.stop is closed.
func (s *Server) accept(b *bound) {
	const pause = 50 * time.Millisecond // when there are no file descriptors left
	defer close(b.stopped)
	defer b.socket.Close()
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
			select {
			case <-time.After(pause):
				continue
			case <-b.stop:
				return
			}
		}
		c := newConn(s, nc)
		short := s.o.Reserve && descriptors.Last(nc)
		if short {
			s.isShort()
		}
		if short || !s.slots.try(c.socket) {
			// The place is waited for with the connection in hand: a listener that only
			// waits for callers must not keep a place from the others.
			switch s.place(c, b, short) {
			case again:
				continue // it waits aside, or was closed
			case stopped:
				_ = nc.Close()
				return
			case placed:
			}
		}
		s.start(c, b, false)
		s.working.Go(c.serve)
	}
}

// isWaiting tells that a connection waits to be accepted.
func isWaiting(l listener) (waiting bool) {
	control(l, func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		waiting = err == nil && n > 0
	})
	return waiting
}

// place waits for a place for a connection that found none. again says that the next one is
// to be accepted meanwhile: this one waits aside, or was closed.
func (s *Server) place(c *conn, b *bound, short bool) waited {
	if short || s.capped.Load() {
		s.waiting.Add(1)
		defer func() {
			s.shortAt.Store(time.Now().UnixNano())
			s.waiting.Add(-1)
		}()
	}
	for {
		if !short {
			switch must, may := s.slots.stepAside(c.socket); {
			case may:
				s.working.Go(func() {
					got := s.slots.wait(c.socket, false, true, b.stop)
					s.slots.leaveAside()
					if got != placed || !s.start(c, b, true) {
						_ = c.socket.Close() // it came too late
						return
					}
					c.serve()
				})
				return again
			case must:
				_ = c.socket.Close()
				s.turnedAt.Store(time.Now().UnixNano())
				if s.o.TurnedAway != nil {
					s.o.TurnedAway()
				}
				return again
			}
		}
		if got := s.slots.wait(c.socket, short, false, b.stop); got != again {
			return got
		}
		short = false
	}
}

// start makes a connection that has a place one of the server's. It is false for one that
// waited aside until nobody would end it any more: its listener has been taken away.
func (s *Server) start(c *conn, b *bound, aside bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if aside && !slices.Contains(s.bound, b) {
		return false
	}
	c.generation = b.generation.Load()
	c.socket.pace = paceOf(&c.generation.limits)
	s.conns[c] = struct{}{}
	return true
}

// isShort notes that the process has used up its file descriptors, and has one given back:
// that of the connection that has been idle longest.
func (s *Server) isShort() {
	s.shortAt.Store(time.Now().UnixNano())
	s.slots.makeRoom()
}

// Short tells that file descriptors are short, or were within the last ten seconds, so that
// callers have to wait.
func (s *Server) Short() bool {
	const lately = 10 * time.Second
	return s.waiting.Load() > 0 || time.Since(time.Unix(0, s.shortAt.Load())) < lately
}

// TurnedAway reports whether a connection was closed unanswered within the last minute, since
// there was no place for it.
func (s *Server) TurnedAway() bool { return time.Since(time.Unix(0, s.turnedAt.Load())) < time.Minute }
