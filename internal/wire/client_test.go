package wire

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
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
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

// answering gives the same text to every request.
func answering(text string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		for {
			if _, ok := request(c); !ok {
				return
			}
			io.WriteString(c, text)
		}
	}
}

func serverConfig(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testkit.NewCertificate(t, nil).TLS()}}
}

// enough bounds every wait of these tests; none is expected to need it.
const enough = 2 * time.Minute

func client(t testing.TB, change func(*Config)) *Transport {
	c := Config{
		Dial: func(ctx context.Context, scheme, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			s := NewSocket(raw, enough)
			if scheme == "http" {
				return s, nil
			}
			secured := TLS(s, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)})
			return secured, secured.HandshakeContext(ctx)
		},
		Header: enough, Continue: enough, IdleConn: enough, Age: func() time.Duration { return time.Hour },
	}
	if change != nil {
		change(&c)
	}
	out := New(c)
	t.Cleanup(out.CloseIdleConnections)
	return out
}

// ask gives the answer's status and body.
func ask(t testing.TB, tr *Transport, o Options, method, link string, body io.Reader,
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

const ok = "HTTP/1.1 200 OK\r\n"

func TestAnswersThatAreRefusedOrCut(t *testing.T) {
	type answers = map[string]string
	for kind, answers := range map[string]answers{
		problem.ProxyProtocolError: {
			"other status line":          "HTTP/2.0 200 OK\r\n\r\n",
			"status of two digits":       "HTTP/1.1 20 OK\r\n\r\n",
			"switching protocols":        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
			"a flood of interim answers": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + fine,
			"two lengths":                ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine!",
			"another transfer coding":    ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
			"chunked in HTTP/1.0":        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"a response split by a CR":   ok + "A: b\rSet-Cookie: c\r\nContent-Length: 4\r\n\r\nfine",
			"an empty line before it":    "\r\n" + fine,
			"a chunk of another size":    ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nfine\r\n0\r\n\r\n",
		},
		problem.ProxyHeaderSectionSize: {
			"a head of 70 KB": ok + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 70) + "\r\n",
			"300 fields":      ok + strings.Repeat("A: b\r\n", 300) + "\r\n",
		},
		problem.ProxyConnectionTerminated: {"an end in the head": ok + "Content-"},
		problem.ProxyResponseIncomplete: {
			"an end in the body":    ok + "Content-Length: 9\r\n\r\nfine",
			"an end between chunks": ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n",
		},
	} {
		for name, answer := range answers {
			both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
				address := upstream(t, config, func(_ int, conn net.Conn) {
					if _, ok := request(conn); ok {
						io.WriteString(conn, answer)
					}
				})
				_, body, err := ask(t, client(t, nil), Options{}, "GET", scheme+"://"+address, nil, nil)
				var e *Error
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
		"equal lengths": {"GET", ok + "Content-Length: 4, 4\r\n\r\nfine", "fine", true},
		"chunks":        {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n", "fine", true},
		"chunks beside a length": {
			"GET", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n", "fine", false},
		"interim answers": {"GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 8) + fine, "fine", true},
		"bare LF":         {"GET", "HTTP/1.1 200 OK\nContent-Length: 4\n\nfine", "fine", true},
		"no reason":       {"GET", "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nfine", "fine", true},
		"close beside another option": {
			"GET", ok + "Connection: x-secret, Close\r\nContent-Length: 4\r\n\r\nfine", "fine", false},
		"HTTP/1.0": {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", "fine", false},
		"HTTP/1.0 that keeps alive": {
			"GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 4\r\n\r\nfine", "fine", true},
		"an answer to HEAD":           {"HEAD", ok + "Content-Length: 4\r\n\r\n", "", true},
		"204 with a length":           {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "", false},
		"304 with a length":           {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "", true},
		"HEAD with a body":            {"HEAD", fine, "", false},
		"204 with a body":             {"GET", "HTTP/1.1 204 No Content\r\n\r\nfine", "", false},
		"304 with a body":             {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nfine", "", false},
		"a length that is too small":  {"GET", ok + "Content-Length: 2\r\n\r\nfine", "fi", false},
		"two answers to one request":  {"GET", fine + fine, "fine", false},
		"a line end after the answer": {"GET", fine + "\r\n", "fine", false},
	} {
		both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
			tr := client(t, nil)
			link := scheme + "://" + upstream(t, config, answering(c.answer))
			for range 2 {
				if _, body, err := ask(t, tr, Options{Party: "A"}, c.method, link, nil, nil); body != c.want || err != nil {
					t.Fatalf("%q, %v", body, err)
				}
				unused(poolOf(t, tr, link), rest)
			}
			if n := tr.Counts().Opened; n == 1 != c.reused {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func poolOf(t testing.TB, tr *Transport, link string) *pool {
	u, err := url.Parse(link)
	testkit.Must(t, err)
	p, err := tr.pool(u)
	testkit.Must(t, err)
	return p
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
			_, body, err := ask(t, client(t, nil), Options{}, "GET", "https://"+address, nil, nil)
			var e *Error
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
	for name, c := range map[string]struct {
		after func(net.Conn)
		want  verdict
	}{
		"bytes":           {func(c net.Conn) { io.WriteString(c, fine) }, surplus},
		"a single byte":   {func(c net.Conn) { io.WriteString(c, "\n") }, surplus},
		"an end":          {func(c net.Conn) { c.Close() }, ended},
		"nothing":         {func(c net.Conn) {}, quiet},
		"half a record":   {func(c net.Conn) { beneath(c).Write([]byte("\x17\x03")) }, surplus},
		"an end of TCP's": {func(c net.Conn) { beneath(c).Close() }, ended},
	} {
		both(t, name, func(t *testing.T, scheme string, config *tls.Config) {
			answered := make(chan net.Conn)
			link := scheme + "://" + upstream(t, config, func(_ int, conn net.Conn) {
				request(conn)
				io.WriteString(conn, fine)
				answered <- conn
				request(conn)
			})
			tr := client(t, nil)
			if _, body, err := ask(t, tr, Options{}, "GET", link, nil, nil); body != "fine" || err != nil {
				t.Fatalf("%q, %v", body, err)
			}
			p := poolOf(t, tr, link)
			unused(p, Settle)
			kept := p.take("", false)
			defer kept.drop()
			c.after(<-answered)
			got := kept.look()
			for ; got == quiet && c.want != quiet; got = kept.look() {
				time.Sleep(time.Millisecond) // until it has come through the loopback
			}
			if got != c.want {
				t.Errorf("found %d, want %d", got, c.want)
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
			tr, resent := client(t, nil), 0
			if _, _, err := ask(t, tr, Options{}, "GET", link, nil, nil); err != nil {
				t.Fatal(err)
			}
			unused(poolOf(t, tr, link), rest)
			_, _, err := ask(t, tr, Options{Once: c.once, Resent: &resent}, c.method, link, nil, nil)
			var e *Error
			if c.again && (err != nil || resent != 1 || requests.Load() != 3) {
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
			status, body, err := ask(t, client(t, nil), Options{}, "POST", link, io.LimitReader(endless{}, 5<<20), nil)
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
			tr := client(t, nil)
			for range 3 {
				r, _ := http.NewRequest("POST", link, io.NopCloser(bytes.NewReader(sent)))
				if c.length {
					r.ContentLength = int64(c.size)
				}
				if c.expect {
					r.Header.Set("Expect", "100-continue")
				}
				a, err := tr.Do(t.Context(), r, Options{})
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
		for actual, want := range map[int64]error{declared - 1: errBodyShort, declared + 1: errBodyLong} {
			r, _ := http.NewRequest("POST", link, io.NopCloser(io.LimitReader(endless{}, actual)))
			r.ContentLength = declared
			if _, err := client(t, nil).Do(t.Context(), r, Options{}); !errors.Is(err, want) {
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
		a, err := client(t, nil).Do(ctx, r, Options{})
		if err == nil {
			_, err = io.ReadAll(a.Body)
		}
		if !errors.Is(err, cause) {
			t.Errorf("in the body %v: %v", inBody, err)
		}
	}
}

func TestAnAnswerThatNamesAnotherCallIsNotDelivered(t *testing.T) {
	const own, other = "11111111-aaaa-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	for name, c := range map[string]struct {
		names   string
		foreign bool
	}{"its own": {own, false}, "its own in capitals": {strings.ToUpper(own), false}, "nobody's": {"x", false},
		"one under way": {other, true}} {
		t.Run(name, func(t *testing.T) {
			link := "http://" + upstream(t, nil, answering("HTTP/1.1 200 OK\r\nBelGov-Related-Trace-Id: "+c.names+
				"\r\nContent-Length: 4\r\n\r\nfine"))
			var log bytes.Buffer
			tr := client(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			tr.config.Calls.add(other, 1)
			_, body, err := ask(t, tr, Options{}, "GET", link, nil, http.Header{"BelGov-Trace-Id": {own}})
			if c.foreign != (err != nil) || c.foreign != strings.Contains(log.String(), "level=ERROR") ||
				c.foreign != (body == "") {
				t.Errorf("%q, %v, logged %q", body, err, log.String())
			}
			if tr.config.Calls.has(own) {
				t.Error("the call is still under way")
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
		tr := client(t, nil)
		r, _ := http.NewRequest("GET", "http://127.0.0.1:1", nil)
		change(r)
		var e *Error
		if _, err := tr.Do(t.Context(), r, Options{}); !errors.As(err, &e) || e.Sent || tr.Counts().Opened != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// frozen is a Transport whose upstream, within a bubble of synctest, takes all and says nothing.
func frozen(t *testing.T) (_ *Transport, got *strings.Builder) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	got = new(strings.Builder)
	go io.Copy(got, theirs)
	return client(t, func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return NewSocket(ours, time.Minute), nil }
		c.Header, c.Continue = 20*time.Second, 0
	}), got
}

func TestWhatWasWaitedBeforeComesOffTheHeadersTimeout(t *testing.T) {
	for _, c := range []struct{ waited, want time.Duration }{
		{0, 20 * time.Second}, {12 * time.Second, 8 * time.Second}, {time.Hour, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr, _ := frozen(t)
			began := time.Now()
			_, _, err := ask(t, tr, Options{Waited: c.waited}, "GET", "http://up", nil, nil)
			if took := time.Since(began); !IsTimeout(err) || took < c.want || took > c.want+c.want/4 {
				t.Errorf("after %s, it took %s: %v", c.waited, took, err)
			}
		})
	}
}

func TestABodyGoesUpIfNobodyAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, got := frozen(t)
		began := time.Now()
		_, _, err := ask(t, tr, Options{}, "POST", "http://up", strings.NewReader("hello"),
			http.Header{"Expect": {"100-continue"}})
		took := time.Since(began)
		synctest.Wait()
		if !IsTimeout(err) || took < 21*time.Second || !strings.HasSuffix(got.String(), "\r\n\r\nhello") {
			t.Errorf("after %s, %v; the upstream got %q", took, err, got)
		}
	})
}
