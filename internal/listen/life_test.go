package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/config"
)

// closesSoon waits for the server to end a caller's connection.
func (c *caller) closesSoon() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("the connection stays open")
	}
}

func TestSlowCallersAreEnded(t *testing.T) {
	f := listening(t, echo, func(l *config.Limits) {
		l.ReadHeaderTimeout, l.IdleTimeout, l.BodyIdleTimeout = 100*time.Millisecond, 100*time.Millisecond,
			100*time.Millisecond
	})
	for name, text := range map[string]string{
		"before anything": "", "in the header": "GET / HTTP/1.1\r\nHost", "between requests": get,
		"in the header of a second request": get + "GET / HT",
		"in a body":                         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
		"in a chunk":                        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		t.Run(name, func(t *testing.T) {
			who := f.dial()
			who.send(text)
			who.closesSoon()
		})
	}
	t.Run("in a TLS handshake", func(t *testing.T) {
		f := newFront(t, echo)
		f.listen(tlsConfig(t), func(l *config.Limits) { l.ReadHeaderTimeout = 100 * time.Millisecond })
		f.dial().closesSoon()
	})
	t.Run("while taking an answer", func(t *testing.T) {
		ended := make(chan error, 1)
		f := listening(t, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					ended <- err
					return
				}
			}
		}, func(l *config.Limits) { l.BodyIdleTimeout = 100 * time.Millisecond })
		who := f.dial()
		who.send(get)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		who.wantReset()
	})
}

func TestNothingChangesIfOneListenerCannotBeOpened(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := listening(t, echo)
	who := f.dial()
	who.ask(get)
	_, err = f.Prepare([]Listener{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}, limits, 0)
	if err == nil || len(f.Addrs()) != 1 || f.Addrs()[0].String() != f.addr {
		t.Errorf("%v, listening on %v", err, f.Addrs())
	}
	if a := who.ask(get); a.Close {
		t.Error("a connection is to be closed for a change that was refused")
	}
	f.dial().ask(get)
}

func TestADiscardedChangeListensNowhere(t *testing.T) {
	f := listening(t, echo)
	change, err := f.Prepare([]Listener{{Address: "127.0.0.1:0"}}, limits, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	opened := change.opened
	change.Discard()
	f.dial().ask(get)
	for _, b := range opened {
		if conn, err := net.Dial("tcp", b.socket.Addr().String()); err == nil {
			conn.Close()
			t.Error("it is listened on")
		}
	}
}

func TestAConnectionWhoseListenerGoesIsServedAndClosed(t *testing.T) {
	f := newFront(t, echo)
	two := []Listener{{Name: "stays", Address: "127.0.0.1:0"}, {Name: "goes", Address: "127.0.0.1:0"}}
	if err := f.Listen(two, limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	gone := f.Addrs()[1].String()
	f.addr = gone
	idle, busy := f.dial(), f.dial()
	idle.ask(get)
	busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
	eventually(t, "the request under way", func() bool {
		n := 0
		for _, c := range f.of(nil) {
			if c.current.Load() != nil {
				n++
			}
		}
		return n == 1
	})
	if err := f.Listen(two[:1], limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", gone); err == nil {
		conn.Close()
		t.Error("the address is still listened on")
	}
	for _, who := range []*caller{idle, busy} {
		request := get
		if who == busy {
			request = "b"
		}
		if a := who.ask(request); a.StatusCode != 200 || !a.Close {
			t.Errorf("%s %v", a.Status, a.Header)
		}
		who.ends()
	}
}

func TestAfterTheGraceConnectionsAreClosed(t *testing.T) {
	stuck := make(chan struct{})
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			close(stuck)
			<-r.Context().Done()
		}
	})
	if err := f.Listen([]Listener{{Name: "test", Address: "127.0.0.1:0"}}, limits, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	idle, busy := f.dial(), f.dial()
	idle.ask(get)
	busy.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
	<-stuck
	if err := f.Listen(nil, limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	idle.closesSoon() // with a reset where the machine is so slow that it counts as busy
	busy.wantReset()
}

func TestACertificateChangesWithoutClosingTheAddress(t *testing.T) {
	f := newFront(t, echo)
	f.listen(tlsConfig(t))
	before := f.dialTLS()
	first := before.conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if a := before.ask(get); a.Close {
		t.Error("it closes")
	}
	next := tlsConfig(t)
	if err := f.Listen([]Listener{{Name: "test", Address: "127.0.0.1:0", TLS: next}}, limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	if f.Addrs()[0].String() != f.addr {
		t.Fatal("the address is another")
	}
	after := f.dialTLS()
	if after.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Equal(first) {
		t.Error("the certificate is the one before")
	}
	after.ask(get)
	if a := before.ask(get); !a.Close {
		t.Error("a connection under the certificate before is kept")
	}
}

func TestLeavingClosesWithEachAnswer(t *testing.T) {
	f := listening(t, echo)
	who, idle := f.dial(), f.dial()
	who.ask(get)
	idle.ask(get)
	f.Leave()
	if a := who.ask(get); !a.Close {
		t.Error("it is kept")
	}
	who.ends()
	if a := idle.ask(get); a.StatusCode != 200 {
		t.Error("an idle connection was closed under a request")
	}
}

func TestShutdownWaitsForRequestsAndClosesIdleConnections(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
		_, _ = io.WriteString(w, "ok")
	})
	fresh, idle, busy := f.dial(), f.dial(), f.dial()
	idle.ask(get)
	busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	down := make(chan error, 1)
	go func() { down <- f.Shutdown(t.Context()) }()
	fresh.ends()
	idle.ends()
	close(goOn)
	if a := busy.read("GET"); a.body != "ok" || !a.Close {
		t.Errorf("%q %v", a.body, a.Header)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsWhatIsLeft(t *testing.T) {
	begun := make(chan struct{})
	f := listening(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	who := f.dial()
	who.send(get)
	<-begun
	if err := f.Shutdown(ended()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	who.wantReset()
}

// Nobody would cancel it: it was not there yet when its connection was cut.
func TestARequestBufferedWhenItsConnectionIsCutIsNotServed(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	f := newFront(t, func(http.ResponseWriter, *http.Request) { t.Error("it is served") })
	c := newConn(f.Server, ours)
	c.generation, c.base = &generation{limits: limits}, t.Context()
	go func() { _, _ = io.WriteString(theirs, get) }()
	if err := c.r.Fill(); err != nil {
		t.Fatal(err)
	}
	c.cut()
	if c.next() {
		t.Error("the connection goes on")
	}
}

// A request that comes while the connection is closed for idleness is answered, or the
// connection ends without a byte of it having been read: it may be sent again.
func TestNoRequestIsLostWhileAServerEnds(t *testing.T) {
	for range 20 {
		var served atomic.Int64
		f := listening(t, func(w http.ResponseWriter, _ *http.Request) { served.Add(1) })
		const callers = 20
		var answered atomic.Int64
		var begun, wg sync.WaitGroup
		begun.Add(callers)
		for range callers {
			who := f.dial()
			wg.Go(func() {
				defer who.conn.Close()
				for i := 0; ; i++ {
					if i == 3 {
						begun.Done()
					}
					if _, err := io.WriteString(who.conn, get); err != nil {
						break
					}
					a, err := who.tryRead("GET")
					if err != nil {
						break
					}
					answered.Add(1)
					if a.Close {
						break
					}
				}
			})
		}
		begun.Wait()
		if err := f.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if answered.Load() != served.Load() {
			t.Fatalf("%d of %d answers arrived", answered.Load(), served.Load())
		}
	}
}

// What the kernel has accepted would be reset when its socket is closed.
func TestConnectionsThatWaitToBeAcceptedAreServedWhenAListenerGoes(t *testing.T) {
	f := listening(t, echo)
	callers := make([]*caller, 50)
	for i := range callers {
		callers[i] = f.dial()
	}
	if err := f.Listen(nil, limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	for i, who := range callers {
		who.send(get)
		if a, err := who.tryRead("GET"); err != nil || a.StatusCode != 200 {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
}

func TestAConnectionThatWaitedTooLongIsNotServedBehindItsListenersEnd(t *testing.T) {
	f := listening(t, echo)
	b := f.bound[0]
	ours, theirs := net.Pipe()
	defer theirs.Close()
	if err := f.Listen(nil, limits, time.Minute); err != nil {
		t.Fatal(err)
	}
	if f.start(newConn(f.Server, ours), b, true) || len(f.of(nil)) > 0 {
		t.Error("a connection is served that nobody ends")
	}
}

// exhausted is a socket for whose first connection there is no file descriptor.
type exhausted struct {
	*net.TCPListener
	failed bool
}

func (l *exhausted) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.TCPListener.Accept()
}

func TestAcceptingGoesOnSoonAfterDescriptorsRanOut(t *testing.T) {
	f := listening(t, echo)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBound(&exhausted{TCPListener: socket.(*net.TCPListener)})
	b.generation.Store(f.bound[0].generation.Load())
	f.working.Go(func() { f.accept(b) })
	f.addr = socket.Addr().String()
	f.dial().ask(get)
	close(b.stop)
	<-b.stopped
}

func TestNothingIsLeftOfMisbehavingCallers(t *testing.T) {
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/refused":
			w.WriteHeader(403)
		case "/long":
			_, _ = w.Write(make([]byte, 1<<20))
		default:
			echo(w, r)
		}
	}, func(l *config.Limits) {
		l.ReadHeaderTimeout, l.IdleTimeout, l.BodyIdleTimeout = 200*time.Millisecond, 200*time.Millisecond,
			200*time.Millisecond
	})
	rounds := 1
	if s := os.Getenv("LISTEN_SOAK"); s != "" {
		_, _ = fmt.Sscan(s, &rounds)
	}
	texts := []string{
		"", "GET", get, get + get + get, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", "GET /long HTTP/1.1\r\nHost: a\r\n\r\n",
		"x\r\n\r\n",
		"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nxxx", expects, expects + "ab", expects + "abc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage", "PRI * HTTP/2.0\r\n\r\nxx",
		"PRI * HTTP/2.0\r\n\r\n",
	}
	for range rounds {
		var wg sync.WaitGroup
		for _, text := range texts {
			for how := range 4 {
				wg.Go(func() {
					conn, err := net.Dial("tcp", f.addr)
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, text)
					switch how {
					case 0: // leaves at once
					case 1:
						_ = conn.(*net.TCPConn).CloseWrite()
						_, _ = io.Copy(io.Discard, conn)
					case 2:
						_ = conn.(*net.TCPConn).SetLinger(0)
					case 3:
						_ = conn.SetReadDeadline(time.Now().Add(time.Second))
						_, _ = io.Copy(io.Discard, conn)
					}
				})
			}
		}
		wg.Wait()
	}
	eventually(t, "the end of all connections", func() bool {
		f.slots.mu.Lock()
		defer f.slots.mu.Unlock()
		return len(f.slots.open) == 0 && f.lingering.Load() == 0
	})
	if open := f.of(nil); len(open) != 0 {
		t.Errorf("%d connections are remembered", len(open))
	}
	if log := f.log.String(); strings.Contains(log, "panicked") || strings.Contains(log, "garbage") {
		t.Error(log)
	}
}
