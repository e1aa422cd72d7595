package server

import (
	"net"
	"sync"
)

// slots bound the connections that are open at once, over several listeners. A
// connection that finds none waits in the kernel's backlog.
type slots chan struct{}

func newSlots(n int) slots {
	if n <= 0 {
		return nil
	}
	return make(slots, n)
}

// limit makes l accept only while there is a slot.
func (s slots) limit(l net.Listener) net.Listener {
	if s == nil {
		return l
	}
	return &limited{Listener: l, slots: s, closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  slots
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotted{Conn: c, slots: l.slots}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slotted gives its slot back when it is closed.
type slotted struct {
	net.Conn
	slots slots
	once  sync.Once
}

// NetConn gives the connection itself, for whoever has to set its options.
func (c *slotted) NetConn() net.Conn { return c.Conn }

func (c *slotted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
