package server

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// slots bound the connections that are open at once, over several listeners. A
// connection that finds none waits in the kernel's backlog. Nil slots are unlimited.
type slots chan struct{}

func newSlots(n int) slots {
	if n <= 0 {
		return nil
	}
	return make(slots, n)
}

// take waits for a slot; false if done was closed before there was one.
func (s slots) take(done <-chan struct{}) bool {
	if s == nil {
		return true
	}
	select {
	case s <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

func (s slots) give() {
	if s != nil {
		<-s
	}
}

// accepted is a connection that came in. It gives its slot back when it is closed,
// and it ends a caller that takes nothing of its answer for the patience; one that
// takes a little at a time is never cut, however long it needs.
//
// The other direction is in the hands of the handlers: between two requests, and
// while a request waits for its upstream, the server reads as well, only to learn
// that the caller has gone.
type accepted struct {
	net.Conn
	slots    slots
	patience time.Duration // 0 waits for ever
	log      *slog.Logger
	once     sync.Once
	// stage says whose words are written.
	stage atomic.Uint32
}

// The stages of a connection.
const (
	// awaiting is before the next request was read: whatever is written is net/http's.
	awaiting uint32 = iota
	// answering is from when a handler was called to when its answer was written.
	answering
	// multiplexed is a connection of HTTP/2 for good.
	multiplexed
)

func (c *accepted) Write(b []byte) (int, error) {
	if c.stage.Load() == awaiting {
		if status, what, ok := refusal(b); ok {
			return len(b), c.refuse(status, what)
		}
	}
	return c.send(b)
}

// begin is told that a handler is called on the connection of r.
func begin(r *http.Request) {
	c := connOf(r.Context()).accepted
	switch {
	case c == nil:
	case r.ProtoMajor == 1:
		c.stage.Store(answering)
	default:
		c.stage.Store(multiplexed)
	}
}

// idle is http.Server.ConnState: it is told that an answer was written to its end.
func idle(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*accepted); ok && state == http.StateIdle {
		c.stage.CompareAndSwap(answering, awaiting)
	}
}

func (c *accepted) send(b []byte) (n int, err error) {
	if c.patience == 0 {
		return c.Conn.Write(b)
	}
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			return n, err
		}
		took, err := c.Conn.Write(b[n:])
		n += took
		if err == nil || took == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// NetConn gives the connection itself, for whoever has to set its options.
func (c *accepted) NetConn() net.Conn { return c.Conn }

func (c *accepted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.slots.give)
	return err
}
