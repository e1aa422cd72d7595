package listen_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// wantReset reads to the end, which must be a reset.
func (c *caller) wantReset() {
	c.t.Helper()
	if text, err := c.rest(); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("the caller cannot tell that the answer was cut: %d bytes, %v", len(text), err)
	}
}

// says writes texts, one by one.
func says(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, text := range texts {
			_, _ = io.WriteString(w, text)
		}
	}
}

// status answers with a status alone.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// with sets a field before another handler.
func with(name, value string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()[name] = []string{value}
		h(w, r)
	}
}

func flush(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }

// inTurn runs handlers one after the other.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, h := range handlers {
			h(w, r)
		}
	}
}

func TestEveryCutIsAReset(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, handler := range map[string]http.HandlerFunc{
		"before anything":              abort,
		"of an unknown length":         inTurn(says(long), abort),
		"flushed":                      inTurn(says("some"), flush, abort),
		"of a known length":            with("Content-Length", "200000", inTurn(says(long), abort)),
		"shorter than its length":      with("Content-Length", "200000", says(long)),
		"longer than its length":       with("Content-Length", "5", says(long)),
		"by a fault behind the header": inTurn(status(200), func(http.ResponseWriter, *http.Request) { panic("fault") }),
	} {
		both(t, name, handler, func(t *testing.T, dial func() *caller) {
			for _, version := range []string{"1.0", "1.1"} {
				who := dial()
				who.send("GET / HTTP/" + version + "\r\nHost: a\r\n\r\n")
				who.wantReset()
			}
		})
	}
}

func TestAFaultBeforeTheHeaderIsAProblem(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		panic("secret\n")
	})
	f.dial().ask(get).problem(t, 500)
	if log := f.log.String(); !strings.Contains(log, "a handler panicked") || !strings.Contains(log, "requestId="+testID) {
		t.Errorf("%s", log)
	}
}

func TestAnswersAreFramed(t *testing.T) {
	const head, old = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"
	const oldKept = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
	long := strings.Repeat("0123456789abcdef", 1<<12)
	nothing := says()
	for _, c := range []struct {
		name, request string
		handler       http.HandlerFunc
		status        int
		header        string // name: value, or name: for none
		body          string
		keeps         bool
	}{
		{"nothing", get, nothing, 200, "Content-Length: 0", "", true},
		{"a short body gets a length", get, says("abc"), 200, "Content-Length: 3", "abc", true},
		{"a long body is chunked", get, says(long[:4096], long[4096:]), 200, "Content-Length:", long, true},
		{"many small writes", get, says(strings.Split(long, "")...), 200, "Content-Length:", long, true},
		{"a length that is given", get, with("Content-Length", "65536", says(long[:5], long[5:])), 200,
			"Content-Length: 65536", long, true},
		{"a flush makes chunks", get, inTurn(says("ab"), flush, says("c")), 200, "Content-Length:", "abc", true},
		{"HTTP/1.0 has no chunks", oldKept, says(long), 200, "Transfer-Encoding:", long, false},
		{"HTTP/1.0 keeps a connection if asked", oldKept, says("abc"), 200, "Connection: keep-alive", "abc", true},
		{"HTTP/1.0 closes", old, says("abc"), 200, "Connection: close", "abc", false},
		{"the caller closes", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", nothing, 200,
			"Connection: close", "", false},
		{"the handler closes", get, with("Connection", "close", nothing), 200, "Connection: close", "", false},
		{"HEAD", head, says(long), 200, "Content-Length:", "", true},
		{"HEAD with a length", head, with("Content-Length", "7", nothing), 200, "Content-Length: 7", "", true},
		{"HEAD of an unknown length", head, flush, 200, "Content-Length:", "", true},
		{"204 has no length", get, with("Content-Length", "0", status(204)), 204, "Content-Length:", "", true},
		{"304 keeps its length", get, with("Content-Length", "7", status(304)), 304, "Content-Length: 7", "", true},
		{"no media type is guessed", get, says("<html>"), 200, "Content-Type:", "<html>", true},
		{"a value cannot end the header", get, with("X-A", "1\r\nX-B: 2", nothing), 200, "X-B:", "", true},
		{"a name cannot end the header", get, with("X-A: 1\r\nX-B", "2", nothing), 200, "X-B:", "", true},
		{"a Date of the handler's", get, with("Date", "then", nothing), 200, "Date: then", "", true},
		{"a header longer than the buffer", get, with("X-A", long[:5000], says("abc")), 200, "X-A: " + long[:5000], "abc",
			true},
	} {
		both(t, c.name, c.handler, func(t *testing.T, dial func() *caller) {
			who := dial()
			for range 2 {
				a := who.ask(c.request)
				if a.StatusCode != c.status || a.body != c.body || len(a.Header["Date"]) != 1 {
					t.Errorf("%s %v %d bytes", a.Status, a.Header, len(a.body))
				}
				if a.Close { // net/http takes it out
					a.Header.Set("Connection", "close")
				}
				name, value, _ := strings.Cut(c.header, ":")
				if got := a.Header.Get(name); got != strings.TrimSpace(value) {
					t.Errorf("%s: %q", name, got)
				}
				if !c.keeps {
					who.ends()
					return
				}
			}
		})
	}
}

func TestTrailersFollowTheBody(t *testing.T) {
	trailer := func(name, value string) http.HandlerFunc { return with(http.TrailerPrefix+name, value, says()) }
	f := listening(t, inTurn(with("Trailer", "X-A, X-B", says("abc")), trailer("X-A", "1"), trailer("X-C", "3")))
	unannounced := listening(t, inTurn(says("abc"), trailer("X-A", "1"), trailer("X-C", "3")))
	for _, f := range []*front{f, unannounced} {
		a := f.dial().ask(get)
		if a.body != "abc" || a.Trailer.Get("X-A") != "1" || a.Trailer.Get("X-C") != "3" || a.Header.Get("X-C") != "" {
			t.Errorf("%v %q %v", a.Header, a.body, a.Trailer)
		}
		if a := f.dial().ask("GET / HTTP/1.0\r\n\r\n"); a.body != "abc" || len(a.Trailer) > 0 {
			t.Errorf("HTTP/1.0: %v %q %v", a.Header, a.body, a.Trailer)
		}
	}
}

func TestInterimAnswersPrecedeTheFinalOne(t *testing.T) {
	f := listening(t, with("Link", "</style>", inTurn(status(103), status(102),
		func(w http.ResponseWriter, _ *http.Request) { w.Header().Del("Link") }, status(201), status(103), says("abc"))))
	who := f.dial()
	who.send(get)
	for _, want := range []string{"103 </style> ", "102 </style> ", "201  abc"} {
		if a := who.read("GET"); fmt.Sprintf("%d %s %s", a.StatusCode, a.Header.Get("Link"), a.body) != want {
			t.Errorf("%s %v %q, want %s", a.Status, a.Header, a.body, want)
		}
	}
	if a := f.dial().ask("GET / HTTP/1.0\r\n\r\n"); a.StatusCode != 201 {
		t.Errorf("HTTP/1.0 knows no interim answers: %s", a.Status)
	}
}

const expects = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

func TestABodyIsAskedForWhenItIsRead(t *testing.T) {
	f := listening(t, echo)
	who := f.dial()
	for range 2 {
		who.send(expects)
		if a := who.read("POST"); a.StatusCode != 100 {
			t.Fatalf("%s", a.Status)
		}
		if a := who.ask("abc"); a.body != "POST / abc" || a.Close {
			t.Fatalf("%q %v", a.body, a.Header)
		}
	}
	if a := f.dial().ask("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"); a.body !=
		"POST / abc" {
		t.Errorf("HTTP/1.0 knows no 100: %q", a.body)
	}
}

func TestARefusalBeforeTheBodySendsNo100AndCloses(t *testing.T) {
	who := listening(t, status(403)).dial()
	if a := who.ask(expects); a.StatusCode != 403 || !a.Close {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	who.ends()
}

// The transport of a proxy reads the body in a goroutine of its own, which may go on while
// the answer begins.
func TestNo100ComesBehindTheFinalHeader(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = r.Body.Read(make([]byte, 1))
		}()
		w.WriteHeader(403)
		_ = http.NewResponseController(w).Flush()
		_ = r.Context()
		t.Cleanup(func() { <-done })
	})
	for range 50 {
		who := f.dial()
		who.send(expects)
		a := who.read("POST")
		if a.StatusCode == 100 {
			a = who.read("POST")
		}
		if a.StatusCode != 403 {
			t.Fatalf("%s", a.Status)
		}
		who.ends()
	}
}

// Callers that send everything before they read: with the connection closed under them, the
// kernel answers what they still send with a reset, which destroys what they had not read.
func TestARefusalReachesACallerThatSendsEverythingFirst(t *testing.T) {
	for _, framing := range []string{"Content-Length: 16777216\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1000000\r\n"} {
		both(t, framing, inTurn(status(413), says("too much")), func(t *testing.T, dial func() *caller) {
			who := dial()
			who.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
			who.send(strings.Repeat("x", 16<<20))
			if a := who.read("POST"); a.StatusCode != 413 || a.body != "too much" || !a.Close {
				t.Errorf("%s %v", a.Status, a.Header)
			}
		})
	}
}

// standsStill is a connection whose process stands still when it waits for what a refused caller sends: until that has
// come, and the time for it is over.
type standsStill struct {
	*net.TCPConn
	t       *testing.T
	refused bool
}

func (c *standsStill) CloseWrite() error {
	c.refused = true
	return c.TCPConn.CloseWrite()
}

func (c *standsStill) SetReadDeadline(at time.Time) error {
	if c.refused {
		c.refused, at = false, time.Unix(1, 0)
		raw, err := c.SyscallConn()
		testkit.Must(c.t, err)
		testkit.Eventually(c.t, "bytes of the caller", func() (came bool) {
			_ = raw.Control(func(fd uintptr) {
				n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
				came = n > 0
			})
			return came
		})
	}
	return c.TCPConn.SetReadDeadline(at)
}

func TestARefusalReachesTheCallerOfAProcessThatStoodStill(t *testing.T) {
	f := newFront(t, status(413))
	f.wrap = func(c *net.TCPConn) net.Conn { return &standsStill{TCPConn: c, t: t} }
	f.listen(nil)
	who := f.dial()
	who.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n")
	who.send(strings.Repeat("x", 16<<20))
	if a := who.read("POST"); a.StatusCode != 413 {
		t.Errorf("%s", a.Status)
	}
}

// halfCloses is a pipe whose server can say that nothing more comes.
type halfCloses struct{ net.Conn }

func (halfCloses) CloseWrite() error { return nil }

func TestRefusedCallersAreNotReadForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 500 // at once
		f := piped(t, status(413))
		var refused []net.Conn
		for range most + 1 {
			who := f.pipe(func(c net.Conn) net.Conn { return halfCloses{c} })
			_, _ = io.WriteString(who, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
			if a, err := http.ReadResponse(bufio.NewReader(who), nil); err != nil || a.StatusCode != 413 {
				t.Fatal(a, err)
			}
			synctest.Wait()
			refused = append(refused, who)
		}
		isRead := func(who net.Conn) bool { _, err := who.Write([]byte("x")); return err == nil }
		if isRead(refused[most]) {
			t.Error("too many are read from")
		}
		for i := range 29 {
			if time.Sleep(time.Second); !isRead(refused[0]) {
				t.Fatalf("after %d seconds of 30 a caller is not read from", i)
			}
		}
		if isRead(refused[1]) {
			t.Error("one that sends nothing is waited for")
		}
		if time.Sleep(2 * time.Second); isRead(refused[0]) {
			t.Error("after 30 seconds a caller is still read from")
		}
	})
}

func TestAShortBodyThatNobodyReadKeepsTheConnection(t *testing.T) {
	who := listening(t, says("ok")).dial()
	for range 3 {
		if a := who.ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); a.body != "ok" || a.Close {
			t.Fatalf("%q %v", a.body, a.Header)
		}
	}
}

func TestABodyCanBeReadWhileTheAnswerIsWritten(t *testing.T) {
	who := listening(t, func(w http.ResponseWriter, r *http.Request) {
		flush(w, r)
		for buf := make([]byte, 1); ; {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			if flush(w, r); err != nil {
				return
			}
		}
	}).dial()
	who.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(who.r, nil)
	testkit.Must(t, err)
	defer resp.Body.Close()
	for _, b := range []byte("abcd") {
		who.send("1\r\n" + string(b) + "\r\n")
		buf := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || buf[0] != b {
			t.Fatalf("%q %v", buf, err)
		}
	}
	who.send("0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

func TestNothingIsWrittenAfterTheHandlerHasReturned(t *testing.T) {
	late := make(chan http.ResponseWriter, 1)
	body := make(chan io.Reader, 1)
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "ok")
		select {
		case late <- w:
			body <- r.Body
		default:
		}
	})
	who := f.dial()
	who.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	w := <-late
	if _, err := io.WriteString(w, "more"); err == nil {
		t.Error("a write was taken")
	}
	w.WriteHeader(500)
	if http.NewResponseController(w).Flush() == nil {
		t.Error("a flush was taken")
	}
	if _, err := (<-body).Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("reading the body: %v", err)
	}
	if a := who.ask(get); a.body != "ok" {
		t.Errorf("%q", a.body)
	}
}

func TestAReadOfTheBodyEndsWithTheHandler(t *testing.T) {
	read := make(chan error, 1)
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		go func() {
			_, err := io.ReadAll(r.Body)
			read <- err
		}()
		w.WriteHeader(403)
	})
	if a := f.dial().ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"); a.StatusCode != 403 {
		t.Errorf("%s", a.Status)
	}
	if err := <-read; err == nil {
		t.Error("half a body was taken for the whole")
	}
}

// lateDeadline sets a deadline that is to come, once it is armed, only after one that is over has been set.
type lateDeadline struct {
	net.Conn
	armed        atomic.Bool
	arming, over chan struct{}
}

func (c *lateDeadline) SetReadDeadline(at time.Time) error {
	future := at.After(time.Now())
	if future && c.armed.CompareAndSwap(true, false) {
		close(c.arming)
		<-c.over
		return c.Conn.SetReadDeadline(at)
	}
	err := c.Conn.SetReadDeadline(at)
	if !future && !at.IsZero() {
		close(c.over)
	}
	return err
}

func TestAReadThatHasJustBegunEndsWithTheHandler(t *testing.T) {
	late := &lateDeadline{arming: make(chan struct{}), over: make(chan struct{})}
	f := piped(t, func(_ http.ResponseWriter, r *http.Request) {
		late.armed.Store(true)
		go r.Body.Read(make([]byte, 5))
		<-late.arming
	})
	f.listen(nil, func(l *config.Limits) { l.BodyIdleTimeout = time.Hour })
	who := f.caller(f.pipe(func(c net.Conn) net.Conn { late.Conn = c; return late }))
	who.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
	if a, err := who.tryRead("POST"); err != nil {
		t.Errorf("%v, %v: the handler's end waits for the caller", a, err)
	}
}

func TestHalfABodyIsAnError(t *testing.T) {
	read := make(chan error, 1)
	f := listening(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	for _, framing := range []string{"Content-Length: 5\r\n\r\nhel", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		who := f.dial()
		who.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
		_ = who.conn.(*net.TCPConn).CloseWrite()
		if err := <-read; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", framing, err)
		}
	}
}

func TestACallerThatClosesItsSendingSideIsServed(t *testing.T) {
	begun, release := make(chan struct{}, 10), make(chan struct{})
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/opening" {
			listen.KeepServing(wrapped{w})
		}
		begun <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-release:
			_, _ = io.WriteString(w, "served")
		}
	})
	begin := func(request string) *caller {
		who := f.dial()
		who.send(request)
		_ = who.conn.(*net.TCPConn).CloseWrite()
		<-begun
		return who
	}
	served := map[string]*caller{}
	for name, request := range map[string]string{
		"HTTP/1.0": "GET / HTTP/1.0\r\n\r\n", "a write": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"an opening": "GET /opening HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		served[name] = begin(request)
	}
	// Once these have been seen to leave, one after the other, those have been looked at, too.
	for _, request := range []string{get, get + get} {
		if a := begin(request).read("GET"); a.body != "" {
			t.Errorf("%q", a.body)
		}
	}
	close(release)
	for name, who := range served {
		if a := who.read("GET"); a.body != "served" {
			t.Errorf("%s: %q", name, a.body)
		}
	}
}

// wrapped is what a layer above makes of a writer.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestACallerThatIsGoneEndsItsRequest(t *testing.T) {
	for name, c := range map[string]struct {
		tls, writes bool
		leave       func(net.Conn)
	}{
		"with a reset":          {leave: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		"over TLS":              {tls: true, leave: func(net.Conn) {}},
		"while it gets answers": {writes: true, leave: func(net.Conn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			f := newFront(t, func(w http.ResponseWriter, r *http.Request) {
				if !c.tls {
					listen.KeepServing(w)
				}
				close(begun)
				for c.writes && r.Context().Err() == nil {
					_, _ = w.Write(make([]byte, 64<<10))
				}
				<-r.Context().Done()
				close(ended)
			})
			who := f.listening(c.tls)()
			who.send(get)
			<-begun
			c.leave(who.conn)
			who.conn.Close()
			<-ended
		})
	}
}
