package whole_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// detour is a way to an upstream that can be blocked below HTTP, where the
// simulator's own faults do not reach. It listens on the simulator's host, on a port
// of its own.
type detour struct {
	to   string      // host:port behind it
	addr string      // host:port
	tls  *tls.Config // nil for plain TCP

	listener net.Listener
	mu       sync.Mutex
	blocked  blockage
	stumbles int // connections that are still to be closed before they are one
	accepted int
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// blockage is what becomes of connections.
type blockage int

const (
	passing blockage = iota
	closing          // they are accepted and closed
	mute             // they are accepted, and nothing is ever read or answered
)

func newDetour(t *testing.T, to string, config *tls.Config) *detour {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &detour{to: to, addr: l.Addr().String(), tls: config, listener: l, conns: make(map[net.Conn]bool)}
	d.wg.Go(d.accept)
	t.Cleanup(func() {
		_ = l.Close()
		d.block(closing)
		d.wg.Wait()
	})
	return d
}

// block does to connections what b says, and ends those that there are.
func (d *detour) block(b blockage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked = b
	d.cut()
}

// stumble closes the next n connections before anything can be sent on them.
func (d *detour) stumble(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stumbles, d.accepted = n, 0
	d.cut()
}

// connections counts those since the last stumble.
func (d *detour) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}

func (d *detour) cut() {
	for c := range d.conns {
		_ = c.Close()
	}
	clear(d.conns)
}

func (d *detour) accept() {
	for {
		in, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() { d.serve(in) })
	}
}

// keep makes a connection one of those that are cut; false if it is too late.
func (d *detour) keep(c net.Conn, while blockage) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocked != while {
		_ = c.Close()
		return false
	}
	d.conns[c] = true
	return true
}

func (d *detour) serve(in net.Conn) {
	d.mu.Lock()
	b := d.blocked
	d.accepted++
	stumbles := d.stumbles > 0
	if stumbles {
		d.stumbles--
	}
	d.mu.Unlock()
	if stumbles || b == closing || !d.keep(in, b) {
		_ = in.Close()
		return
	}
	if b == passing {
		d.pass(in)
	}
}

func (d *detour) pass(in net.Conn) {
	defer in.Close()
	near := in
	if d.tls != nil {
		secure := tls.Server(in, d.tls)
		if secure.Handshake() != nil {
			return
		}
		near = secure
	}
	out, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer out.Close()
	if !d.keep(out, passing) {
		return
	}
	d.wg.Go(func() { _, _ = io.Copy(out, near); _ = out.Close() })
	_, _ = io.Copy(near, out)
}
