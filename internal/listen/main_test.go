package listen_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// limits are generous; tests that need others change a copy.
var limits = config.Limits{
	MaxHeaderBytes: 64 << 10, MaxConnections: 1000, MaxStreams: 100,
	ReadHeaderTimeout: testkit.Patience, IdleTimeout: testkit.Patience, BodyIdleTimeout: time.Minute,
}

// front is a Server that listens on loopback, or in a bubble of synctest takes pipes.
type front struct {
	*listen.Server
	t    *testing.T
	addr string
	log  *testkit.Log
	open atomic.Int32 // sockets that the server has accepted and not closed
	// wrap, unless nil, changes what is accepted.
	wrap  func(*net.TCPConn) net.Conn
	pipes *pipes
}

const testID = "11111111-2222-4333-8444-555555555555"

// newFront makes a server that is shut down with the test.
func newFront(t *testing.T, h http.HandlerFunc, edits ...func(*listen.Options)) *front {
	t.Helper()
	f := &front{t: t, log: new(testkit.Log)}
	o := listen.Options{
		Handler: h, NewID: func() string { return testID },
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&o)
	}
	f.Server = listen.New(o)
	f.OpenBy(f.openSocket)
	t.Cleanup(func() {
		if err := f.Shutdown(ended()); err != nil && !strings.Contains(err.Error(), "canceled") {
			t.Errorf("shutting down: %v", err)
		}
	})
	return f
}

func (f *front) openSocket(network, address string) (net.Listener, error) {
	if f.pipes != nil {
		return f.pipes, nil
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return &counting{l.(*net.TCPListener), f}, nil
}

// counting is a socket that counts what it accepts.
type counting struct {
	*net.TCPListener
	f *front
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if l.f.wrap != nil {
		return l.f.wrap(c), nil
	}
	l.f.open.Add(1)
	return &counted{TCPConn: c, f: l.f}, nil
}

type counted struct {
	*net.TCPConn
	f    *front
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.f.open.Add(-1) })
	return c.TCPConn.Close()
}

// pipes is a socket that accepts what it is given.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, os.ErrDeadlineExceeded
	}
}

// SetDeadline is how the server ends the wait of Accept.
func (p *pipes) SetDeadline(at time.Time) error {
	if !at.IsZero() {
		close(p.closed)
	}
	return nil
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return new(net.TCPAddr) }

// piped makes a server that takes pipes, within a bubble of synctest, and wants 600 bytes a minute.
func piped(t *testing.T, h http.HandlerFunc, edits ...func(*listen.Options)) *front {
	f := newFront(t, h, edits...)
	f.pipes = &pipes{make(chan net.Conn), make(chan struct{})}
	f.listen(nil, func(l *config.Limits) { l.IdleTimeout, l.MinBodyRate, l.MaxConnections = time.Hour, 600, 0 })
	return f
}

// pipe connects to a server that takes pipes. wrap, unless nil, changes the server's end.
func (f *front) pipe(wrap func(net.Conn) net.Conn) (theirs net.Conn) {
	ours, theirs := net.Pipe()
	if wrap != nil {
		ours = wrap(ours)
	}
	f.pipes.conns <- ours
	f.t.Cleanup(func() { _ = theirs.Close() })
	return theirs
}

// listening makes a server that listens without TLS, with limits that edits change.
func listening(t *testing.T, h http.HandlerFunc, edits ...func(*config.Limits)) *front {
	t.Helper()
	f := newFront(t, h)
	f.listen(nil, edits...)
	return f
}

func (f *front) listen(config *tls.Config, edits ...func(*config.Limits)) {
	f.t.Helper()
	l := limits
	for _, edit := range edits {
		edit(&l)
	}
	testkit.Must(f.t, f.Listen([]listen.Listener{{Name: "test", Address: "127.0.0.1:0", TLS: config}}, l, time.Minute))
	f.addr = f.Addrs()[0].String()
}

// Listen puts a set of listeners in force.
func (f *front) Listen(listeners []listen.Listener, l config.Limits, grace time.Duration) error {
	c, err := f.Prepare(listeners, l, grace)
	if err == nil {
		c.Commit()
	}
	return err
}

// caller is a connection of somebody who writes HTTP by hand.
type caller struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (f *front) dial() *caller {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	testkit.Must(f.t, err)
	return f.caller(conn)
}

func (f *front) dialTLS() *caller {
	f.t.Helper()
	conn, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	testkit.Must(f.t, err)
	return f.caller(conn)
}

func (f *front) caller(conn net.Conn) *caller {
	f.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	return &caller{f.t, conn, bufio.NewReader(conn)}
}

func (c *caller) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.60q: %v", text, err)
	}
}

type answer struct {
	*http.Response
	body string
}

// read reads one answer to the end of its body.
func (c *caller) read(method string) answer {
	c.t.Helper()
	a, err := c.tryRead(method)
	if err != nil {
		c.t.Fatalf("reading an answer: %v, after %q", err, a.body)
	}
	return a
}

func (c *caller) tryRead(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body)}, err
}

// ask sends a request and reads its answer.
func (c *caller) ask(request string) answer {
	c.t.Helper()
	c.send(request)
	method, _, _ := strings.Cut(request, " ")
	return c.read(method)
}

// rest reads to the end of the connection.
func (c *caller) rest() (string, error) {
	b, err := io.ReadAll(c.r)
	return string(b), err
}

// ends wants nothing more to come but the end of the connection.
func (c *caller) ends() {
	c.t.Helper()
	if text, err := c.rest(); text != "" || err != nil {
		c.t.Errorf("instead of the end came %q, %v", text, err)
	}
}

// problem reads the answer as a problem document with an id.
func (a answer) problem(t *testing.T, status int) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatalf("%s %v %q: %v", a.Status, a.Header, a.body, err)
	}
	if a.StatusCode != status || doc["status"] != float64(status) ||
		a.Header.Get("Content-Type") != "application/problem+json" ||
		a.Header.Get("X-Request-Id") != testID || doc["instance"] != "urn:uuid:"+testID {
		t.Fatalf("want a problem %d: %s %v %s", status, a.Status, a.Header, a.body)
	}
	return doc
}

func tlsConfig(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testkit.NewCertificate(t, nil).TLS()}}
}

// listening makes it listen, with TLS or without, and gives what connects so.
func (f *front) listening(secured bool) (dial func() *caller) {
	f.t.Helper()
	if !secured {
		f.listen(nil)
		return f.dial
	}
	f.listen(tlsConfig(f.t))
	return f.dialTLS
}

// both runs a test of a handler over plain connections and over TLS.
func both(t *testing.T, name string, h http.HandlerFunc, run func(t *testing.T, dial func() *caller)) {
	t.Run(name+", plain", func(t *testing.T) { run(t, newFront(t, h).listening(false)) })
	t.Run(name+", TLS", func(t *testing.T) { run(t, newFront(t, h).listening(true)) })
}

// ended is a context that is over.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
}
