package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none is expected to need it.
const patience = 10 * time.Second

const gatewayPrefix = "/enterprises/0206731645/ebox/providers/nsso"

// rig is a proxy between raw sockets: a caller that the test plays, a gateway on a
// real server, and an upstream.
type rig struct {
	t       *testing.T
	out     *http.Transport
	addr    string
	base    *url.URL
	up      *Upstream
	call    func(r *http.Request, c *Call) // changes the call that is made
	records chan *call.Record          // of exchanges that ended
	server  *httptest.Server
}

// copying stands for the credentials layer: it gives every try a header of its own.
type copying struct{ next http.RoundTripper }

func (c copying) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.WithContext(r.Context())
	out.Header = r.Header.Clone()
	return c.next.RoundTrip(out)
}

var lastID atomic.Int64

func testOptions() Options {
	return Options{
		Environment: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now,
		NewID: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", lastID.Add(1)) },
		Classify: func(err error) Failure {
			var dial *net.OpError
			f := Failure{Kind: problem.ProxyConnectionTerminated, Sent: true}
			if errors.As(err, &dial) && dial.Op == "dial" {
				f = Failure{Kind: problem.ProxyConnectionRefused}
			}
			var timeout interface{ Timeout() bool }
			if errors.As(err, &timeout) && timeout.Timeout() {
				f.Kind, f.Timeout = problem.ProxyResponseTimeout, true
			}
			return f
		},
	}
}

// newRig starts a gateway before the upstream at base.
func newRig(t *testing.T, base string) *rig {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, base: u, records: make(chan *call.Record, 64), call: func(*http.Request, *Call) {}}
	o := testOptions()
	g.out = &http.Transport{DisableCompression: true, ExpectContinueTimeout: patience}
	t.Cleanup(g.out.CloseIdleConnections)
	g.up, err = NewUpstream("nsso", u, NewCounter(copying{g.out}, o), true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &call.Record{ID: "5f1d7a3e-0000-4000-8000-000000000001"}
		defer func() { g.records <- rec }()
		c := &Call{
			Upstream: g.up, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery,
			Set:   []Field{{"On-Behalf-Of-Enterprise-Number", []string{"0206731645"}}},
			Links: LinkBase{Origin: "http://" + r.Host, Prefix: gatewayPrefix},
		}
		g.call(r, c)
		p.Serve(w, r.WithContext(exchange.With(r.Context(), rec)), c)
	}))
	g.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.server.Config.Protocols = new(http.Protocols)
	g.server.Config.Protocols.SetHTTP1(true)
	g.server.Config.Protocols.SetUnencryptedHTTP2(true)
	g.server.Start()
	g.addr = g.server.Listener.Addr().String()
	t.Cleanup(g.server.Close)
	return g
}

// record waits for the record of the next exchange that ends.
func (g *rig) record() *call.Record {
	g.t.Helper()
	select {
	case rec := <-g.records:
		return rec
	case <-time.After(patience):
		g.t.Fatal("the exchange does not end")
		return nil
	}
}

// behind starts a gateway before an upstream that is a handler.
func behind(t *testing.T, h http.HandlerFunc) *rig {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return newRig(t, s.URL+"/REST/registry/v3")
}

// behindRaw starts a gateway before an upstream that is a function over a
// connection; each connection gets its number, from 1.
func behindRaw(t *testing.T, serve func(n int, c *wire)) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				serve(n, newWire(t, conn))
			})
		}
	})
	g := newRig(t, "http://"+l.Addr().String()+"/REST/registry/v3")
	t.Cleanup(func() { // runs before the gateway's own
		g.server.CloseClientConnections()
		g.server.Close()
		g.out.CloseIdleConnections()
		l.Close()
		all.Wait()
	})
	return g
}

// wire is one end of a connection that a test writes and reads as it likes.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func newWire(t *testing.T, c net.Conn) *wire {
	_ = c.SetDeadline(time.Now().Add(patience))
	return &wire{t, c, bufio.NewReader(c)}
}

// dial connects a caller to the gateway.
func (g *rig) dial() *wire {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return newWire(g.t, c)
}

// send writes lines, each with CRLF, and nothing behind the last.
func (w *wire) send(lines ...string) { _, _ = io.WriteString(w.conn, strings.Join(lines, "\r\n")) }

// head reads up to the empty line; it is empty if the other side closed.
func (w *wire) head() string {
	var b strings.Builder
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if line == "\r\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// exactly reads n bytes.
func (w *wire) exactly(n int) string {
	b := make([]byte, n)
	m, _ := io.ReadFull(w.r, b)
	return string(b[:m])
}

// rest reads to the end of the connection.
func (w *wire) rest() (string, error) {
	b, err := io.ReadAll(w.r)
	return string(b), err
}

// get sends one request and reads the whole answer.
func (g *rig) get(method, target string, header http.Header, body io.Reader) *answer {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.addr+target, body)
	if err != nil {
		g.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return &answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &answer{resp, string(b), err}
}

type answer struct {
	*http.Response
	body string
	err  error
}

func (a *answer) header(name string) string {
	if a.Response == nil {
		return ""
	}
	return strings.Join(a.Response.Header.Values(name), ", ")
}

// limit sets the most bytes that a request body may have.
func (g *rig) limit(n int64) { g.call = func(_ *http.Request, c *Call) { c.MaxBody = n } }

// dialTLS connects a caller to the same gateway over TLS.
func (g *rig) dialTLS() *wire {
	g.t.Helper()
	s := httptest.NewUnstartedServer(g.server.Config.Handler)
	s.Config.ErrorLog = g.server.Config.ErrorLog
	s.StartTLS()
	g.t.Cleanup(s.Close)
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return newWire(g.t, c)
}

// closeWrite ends the caller's sending and leaves its receiving open.
func (w *wire) closeWrite() { _ = w.conn.(*net.TCPConn).CloseWrite() }
