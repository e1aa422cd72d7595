package egress_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

func fetch(t *testing.T, tr *egress.Transport, url string) string {
	t.Helper()
	answer, err := get(t, tr, url)
	testkit.Must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	testkit.Must(t, err)
	return string(body)
}

// A clock that the test moves.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time        { return time.Unix(0, c.Load()) }
func (c *clock) move(by time.Duration) { c.Add(int64(by)) }

func TestANewNameServerAnswerIsFollowedAfterTheAge(t *testing.T) {
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first")
	}))
	defer first.Close()
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
	tr := transport(t, mustNew(t, egress.Options{Now: c.now, Resolver: dns.resolver(t)}), patient, toLoopback)
	url := "http://up.example:" + port
	if got := fetch(t, tr, url); got != "first" {
		t.Fatal(got)
	}
	dns.addresses["up.example."] = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
	for _, next := range []struct {
		later time.Duration
		want  string
	}{{4*time.Minute + 29*time.Second, "first"}, {62 * time.Second, "second"}} {
		c.move(next.later)
		time.Sleep(wire.Settle) // unused connections rest before they are used again
		if got := fetch(t, tr, url); got != next.want {
			t.Fatalf("%s later: %s, want %s", next.later, got, next.want)
		}
	}
}

func TestNothingIsDecodedFollowedOrAdded(t *testing.T) {
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		io.WriteString(w, "as it came")
	}))
	defer server.Close()
	tr := transport(t, mustNew(t, egress.Options{}), patient, toLoopback)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	r.Header.Set("User-Agent", "")
	answer, err := tr.RoundTrip(r)
	testkit.Must(t, err)
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusFound || string(body) != "as it came" ||
		answer.Uncompressed {
		t.Errorf("%s %q", answer.Status, body)
	}
	if len(header) != 0 {
		t.Errorf("the upstream got %v", header)
	}
}

func TestACallersAuthorizationNeverStandsBesideTheToken(t *testing.T) {
	got := make(chan string, 1)
	address := raw(t, func(c net.Conn) { got <- readRequest(c) })
	tr := transport(t, mustNew(t, egress.Options{}), patient, toLoopback)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/", nil)
	r.Header["authorization"] = []string{"Basic caller"}
	r.Header["Authorization"] = []string{"Basic caller", "Basic again"}
	_, _ = tr.SendAs(t.Context(), call.New(), r, "Bearer token") // nobody answers
	sent := <-got
	if !strings.Contains(sent, "\r\nAuthorization: Bearer token\r\n") || strings.Contains(sent, "Basic") ||
		strings.Count(strings.ToLower(sent), "authorization") != 1 {
		t.Errorf("sent %q", sent)
	}
}
