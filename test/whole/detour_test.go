package whole_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// detour is a way to an upstream that can be blocked below HTTP, where the
// simulator's own faults do not reach. It listens on the simulator's host, on a port
// of its own, which stays its own while nobody listens there.
type detour struct {
	t    *testing.T
	to   string      // host:port behind it
	addr string      // host:port
	tls  *tls.Config // nil for plain TCP

	mu       sync.Mutex
	blocked  blockage
	stumbles int // connections that are still to be closed before they are one
	accepted int
	socket   int          // bound and not listening, while there is no listener; else -1
	listener net.Listener // nil while connections are refused
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// blockage is what becomes of connections.
type blockage int

const (
	passing      blockage = iota
	refusing              // nobody listens
	mute                  // they are accepted, and nothing is ever read or answered
	talkingOther          // they get an answer that is neither TLS nor HTTP
)

func newDetour(t *testing.T, to string, config *tls.Config) *detour {
	t.Helper()
	d := &detour{t: t, to: to, tls: config, conns: make(map[net.Conn]bool)}
	d.bind(0)
	d.listen()
	t.Cleanup(d.close)
	return d
}

// bind takes a port without listening on it: whoever connects is refused, and nobody
// else can have it.
func (d *detour) bind(port int) {
	d.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		d.t.Fatalf("taking a port: %v", err)
	}
	d.socket = fd
}

// listen turns the socket into a listener.
func (d *detour) listen() {
	d.t.Helper()
	if err := syscall.Listen(d.socket, 128); err != nil {
		d.t.Fatal(err)
	}
	file := os.NewFile(uintptr(d.socket), "detour")
	defer file.Close()
	d.socket = -1
	var err error
	if d.listener, err = net.FileListener(file); err != nil {
		d.t.Fatal(err)
	}
	l := d.listener
	d.addr = l.Addr().String()
	d.wg.Go(func() { d.accept(l) })
}

// block does to connections what b says, and ends those that there are.
func (d *detour) block(b blockage) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked = b
	switch {
	case b == refusing && d.listener != nil:
		_ = d.listener.Close()
		port := d.listener.Addr().(*net.TCPAddr).Port
		d.listener = nil
		d.bind(port)
	case b != refusing && d.listener == nil:
		d.listen()
	}
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

func (d *detour) close() {
	d.mu.Lock()
	if d.listener != nil {
		_ = d.listener.Close()
	} else if d.socket >= 0 {
		_ = syscall.Close(d.socket)
	}
	d.blocked = refusing
	d.cut()
	d.mu.Unlock()
	d.wg.Wait()
}

func (d *detour) accept(l net.Listener) {
	for {
		in, err := l.Accept()
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
	if stumbles || !d.keep(in, b) {
		_ = in.Close()
		return
	}
	switch b {
	case passing:
		d.pass(in)
	case talkingOther:
		_, _ = io.WriteString(in, "220 mail.example ESMTP\r\n")
		_, _ = io.Copy(io.Discard, in)
		_ = in.Close()
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

// names is a DNS of its own: the names under "invalid" that it knows are at
// 127.0.0.1, all others do not exist.
type names struct {
	mu    sync.Mutex
	known map[string]bool
}

// dns is what the process asks, from the beginning on.
var dns = new(names)

func (d *names) set(name string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = make(map[string]bool)
	}
	d.known[name] = known
}

// dial gives the resolver a name server in memory, spoken to as over TCP (RFC 1035,
// section 4.2.2).
func (d *names) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go d.answer(far)
	return near, nil
}

func (d *names) answer(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, query); err != nil {
		return
	}
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	d.mu.Lock()
	known := d.known[strings.TrimSuffix(q.Name.String(), ".")]
	d.mu.Unlock()
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	packed, err := m.Pack()
	if err != nil {
		return
	}
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
}
