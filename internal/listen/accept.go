package listen

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"ebox-gateway/internal/descriptors"
)

// accept takes the connections of a socket.
func (s *Server) accept(b *bound) {
	const (
		pause = 50 * time.Millisecond // when there are no file descriptors left
		// Closing the socket resets the connections that the kernel has accepted already.
		// So they are taken from it first: until none has come for last, over at most looks
		// such times. One alone may be over before this goroutine has run, on a busy machine.
		last  = 5 * time.Millisecond
		looks = 20
	)
	end := func() bool { // accepting ends soon; false if that cannot be said to the socket
		l, ok := b.socket.(interface{ SetDeadline(time.Time) error })
		return ok && l.SetDeadline(time.Now().Add(last)) == nil
	}
	defer close(b.stopped)
	defer b.socket.Close()
	ended := make(chan struct{})
	defer close(ended)
	s.working.Go(func() { // ends the wait for a connection
		select {
		case <-b.stop:
		case <-ended:
		}
		if !end() {
			_ = b.socket.Close() // accepting fails, which says it
		}
	})
	taken, looked := true, 0
	for {
		nc, err := b.socket.Accept()
		if err != nil {
			select {
			case <-b.stop:
				if !taken || looked == looks || !end() {
					return
				}
				taken = false
				looked++
				continue
			default:
			}
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
		taken = true
		c := newConn(s, nc)
		short := s.o.Reserve && descriptors.Last(nc)
		if short {
			s.isShort()
		}
		if short || !s.slots.try(c.socket) {
			if s.capped.Load() {
				s.shortAt.Store(time.Now().UnixNano())
			}
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

// place waits for a place for a connection that found none. again says that the next one is
// to be accepted meanwhile: this one waits aside, or was closed.
func (s *Server) place(c *conn, b *bound, short bool) waited {
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

// Short tells that file descriptors were short within the last ten seconds, so that callers
// had to wait.
func (s *Server) Short() bool {
	const lately = 10 * time.Second
	return time.Since(time.Unix(0, s.shortAt.Load())) < lately
}
