package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
)

// closesSoon waits for the server to end a caller's connection.
func (c *caller) closesSoon() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("the connection stays open")
	}
}

// quick are limits of time that pass while a test waits.
func quick(l *config.Limits) {
	const d = 100 * time.Millisecond
	l.ReadHeaderTimeout, l.IdleTimeout, l.BodyIdleTimeout = d, d, d
}

func TestSlowCallersAreEnded(t *testing.T) {
	f := listening(t, echo, quick)
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
		f.listen(tlsConfig(t), quick)
		f.dial().closesSoon()
	})
	t.Run("while taking an answer", func(t *testing.T) {
		ended := make(chan error, 1)
		who := listening(t, func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
			ended <- err
		}, quick).dial()
		who.send(get)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		who.wantReset()
	})
}

// wantClosed checks that nobody listens on an address.
func wantClosed(t *testing.T, address string) {
	t.Helper()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Errorf("%s is listened on", address)
	}
}

func TestNothingChangesIfOneListenerCannotBeOpened(t *testing.T) {
	f, taken := listening(t, echo), listening(t, echo)
	who := f.dial()
	who.ask(get)
	free := testkit.Address(t)
	_, err := f.Prepare([]listen.Listener{{Address: free}, {Address: taken.addr}}, limits, 0)
	if err == nil || len(f.Addrs()) != 1 || f.Addrs()[0].String() != f.addr {
		t.Errorf("%v, listening on %v", err, f.Addrs())
	}
	wantClosed(t, free)
	change, err := f.Prepare([]listen.Listener{{Address: free}}, limits, time.Minute)
	testkit.Must(t, err)
	change.Discard()
	wantClosed(t, free)
	if a := who.ask(get); a.Close {
		t.Error("a connection is to be closed for a change that did not come about")
	}
	f.dial().ask(get)
}

func TestAConnectionWhoseListenerGoesIsServedAndClosed(t *testing.T) {
	begun := make(chan struct{}, 2)
	f := newFront(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		echo(w, r)
	})
	two := []listen.Listener{{Name: "stays", Address: "127.0.0.1:0"}, {Name: "goes", Address: "127.0.0.1:0"}}
	testkit.Must(t, f.Listen(two, limits, time.Minute))
	f.addr = f.Addrs()[1].String()
	idle, busy := f.dial(), f.dial()
	idle.ask(get)
	busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
	<-begun
	<-begun
	testkit.Must(t, f.Listen(two[:1], limits, time.Minute))
	wantClosed(t, f.addr)
	for who, request := range map[*caller]string{idle: get, busy: "b"} {
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
	testkit.Must(t, f.Listen([]listen.Listener{{Name: "test", Address: "127.0.0.1:0"}}, limits, 10*time.Millisecond))
	idle, busy := f.dial(), f.dial()
	idle.ask(get)
	busy.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
	<-stuck
	testkit.Must(t, f.Listen(nil, limits, time.Minute))
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
	testkit.Must(t, f.Listen([]listen.Listener{{Name: "test", Address: "127.0.0.1:0", TLS: next}}, limits, time.Minute))
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
	one, other := f.dial(), f.dial()
	one.ask(get)
	other.ask(get)
	f.Leave()
	for _, who := range []*caller{one, other} { // no idle one is closed under a request
		if a := who.ask(get); !a.Close {
			t.Error("it is kept")
		}
		who.ends()
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

// cutInRead is a connection that is cut while a Read is under way that then gives a whole request.
type cutInRead struct {
	net.Conn
	cut    func()
	closed chan struct{}
}

func (c *cutInRead) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	go c.cut()
	<-c.closed
	return n, err
}

func (c *cutInRead) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return c.Conn.Close()
}

// Nobody would cancel it: it was not there yet when its connection was cut.
func TestARequestBufferedWhenItsConnectionIsCutIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := piped(t, func(http.ResponseWriter, *http.Request) { t.Error("it is served") })
		who := f.pipe(func(c net.Conn) net.Conn {
			return &cutInRead{c, func() { _ = f.Shutdown(ended()) }, make(chan struct{})}
		})
		_, _ = io.WriteString(who, get)
		synctest.Wait()
	})
}

// A request that comes while the connection is closed for idleness is answered, or the
// connection ends without a byte of it having been read: it may be sent again.
func TestNoRequestIsLostWhileAServerEnds(t *testing.T) {
	for range 20 {
		var served, answered atomic.Int64
		f := listening(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
		const callers = 20
		var wg sync.WaitGroup
		begun := make(chan struct{}, callers)
		for range callers {
			who := f.dial()
			wg.Go(func() {
				defer who.conn.Close()
				for i := 0; ; i++ {
					if i == 3 {
						begun <- struct{}{}
					}
					_, _ = io.WriteString(who.conn, get) // reading tells of an error
					a, err := who.tryRead("GET")
					if err == nil {
						answered.Add(1)
					}
					if err != nil || a.Close {
						return
					}
				}
			})
		}
		for range callers {
			<-begun
		}
		testkit.Must(t, f.Shutdown(t.Context()))
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
	testkit.Must(t, f.Listen(nil, limits, time.Minute))
	for i, who := range callers {
		who.send(get)
		if a, err := who.tryRead("GET"); err != nil || a.StatusCode != 200 {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
}

func TestConnectionsThatWaitForAPlaceEndWithTheirListener(t *testing.T) {
	begun := make(chan struct{})
	f := listening(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		_, _ = io.ReadAll(r.Body)
	}, func(l *config.Limits) { l.MaxConnections = 1 })
	who, waits := f.dial(), f.dial()
	who.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
	<-begun
	testkit.Eventually(t, "the other to wait", func() bool { return f.open.Load() == 2 })
	l := limits
	l.MaxConnections = 1
	testkit.Must(t, f.Listen(nil, l, time.Minute))
	waits.closesSoon()
	if a := who.ask("b"); a.StatusCode != 200 || !a.Close {
		t.Errorf("%s %v", a.Status, a.Header)
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
	f := newFront(t, echo)
	f.OpenBy(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		testkit.Must(t, err)
		return &exhausted{TCPListener: l.(*net.TCPListener)}, nil
	})
	f.listen(nil)
	f.dial().ask(get)
	if !f.Short() {
		t.Error("nobody is told that descriptors are short")
	}
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
	}, quick)
	var wg sync.WaitGroup
	for _, text := range []string{
		"", "GET", get, get + get + get, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", "GET /long HTTP/1.1\r\nHost: a\r\n\r\n",
		"x\r\n\r\n",
		"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nxxx", expects, expects + "ab", expects + "abc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage", "PRI * HTTP/2.0\r\n\r\nxx",
		"PRI * HTTP/2.0\r\n\r\n",
	} {
		for name, leave := range map[string]func(*net.TCPConn){
			"at once":      func(*net.TCPConn) {},
			"half":         func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c) },
			"with a reset": func(c *net.TCPConn) { _ = c.SetLinger(0) },
			"never":        func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) },
		} {
			who := f.dial()
			wg.Go(func() {
				if _, err := io.WriteString(who.conn, text); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				leave(who.conn.(*net.TCPConn))
				_ = who.conn.Close()
			})
		}
	}
	wg.Wait()
	testkit.Eventually(t, "the end of all connections", func() bool { return f.open.Load() == 0 })
	if log := f.log.String(); strings.Contains(log, "panicked") || strings.Contains(log, "garbage") {
		t.Error(log)
	}
}
