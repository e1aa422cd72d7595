package egress

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// connections is a server that counts the connections it gets.
func connections(t testing.TB, handler http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	opened := new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, opened
}

func fetch(t *testing.T, tr *Transport, url string) string {
	t.Helper()
	answer, err := get(t, tr, url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A clock that the test moves.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time        { return time.Unix(0, c.Load()) }
func (c *clock) move(by time.Duration) { c.Add(int64(by)) }
func middle() float64                  { return 0.5 }

// fetchOverOneAgain fetches until a connection is used again: one that has just been used
// rests first.
func fetchOverOneAgain(t *testing.T, tr *Transport, url string, opened *atomic.Int32) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		before := opened.Load()
		fetch(t, tr, url)
		switch {
		case opened.Load() == before:
			return
		case time.Now().After(end):
			t.Fatal("no connection is used again")
		}
	}
}

func TestConnectionsAreUsedAgainUntilTheirAge(t *testing.T) {
	server, opened := connections(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	c := new(clock)
	tr := transport(t, mustNew(t, Options{Now: c.now, Random: middle}), Timeouts{MaxConnAge: time.Minute}, toLoopback)
	fetchOverOneAgain(t, tr, server.URL, opened)
	c.move(59 * time.Second)
	fetchOverOneAgain(t, tr, server.URL, opened)
	before := opened.Load()
	c.move(2 * time.Second)
	fetch(t, tr, server.URL)
	if n := opened.Load(); n != before+1 {
		t.Fatalf("%d connections were opened after the age, want 1", n-before)
	}
}

func TestANewNameServerAnswerIsFollowedAfterTheAge(t *testing.T) {
	first, _ := connections(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "first") })
	_, port, _ := net.SplitHostPort(first.Listener.Addr().String())
	other, err := net.Listen("tcp", "127.0.0.2:"+port) // the same port elsewhere
	if err != nil {
		t.Fatalf("listening on a second loopback address: %v", err)
	}
	second := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "second")
	})}
	go second.Serve(other)
	defer second.Close()

	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	c := new(clock)
	tr := transport(t, mustNew(t, Options{Now: c.now, Random: middle, Resolver: dns.resolver(t)}),
		Timeouts{MaxConnAge: time.Minute}, toLoopback)
	url := "http://up.example:" + port
	if got := fetch(t, tr, url); got != "first" {
		t.Fatal(got)
	}
	dns.addresses["up.example."] = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
	c.move(61 * time.Second)
	if got := fetch(t, tr, url); got != "second" {
		t.Fatalf("%s after the age", got)
	}
}

func TestClosingIdleConnectionsCutsNoRequest(t *testing.T) {
	release := make(chan struct{})
	server, opened := connections(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if r.URL.Path == "/slow" {
			<-release
		}
		io.WriteString(w, "whole")
	})
	tr := transport(t, mustNew(t, Options{}), Timeouts{}, toLoopback)
	answer, err := get(t, tr, server.URL+"/slow")
	if err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
	close(release)
	if body, err := io.ReadAll(answer.Body); string(body) != "whole" || err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	answer.Body.Close()
	fetch(t, tr, server.URL)
	if n := opened.Load(); n != 2 {
		t.Fatalf("%d connections, want a new one for the second request", n)
	}
}

func TestIdleConnectionsAreClosedAtOnce(t *testing.T) {
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	tr := transport(t, mustNew(t, Options{}), Timeouts{IdleConn: time.Hour}, toLoopback)
	fetch(t, tr, server.URL)
	tr.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is still open")
	}
}

func TestNothingIsDecodedFollowedOrAdded(t *testing.T) {
	var header http.Header
	server, _ := connections(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		io.WriteString(w, "as it came")
	})
	tr := transport(t, mustNew(t, Options{}), Timeouts{}, toLoopback)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	r.Header.Set("User-Agent", "")
	answer, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusFound || string(body) != "as it came" ||
		answer.Uncompressed {
		t.Errorf("%s %q", answer.Status, body)
	}
	if len(header) != 0 {
		t.Errorf("the upstream got %v", header)
	}
}

// The proxies of the environment are for other programs.
func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	server, _ := connections(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "direct") })
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	tr := transport(t, mustNew(t, Options{Resolver: dns.resolver(t)}), Timeouts{}, toLoopback)
	if got := fetch(t, tr, "http://up.example:"+port); got != "direct" {
		t.Fatal(got)
	}
}

// The whole of Transport beside a bare http.Transport.
func BenchmarkRoundTrip(b *testing.B) {
	server, _ := connections(b, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2048)) })
	e, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	ours := e.Transport(Timeouts{}, toLoopback)
	// The limit on the header is net/http's own and costs four allocations there.
	bare := &http.Transport{DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second}
	for name, tr := range map[string]interface {
		http.RoundTripper
		CloseIdleConnections()
	}{"egress": ours, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			defer tr.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequestWithContext(b.Context(), "GET", server.URL, nil)
				answer, err := tr.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		})
	}
}
