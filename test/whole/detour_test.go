package whole_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"ebox-gateway/internal/testkit"
)

// detour is a way to an upstream that can be blocked below HTTP, where the
// simulator's own faults do not reach. It listens on the simulator's host, on a port
// of its own.
type detour struct {
	to, addr string      // host:port behind it, and its own
	tls      *tls.Config // nil for plain TCP

	mu       sync.Mutex
	blocked  blockage
	stumbles int // connections that are still to be closed before they are one
	accepted int
	conns    []net.Conn
}

// blockage is what becomes of connections.
type blockage int

const (
	passing blockage = iota
	closing          // they are accepted and closed
	mute             // they are accepted, and nothing is ever answered
)

func newDetour(t *testing.T, to string, config *tls.Config) *detour {
	t.Helper()
	d := &detour{to: to, tls: config}
	d.addr = testkit.Accept(t, func(_ int, in net.Conn) { d.serve(in) })
	t.Cleanup(func() { d.block(closing) })
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
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

// begin makes a connection one of those that are cut, and says what becomes of it.
func (d *detour) begin(c net.Conn) blockage {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted++
	if d.stumbles > 0 {
		d.stumbles--
		return closing
	}
	d.conns = append(d.conns, c)
	return d.blocked
}

func (d *detour) serve(in net.Conn) {
	defer in.Close()
	switch d.begin(in) {
	case passing:
		d.pass(in)
	case mute:
		_, _ = io.Copy(io.Discard, in)
	}
}

func (d *detour) pass(in net.Conn) {
	if d.tls != nil {
		secure := tls.Server(in, d.tls)
		if secure.Handshake() != nil {
			return
		}
		in = secure
	}
	out, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	_, _ = io.Copy(in, out)
	_ = in.Close()
}
