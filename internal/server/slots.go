package server

import (
	"net"
	"sync"
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

// hold gives the slot back when the connection is closed.
func (s slots) hold(c net.Conn) net.Conn {
	if s == nil {
		return c
	}
	return &slotted{Conn: c, slots: s}
}

type slotted struct {
	net.Conn
	slots slots
	once  sync.Once
}

// NetConn gives the connection itself, for whoever has to set its options.
func (c *slotted) NetConn() net.Conn { return c.Conn }

func (c *slotted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.slots.give)
	return err
}
