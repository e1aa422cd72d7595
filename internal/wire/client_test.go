package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// upstream serves each connection with a function, which gets its number from 0.
func upstream(t testing.TB, config *tls.Config, serve func(n int, c net.Conn)) string {
	return testkit.Accept(t, func(n int, c net.Conn) {
		if config != nil {
			c = tls.Server(c, config)
			defer c.Close()
		}
		serve(n, c)
	})
}

// request reads a request's head; false if none came.
func request(c net.Conn) (string, bool) {
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(c, b); err != nil {
			return string(text), false
		}
		if text = append(text, b[0]); bytes.HasSuffix(text, []byte("\r\n\r\n")) {
			return string(text), true
		}
	}
}

// replying answers each request by its head.
func replying(to func(head string) string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		for {
			head, ok := request(c)
			if !ok {
				return
			}
			io.WriteString(c, to(head))
		}
	}
}

// answering gives the same text to every request.
func answering(text string) func(int, net.Conn) { return replying(func(string) string { return text }) }

func serverConfig(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testkit.NewCertificate(t, nil).TLS()}}
}

// enough bounds every wait of these tests; none is expected to need it.
const enough = 2 * time.Minute

const (
	// rest and shortRest are how long a connection is unused before it serves another party, and the same one.
	rest, shortRest = 250 * time.Millisecond, 50 * time.Millisecond
	// atOnce is how many connections have to be in their short rest so that others serve without one.
	atOnce = 64
)

// client is a Transport whose clock the test moves.
type client struct {
	*wire.Transport
	calls *wire.Calls
	mu    sync.Mutex
	now   time.Time
	raw   net.Conn // that was opened last
}

func newClient(t testing.TB, change func(*wire.Config)) *client {
	out := &client{calls: wire.NewCalls(), now: time.Now()}
	c := wire.Config{
		Dial: func(ctx context.Context, scheme, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			out.mu.Lock()
			out.raw = raw
			out.mu.Unlock()
			s := wire.NewSocket(raw, enough)
			if scheme == "http" {
				return s, nil
			}
			secured := wire.TLS(s, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)})
			return secured, secured.HandshakeContext(ctx)
		},
		Header: enough, Continue: enough, IdleConn: enough, Age: func() time.Duration { return time.Hour },
		Calls: out.calls, Now: func() time.Time {
			out.mu.Lock()
			defer out.mu.Unlock()
			return out.now
		},
	}
	if change != nil {
		change(&c)
	}
	out.Transport = wire.New(c)
	t.Cleanup(out.CloseIdleConnections)
	return out
}

// pass has time pass.
func (c *client) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// arrives waits until something of the other side has come on the connection that was opened last.
func (c *client) arrives(t *testing.T) {
	raw, err := c.raw.(*net.TCPConn).SyscallConn()
	testkit.Must(t, err)
	testkit.Eventually(t, "bytes, or an end", func() (came bool) {
		_ = raw.Control(func(fd uintptr) {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			came = n > 0
		})
		return came
	})
}

// ask gives the answer's status and body.
func ask(t testing.TB, tr *client, o wire.Options, method, link string, body io.Reader,
	header http.Header) (int, string, error) {
	r, err := http.NewRequest(method, link, body)
	testkit.Must(t, err)
	for name, values := range header {
		r.Header[name] = values
	}
	a, err := tr.Do(t.Context(), r, o)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return a.StatusCode, string(text), err
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"

// both runs a test over a plain connection and over TLS 1.3, whose server hands out session tickets.
func both(t *testing.T, name string, run func(t *testing.T, scheme string, config *tls.Config)) {
	t.Run(name+", plain", func(t *testing.T) { run(t, "http", nil) })
	t.Run(name+", TLS", func(t *testing.T) { run(t, "https", serverConfig(t)) })
}

const ok200 = "HTTP/1.1 200 OK\r\n"

func TestAnswersThatAreRefusedOrCut(t *testing.T) {
	type answers = map[string]string
	for kind, answers := range map[string]answers{
		problem.ProxyProtocolError: {
			"other status line":          "HTTP/2.0 200 OK\r\n\r\n",
			"status of two digits":       "HTTP/1.1 20 OK\r\n\r\n",
			"switching protocols":        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
			"a flood of interim answers": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + fine,
			"two lengths":                ok200 + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine!",
			"another transfer coding":    ok200 + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
			"chunked in HTTP/1.0":        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"a response split by a CR":   ok200 + "A: b\rSet-Cookie: c\r\nContent-Length: 4\r\n\r\nfine",
			"an empty line before it":    "\r\n" + fine,
			"a chunk of another size":    ok200 + "Transfer-Encoding: chunked\r\n\r\n3\r\nfine\r\n0\r\n\r\n",
		},
		problem.ProxyHeaderSectionSize: {
			"a head of 70 KB": ok200 + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 70) + "\r\n",
			"300 fields":      ok200 + strings.Repeat("A: b\r\n", 300) + "\r\n",
		},
		problem.ProxyConnectionTerminated: {"an end in the head": ok200 + "Content-"},
		problem.ProxyResponseIncomplete: {
			"an end in the body":    ok200 + "Content-Length: 9\r\n\r\nfine",
			"an end between chunks": ok200 + "Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n",
		},
	} {
		for name, answer := range answers {
			both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
				address := upstream(t, config, func(_ int, conn net.Conn) {
					if _, ok := request(conn); ok {
						io.WriteString(conn, answer)
					}
				})
				_, body, err := ask(t, newClient(t, nil), wire.Options{}, "GET", scheme+"://"+address, nil, nil)
				var e *wire.Error
				if !errors.As(err, &e) || e.Kind != kind || !e.Sent {
					t.Errorf("%q, %+v; want %s", body, err, kind)
				}
			})
		}
	}
}

func TestAnswersThatAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		method, answer, want string
		reused               bool
	}{
		"a length":      {"GET", fine, "fine", true},
		"equal lengths": {"GET", ok200 + "Content-Length: 4, 4\r\n\r\nfine", "fine", true},
		"chunks":        {"GET", ok200 + "Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n", "fine", true},
		"chunks beside a length": {
			"GET", ok200 + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n", "fine", false},
		"interim answers": {"GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 8) + fine, "fine", true},
		"bare LF":         {"GET", "HTTP/1.1 200 OK\nContent-Length: 4\n\nfine", "fine", true},
		"no reason":       {"GET", "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nfine", "fine", true},
		"close beside another option": {
			"GET", ok200 + "Connection: x-secret, Close\r\nContent-Length: 4\r\n\r\nfine", "fine", false},
		"HTTP/1.0": {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", "fine", false},
		"HTTP/1.0 that keeps alive": {
			"GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 4\r\n\r\nfine", "fine", true},
		"an answer to HEAD":           {"HEAD", ok200 + "Content-Length: 4\r\n\r\n", "", true},
		"204 with a length":           {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "", false},
		"304 with a length":           {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "", true},
		"HEAD with a body":            {"HEAD", fine, "", false},
		"204 with a body":             {"GET", "HTTP/1.1 204 No Content\r\n\r\nfine", "", false},
		"304 with a body":             {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nfine", "", false},
		"a length that is too small":  {"GET", ok200 + "Content-Length: 2\r\n\r\nfine", "fi", false},
		"two answers to one request":  {"GET", fine + fine, "fine", false},
		"a line end after the answer": {"GET", fine + "\r\n", "fine", false},
	} {
		both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
			tr := newClient(t, nil)
			link := scheme + "://" + upstream(t, config, answering(c.answer))
			for range 2 {
				if _, body, err := ask(t, tr, wire.Options{Party: "A"}, c.method, link, nil, nil); body != c.want || err != nil {
					t.Fatalf("%q, %v", body, err)
				}
				tr.pass(rest)
			}
			if n := tr.Counts().Opened; n == 1 != c.reused {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestAnAnswerWithoutLengthIsWholeOverTLSOnlyAfterCloseNotify(t *testing.T) {
	for name, polite := range map[string]bool{"close_notify": true, "cut": false} {
		t.Run(name, func(t *testing.T) {
			address := upstream(t, serverConfig(t), func(_ int, c net.Conn) {
				request(c)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nfine")
				if !polite {
					c.(*tls.Conn).NetConn().Close()
				}
			})
			_, body, err := ask(t, newClient(t, nil), wire.Options{}, "GET", "https://"+address, nil, nil)
			var e *wire.Error
			if body != "fine" || polite && err != nil || !polite &&
				(!errors.As(err, &e) || e.Kind != problem.ProxyResponseIncomplete) {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
}

func TestBytesOrAnEndOnAnUnusedConnectionCloseIt(t *testing.T) {
	beneath := func(c net.Conn) net.Conn {
		if secured, ok := c.(*tls.Conn); ok {
			return secured.NetConn()
		}
		return c
	}
	surplus, ended := wire.Counts{Opened: 2, Surplus: 1}, wire.Counts{Opened: 2, Ended: 1}
	for name, c := range map[string]struct {
		answer string
		after  func(net.Conn) // what comes once it was read; nil is nothing
		want   wire.Counts
	}{
		"nothing":               {fine, nil, wire.Counts{Opened: 1}},
		"bytes with the answer": {fine + "x", nil, surplus},
		"bytes":                 {fine, func(c net.Conn) { io.WriteString(c, fine) }, surplus},
		"a single byte":         {fine, func(c net.Conn) { io.WriteString(c, "\n") }, surplus},
		"half a record":         {fine, func(c net.Conn) { beneath(c).Write([]byte("\x17\x03")) }, surplus},
		"an end":                {fine, func(c net.Conn) { c.Close() }, ended},
		"an end of TCP's":       {fine, func(c net.Conn) { beneath(c).Close() }, ended},
	} {
		both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
			answered := make(chan net.Conn, 1)
			link := scheme + "://" + upstream(t, config, func(n int, conn net.Conn) {
				if n == 0 {
					request(conn)
					io.WriteString(conn, c.answer)
					answered <- conn
				}
				answering(fine)(n, conn)
			})
			tr := newClient(t, nil)
			for i := range 2 {
				if _, body, err := ask(t, tr, wire.Options{}, "GET", link, nil, nil); body != "fine" || err != nil {
					t.Fatalf("%q, %v", body, err)
				}
				if tr.pass(shortRest); i == 0 && c.after != nil {
					c.after(<-answered)
					tr.arrives(t)
				}
			}
			if got := tr.Counts(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAConnectionThatWasStale(t *testing.T) {
	for name, c := range map[string]struct {
		method      string
		once, again bool
	}{
		"a safe call goes once more": {"GET", false, true},
		"an opening does not":        {"GET", true, false},
		"a write does not":           {"PATCH", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			link := "http://" + upstream(t, nil, func(n int, conn net.Conn) {
				for i := 0; ; i++ {
					if _, ok := request(conn); !ok {
						return
					}
					if requests.Add(1); n == 0 && i == 1 {
						return // after the second request, without an answer
					}
					io.WriteString(conn, fine)
				}
			})
			tr, resent := newClient(t, nil), 0
			if _, _, err := ask(t, tr, wire.Options{}, "GET", link, nil, nil); err != nil {
				t.Fatal(err)
			}
			tr.pass(rest)
			_, _, err := ask(t, tr, wire.Options{Once: c.once, Resent: &resent}, c.method, link, nil, nil)
			var e *wire.Error
			if c.again && (err != nil || resent != 1 || tr.Counts().Resent != 1 || requests.Load() != 3) {
				t.Errorf("%v, resent %d times, %d requests", err, resent, requests.Load())
			}
			if !c.again && (!errors.As(err, &e) || !e.Stale || !e.Sent || requests.Load() != 2) {
				t.Errorf("%+v, %d requests", err, requests.Load())
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A server that refuses an upload answers and closes while it comes, as Node's does.
func TestAnEarlyAnswerIsTheCallers(t *testing.T) {
	both(t, "refused", func(t *testing.T, scheme string, config *tls.Config) {
		link := scheme + "://" + upstream(t, config, func(_ int, c net.Conn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
		})
		for range 20 {
			status, body, err := ask(t, newClient(t, nil), wire.Options{}, "POST", link, io.LimitReader(endless{}, 5<<20), nil)
			if status != 413 || body != "large" || err != nil {
				t.Fatalf("%d %q, %v", status, body, err)
			}
		}
	})
}

func TestBodiesGoUpWhole(t *testing.T) {
	for name, c := range map[string]struct {
		size           int
		length, expect bool
	}{
		"small": {4096, true, false}, "small after a 100": {4096, true, true}, "large": {1 << 20, true, false},
		"of unknown length": {1 << 20, false, false}, "empty, of unknown length": {0, false, false},
	} {
		both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
			sent, got := make([]byte, c.size), make(chan []byte, 1)
			rand.Read(sent)
			link := scheme + "://" + upstream(t, config, func(_ int, conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if c.expect {
						io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
					}
					body, _ := io.ReadAll(r.Body)
					got <- body
					io.WriteString(conn, fine)
				}
			})
			tr := newClient(t, nil)
			for range 3 {
				r, _ := http.NewRequest("POST", link, io.NopCloser(bytes.NewReader(sent)))
				if c.length {
					r.ContentLength = int64(c.size)
				}
				if c.expect {
					r.Header.Set("Expect", "100-continue")
				}
				a, err := tr.Do(t.Context(), r, wire.Options{})
				testkit.Must(t, err)
				if text, err := io.ReadAll(a.Body); string(text) != "fine" || err != nil || !bytes.Equal(<-got, sent) {
					t.Fatalf("%q, %v", text, err)
				}
			}
		})
	}
}

func TestABodyOfAnotherLengthThanItSays(t *testing.T) {
	link := "http://" + upstream(t, nil, func(_ int, c net.Conn) { request(c); io.Copy(io.Discard, c) })
	for _, declared := range []int64{10, 100_000} {
		for actual, want := range map[int64]string{declared - 1: "shorter than its", declared + 1: "longer than its"} {
			r, _ := http.NewRequest("POST", link, io.NopCloser(io.LimitReader(endless{}, actual)))
			r.ContentLength = declared
			if _, err := newClient(t, nil).Do(t.Context(), r, wire.Options{}); !strings.Contains(said(err), want) {
				t.Errorf("%d of %d: %v", actual, declared, err)
			}
		}
	}
}

func TestACancelledCallGivesItsCause(t *testing.T) {
	cause := errors.New("because")
	for _, inBody := range []bool{false, true} {
		got := make(chan struct{})
		link := "http://" + upstream(t, nil, func(_ int, c net.Conn) {
			request(c)
			if inBody {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine")
			}
			close(got)
			request(c)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { <-got; cancel(cause) }()
		r, _ := http.NewRequest("GET", link, nil)
		a, err := newClient(t, nil).Do(ctx, r, wire.Options{})
		if err == nil {
			_, err = io.ReadAll(a.Body)
		}
		if !errors.Is(err, cause) {
			t.Errorf("in the body %v: %v", inBody, err)
		}
	}
}

func TestAnAnswerThatNamesAnotherCallIsNotDelivered(t *testing.T) {
	const own, held, earlier, over = "11111111-aaaa-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222",
		"33333333-3333-4333-8333-333333333333", "44444444-4444-4444-8444-444444444444"
	for name, c := range map[string]struct {
		names   string
		foreign bool
	}{
		"its own": {own, false}, "its own in capitals": {strings.ToUpper(own), false}, "nobody's": {"x", false},
		"one under way elsewhere": {held, true}, "an earlier one of the connection": {earlier, true},
		"one that is over elsewhere": {over, false},
	} {
		t.Run(name, func(t *testing.T) {
			holds := make(chan struct{})
			link := "http://" + upstream(t, nil, replying(func(head string) string {
				switch {
				case strings.Contains(head, held):
					close(holds)
					return ""
				case strings.Contains(head, own):
					return ok200 + "BelGov-Related-Trace-Id: " + c.names + "\r\nContent-Length: 4\r\n\r\nfine"
				}
				return fine
			}))
			var log bytes.Buffer
			tr := newClient(t, func(c *wire.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			other := newClient(t, func(c *wire.Config) { c.Calls = tr.calls })
			call := func(tr *client, id string) (string, error) {
				_, body, err := ask(t, tr, wire.Options{}, "GET", link, nil, http.Header{"BelGov-Trace-Id": {id}})
				return body, err
			}
			for id, tr := range map[string]*client{over: other, earlier: tr} {
				if body, err := call(tr, id); body != "fine" {
					t.Fatalf("%q, %v", body, err)
				}
				tr.pass(shortRest)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = call(other, held)
			}()
			t.Cleanup(func() { <-ended }) // its context is over by then
			<-holds
			body, err := call(tr, own)
			if c.foreign != (err != nil) || c.foreign != strings.Contains(log.String(), "level=ERROR") ||
				c.foreign != (body == "") || c.foreign != (tr.Counts().Foreign == 1) {
				t.Errorf("%q, %v, logged %q", body, err, log.String())
			}
		})
	}
}

func TestRequestsThatWouldBeSplitAreNotSent(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nA:" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a b" },
		"host":   func(r *http.Request) { r.URL.Host = "a\r\nB: c" },
		"value":  func(r *http.Request) { r.Header.Set("A", "b\r\nC: d") },
		"name":   func(r *http.Request) { r.Header["A b"] = []string{"c"} },
	} {
		tr := newClient(t, nil)
		r, _ := http.NewRequest("GET", "http://127.0.0.1:1", nil)
		change(r)
		var e *wire.Error
		if _, err := tr.Do(t.Context(), r, wire.Options{}); !errors.As(err, &e) || e.Sent || tr.Counts().Opened != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
