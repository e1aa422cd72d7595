package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

// slowPipe is a connection whose other side takes a little at a time.
type slowPipe struct {
	net.Conn
	deadlines atomic.Int32
}

func (s *slowPipe) SetWriteDeadline(t time.Time) error {
	s.deadlines.Add(1)
	return s.Conn.SetWriteDeadline(t)
}

// standing runs a test of a Socket that may stand still for a minute, in a bubble of synctest.
func standing(t *testing.T, test func(t *testing.T, c *wire.Socket, pipe *slowPipe, there net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		pipe := &slowPipe{Conn: here}
		c := wire.NewSocket(pipe, time.Minute)
		defer c.Close()
		test(t, c, pipe, there)
	})
}

// cut checks that reading or writing is given up after a minute, or little more.
func cut(t *testing.T, do func([]byte) (int, error)) {
	t.Helper()
	began := time.Now()
	_, err := do([]byte("x"))
	if took := time.Since(began); !wire.IsTimeout(err) || took < time.Minute || took > 76*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// piece is the largest one that has to be taken within the limit.
const piece = 32 << 10

func TestWritingIsCutOnlyIfItStandsStill(t *testing.T) {
	standing(t, func(t *testing.T, c *wire.Socket, _ *slowPipe, there net.Conn) {
		go func() {
			for range 20 {
				time.Sleep(50 * time.Second)
				io.ReadFull(there, make([]byte, piece))
			}
		}()
		if n, err := c.Write(make([]byte, 20*piece)); n != 20*piece || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		cut(t, c.Write)
	})
}

func TestDeadlinesAreSetSeldom(t *testing.T) {
	standing(t, func(t *testing.T, c *wire.Socket, pipe *slowPipe, there net.Conn) {
		go io.Copy(io.Discard, there)
		for range 1000 {
			c.Write([]byte("x"))
		}
		if n := pipe.deadlines.Load(); n != 1 {
			t.Errorf("%d deadlines for 1000 writes at once, want 1", n)
		}
	})
}

// piped is a Transport whose upstream, within a bubble of synctest, has the other end of a pipe.
func piped(t *testing.T, wrap func(net.Conn) net.Conn) (_ *client, theirs net.Conn) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	if wrap != nil {
		ours = wrap(ours)
	}
	return newClient(t, func(c *wire.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return wire.NewSocket(ours, time.Minute), nil }
		c.Header, c.Continue, c.IdleConn = 20*time.Second, 0, 30*time.Second
	}), theirs
}

// silent is an upstream that takes all and says nothing.
func silent(t *testing.T) (_ *client, got *strings.Builder) {
	tr, theirs := piped(t, nil)
	got = new(strings.Builder)
	go io.Copy(got, theirs)
	return tr, got
}

// body asks for an answer of whose body the upstream then sends what it likes.
func body(t *testing.T, ctx context.Context, tr *client, theirs net.Conn) io.ReadCloser {
	t.Helper()
	go func() {
		request(theirs)
		io.WriteString(theirs, ok200+"Content-Length: 1000\r\n\r\n")
	}()
	r, _ := http.NewRequest("GET", "http://up", nil)
	a, err := tr.Do(ctx, r, wire.Options{})
	testkit.Must(t, err)
	return a.Body
}

// A Read has the limit to itself however long the caller took before it.
func TestReadingIsCutOnlyIfItStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, theirs := piped(t, nil)
		in := body(t, t.Context(), tr, theirs)
		go func() {
			for range 20 {
				time.Sleep(59 * time.Second)
				theirs.Write([]byte("x"))
			}
		}()
		for i := range 20 {
			if i%10 == 9 {
				time.Sleep(time.Hour) // the caller is slow
			}
			if _, err := in.Read(make([]byte, 1)); err != nil {
				t.Fatal(i, err)
			}
		}
		cut(t, in.Read)
	})
}

// cancels is a connection that is cancelled while a deadline is set on it.
type cancels struct {
	net.Conn
	armed     bool
	cancel    func()
	once      sync.Once
	cancelled chan struct{}
}

func (c *cancels) SetDeadline(at time.Time) error {
	err := c.Conn.SetDeadline(at)
	c.once.Do(func() { close(c.cancelled) })
	return err
}

func (c *cancels) SetReadDeadline(at time.Time) error {
	if c.armed {
		c.armed = false
		c.cancel()
		<-c.cancelled
	}
	return c.Conn.SetReadDeadline(at)
}

func TestACallThatIsCancelledWhileItSetsADeadlineEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		conn := &cancels{cancel: cancel, cancelled: make(chan struct{})}
		tr, theirs := piped(t, func(c net.Conn) net.Conn { conn.Conn = c; return conn })
		in := body(t, ctx, tr, theirs)
		conn.armed = true
		began := time.Now()
		if _, err := in.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) || time.Since(began) > 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestAnUnusedConnectionIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, theirs := piped(t, nil)
		go answering(fine)(0, theirs)
		if _, text, err := ask(t, tr, wire.Options{}, "GET", "http://up", nil, nil); text != "fine" {
			t.Fatalf("%q, %v", text, err)
		}
		tr.pass(30 * time.Second)
		time.Sleep(31 * time.Second)
		if _, err := theirs.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
}

func TestWhatWasWaitedBeforeComesOffTheHeadersTimeout(t *testing.T) {
	for _, c := range []struct{ waited, want time.Duration }{
		{0, 20 * time.Second}, {12 * time.Second, 8 * time.Second}, {time.Hour, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr, _ := silent(t)
			began := time.Now()
			_, _, err := ask(t, tr, wire.Options{Waited: c.waited}, "GET", "http://up", nil, nil)
			if took := time.Since(began); !wire.IsTimeout(err) || took < c.want || took > c.want+c.want/4 {
				t.Errorf("after %s, it took %s: %v", c.waited, took, err)
			}
		})
	}
}

func TestABodyGoesUpIfNobodyAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, got := silent(t)
		began := time.Now()
		_, _, err := ask(t, tr, wire.Options{}, "POST", "http://up", strings.NewReader("hello"),
			http.Header{"Expect": {"100-continue"}})
		took := time.Since(began)
		synctest.Wait()
		if !wire.IsTimeout(err) || took < 21*time.Second || !strings.HasSuffix(got.String(), "\r\n\r\nhello") {
			t.Errorf("after %s, %v; the upstream got %q", took, err, got)
		}
	})
}
