package egress

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// read makes a watched body of a pipe and reads it to its end.
func read(idle time.Duration, write func(*io.PipeWriter)) (int64, error, time.Duration) {
	reader, writer := io.Pipe()
	body := newStallWatch(idle).body(reader)
	go write(writer)
	began := time.Now()
	n, err := io.Copy(io.Discard, body)
	return n, err, time.Since(began)
}

func TestABodyThatStandsStillIsCut(t *testing.T) {
	for name, sent := range map[string]string{"from the start": "", "after its beginning": "beginning"} {
		synctest.Test(t, func(t *testing.T) {
			_, err, took := read(time.Minute, func(w *io.PipeWriter) { io.WriteString(w, sent) })
			if !errors.Is(err, errStalled) || Classify(err) != (call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true, Sent: true}) {
				t.Errorf("%s: %v", name, err)
			}
			if took < time.Minute || took > 76*time.Second {
				t.Errorf("%s: cut after %v, want between idle and a quarter more", name, took)
			}
		})
	}
}

func TestABodyThatMakesProgressIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytes = 500
		n, err, took := read(time.Minute, func(w *io.PipeWriter) {
			for range bytes {
				time.Sleep(59 * time.Second)
				w.Write([]byte("x"))
			}
			w.Close()
		})
		if n != bytes || err != nil {
			t.Errorf("%d bytes in %v: %v", n, took, err)
		}
	})
}

func TestABodyThatNobodyReadsIsNotTheUpstreamsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		body := newStallWatch(time.Minute).body(reader)
		go func() { io.WriteString(writer, "all"); writer.Close() }()
		p := make([]byte, 1)
		for range 3 {
			time.Sleep(time.Hour) // the caller is slow
			if _, err := body.Read(p); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := body.Read(p); err != io.EOF {
			t.Fatal(err)
		}
	})
}

// The watch forgets bodies however they end, and rests when there are none.
func TestTheWatchRestsWithoutBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStallWatch(time.Minute)
		var bodies []*watchedBody
		for range 5 {
			bodies = append(bodies, w.body(io.NopCloser(bytes.NewReader(nil))))
		}
		for _, i := range []int{2, 0, 4, 1, 3, 3} { // middle, ends, twice
			if i%2 == 0 {
				bodies[i].Close()
			} else if _, err := io.ReadAll(bodies[i]); err != nil {
				t.Fatal(err)
			}
		}
		state := func() (watched, ticking bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.first != nil, w.ticking
		}
		if watched, _ := state(); watched {
			t.Error("a body is still watched")
		}
		time.Sleep(time.Minute)
		if _, ticking := state(); ticking {
			t.Error("the watch still ticks")
		}
		w.body(io.NopCloser(bytes.NewReader(nil))).Close()
		if _, ticking := state(); !ticking {
			t.Error("the watch did not start again")
		}
		time.Sleep(time.Minute)
	})
}

func TestStandingStillOverSockets(t *testing.T) {
	ca := newAuthority(t)
	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	for name, c := range map[string]struct{ h2, tls bool }{
		"HTTP/1.1": {}, "HTTP/1.1 over TLS": {tls: true}, "HTTP/2": {tls: true, h2: true},
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "some")
				w.(http.Flusher).Flush()
				<-release
			}))
			server.EnableHTTP2 = c.h2
			scheme := "http"
			if server.TLS = ca.config("up.example"); c.tls {
				scheme = "https"
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			defer close(release)
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			tr := transport(t, mustNew(t, Options{Resolver: dns.resolver(t), Roots: ca.pool()}), Timeouts{Idle: 400 * time.Millisecond}, toLoopback)
			answer, err := get(t, tr, scheme+"://up.example:"+port+"/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if string(body) != "some" {
				t.Errorf("read %q", body)
			}
			if got := Classify(err); got != (call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true, Sent: true}) {
				t.Errorf("%+v: %v", got, err)
			}
		})
	}
}

// slowPipe is a connection whose other side takes a little at a time.
type slowPipe struct {
	net.Conn
	deadlines atomic.Int32
}

func (s *slowPipe) SetWriteDeadline(t time.Time) error {
	s.deadlines.Add(1)
	return s.Conn.SetWriteDeadline(t)
}

func TestWritingThatMakesProgressIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		pipe := &slowPipe{Conn: here}
		c := &conn{Conn: pipe, idle: time.Minute}
		go func() {
			p := make([]byte, mostWrite)
			for {
				time.Sleep(50 * time.Second)
				if _, err := io.ReadFull(there, p); err != nil {
					return
				}
			}
		}()
		if n, err := c.Write(make([]byte, 20*mostWrite)); n != 20*mostWrite || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		c.Close()
		there.Close()
		time.Sleep(time.Minute)
	})
}

func TestWritingThatStandsStillIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := &conn{Conn: here, idle: time.Minute}
		began := time.Now()
		_, err := c.Write([]byte("x"))
		if took := time.Since(began); !isTimeout(err) || took < time.Minute || took > 76*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		there.Close()
		c.Close()
	})
}

func TestDeadlinesAreSetSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		pipe := &slowPipe{Conn: here}
		c := &conn{Conn: pipe, idle: time.Minute}
		var wait sync.WaitGroup
		wait.Go(func() { io.Copy(io.Discard, there) })
		for range 1000 {
			c.Write([]byte("x"))
		}
		if n := pipe.deadlines.Load(); n != 1 {
			t.Errorf("%d deadlines for 1000 writes at once, want 1", n)
		}
		c.SetWriteDeadline(time.Time{}) // as HTTP/2 does after a write of its own
		c.Write([]byte("x"))
		if n := pipe.deadlines.Load(); n != 3 {
			t.Errorf("%d deadlines, want the one taken away to be set anew", n)
		}
		c.Close()
		wait.Wait()
	})
}
