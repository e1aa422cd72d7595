package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// patience bounds every wait of these tests; none is expected to need it.
const patience = 2 * time.Minute

const gatewayPrefix = "/enterprises/0206731645/ebox/providers/nsso"

// rig is a proxy between raw sockets: a caller that the test plays, a gateway on the
// real front, and an upstream.
type rig struct {
	t       *testing.T
	out     *wire.Transport
	addr    string
	up      *call.Upstream
	call    func(r *http.Request, c *call.Call) // changes the call that is made
	records chan *call.Record                   // of exchanges that ended
	handler http.Handler
}

func classify(err error) call.Failure {
	f := call.Failure{Kind: problem.ProxyConnectionTerminated, Sent: true}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		f = call.Failure{Kind: problem.ProxyConnectionRefused}
	}
	var exchange *wire.Error
	if errors.As(err, &exchange) {
		f = call.Failure{Kind: exchange.Kind, Timeout: exchange.Timeout, Sent: exchange.Sent}
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		f.Kind, f.Timeout = problem.ProxyResponseTimeout, true
	}
	return f
}

func testOptions() proxy.Options {
	return proxy.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now, Classify: classify}
}

// counted puts the layer that counts tries above a way to the upstream.
func counted(next call.Sender) call.Sender {
	return proxy.NewCounter(next, classify, time.Now, new(proxy.Waiting))
}

// bottom is the transport as egress.Transport is.
func bottom(t *wire.Transport) call.Sender {
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		o := wire.Options{Party: c.Party(), Once: c.Opening, Resent: &c.Record.Tries}
		if pass := c.Interim; pass != nil {
			o.Interim = func(status int, h http.Header) error {
				if status != http.StatusContinue {
					pass(status, h)
				}
				return nil
			}
		}
		return t.Do(ctx, r, o)
	})
}

func newTransport() *wire.Transport {
	return wire.New(wire.Config{
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return wire.NewSocket(raw, patience), nil
		},
		Header: patience, Continue: patience, IdleConn: patience, Age: func() time.Duration { return time.Hour },
	})
}

// newRig starts a gateway before the upstream at base.
func newRig(t *testing.T, base string) *rig {
	t.Helper()
	u, err := url.Parse(base)
	testkit.Must(t, err)
	g := &rig{t: t, out: newTransport(), records: make(chan *call.Record, 64), call: func(*http.Request, *call.Call) {}}
	t.Cleanup(g.out.CloseIdleConnections)
	if g.up, err = call.NewUpstream("nsso", u, counted(bottom(g.out)), true); err != nil {
		t.Fatal(err)
	}
	p := proxy.New(testOptions())
	g.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call.New()
		c.ID, c.Method, c.Header, c.HasBody = "5f1d7a3e-0000-4000-8000-000000000001", r.Method, r.Header, r.ContentLength != 0
		defer func() { g.records <- c.Record }()
		c.To, c.Target, c.Query, c.BareQuery = g.up, r.URL.EscapedPath(), r.URL.RawQuery, r.URL.ForceQuery
		c.Represented = []string{"0206731645"}
		c.Links = links.Base{Origin: "http://" + r.Host, Prefix: gatewayPrefix}
		w.Header()["Vary"] = []string{"Origin"} // as the edge does
		g.call(r, c)
		if c.Opening {
			listen.KeepServing(w)
		}
		p.Serve(w, r, c)
	})
	g.addr = g.front()
	return g
}

// front serves the rig's handler on loopback.
func (g *rig) front() (addr string) {
	g.t.Helper()
	s := listen.New(listen.Options{Handler: g.handler, NewID: call.NewID, Log: slog.New(slog.DiscardHandler)})
	listening, err := s.Prepare([]listen.Listener{{Name: "test", Address: "127.0.0.1:0"}}, config.Limits{
		MaxHeaderBytes: 64 << 10, MaxConnections: 1000, MaxStreams: 100,
		ReadHeaderTimeout: patience, IdleTimeout: patience, BodyIdleTimeout: patience,
	}, patience)
	testkit.Must(g.t, err)
	listening.Commit()
	g.t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ended) // what is still under way is cut
	})
	return s.Addrs()[0].String()
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
func behindRaw(t *testing.T, serve func(n int, c *peer)) *rig {
	t.Helper()
	address := testkit.Accept(t, func(n int, conn net.Conn) { serve(n+1, newPeer(t, conn)) })
	return newRig(t, "http://"+address+"/REST/registry/v3")
}

// peer is one end of a connection that a test writes and reads as it likes.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func newPeer(t *testing.T, c net.Conn) *peer {
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{t, c, bufio.NewReader(c)}
}

// dial connects a caller to the gateway.
func (g *rig) dial() *peer {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	testkit.Must(g.t, err)
	g.t.Cleanup(func() { c.Close() })
	return newPeer(g.t, c)
}

// send writes lines, each with CRLF, and nothing behind the last.
func (w *peer) send(lines ...string) { _, _ = io.WriteString(w.conn, strings.Join(lines, "\r\n")) }

// head reads up to the empty line; it is empty if the other side closed.
func (w *peer) head() string {
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
func (w *peer) exactly(n int) string {
	b := make([]byte, n)
	m, _ := io.ReadFull(w.r, b)
	return string(b[:m])
}

// rest reads to the end of the connection.
func (w *peer) rest() (string, error) {
	b, err := io.ReadAll(w.r)
	return string(b), err
}

// get sends one request and reads the whole answer.
func (g *rig) get(method, target string, header http.Header, body io.Reader) *answer {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.addr+target, body)
	testkit.Must(g.t, err)
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
func (g *rig) limit(n int64) { g.call = func(_ *http.Request, c *call.Call) { c.MaxBody = n } }

// closeWrite ends the caller's sending and leaves its receiving open.
func (w *peer) closeWrite() { _ = w.conn.(*net.TCPConn).CloseWrite() }
