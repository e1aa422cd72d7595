package listen_test

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/testkit"
)

// Over TLS it stands behind another one. The grammar of fields and framing has more cases in package wire.
func TestARequestThatCannotBeReadGetsAProblem(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"no HTTP", "HELO gateway\r\n\r\n", 400},
		{"HTTP/0.9", "GET /\r\n\r\n", 400},
		{"two blanks in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a blank behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
		{"a method that is none", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a target that is none", "GET foo HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a bad escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"a Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
		{"a blank before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-Y : 1\r\n\r\n", 400},
		{"a folded value", "GET / HTTP/1.1\r\nHost: a\r\nX-Y: 1\r\n 2\r\n\r\n", 400},
		{"a bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX-Y: a\rb\r\n\r\n", 400},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		{"an unknown transfer coding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"a transfer coding on HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"a body of unknown length on HTTP/1.0", "POST / HTTP/1.0\r\n\r\nbody", 411},
		{"an older version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
		{"a version to come", "GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505},
		{"a malformed version", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
		{"too long a header", "GET / HTTP/1.1\r\nHost: a\r\nX-Y: " + strings.Repeat("x", 65<<10) + "\r\n\r\n", 431},
		{"too many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:b\r\n", 1001) + "\r\n", 431},
		{"too long a request line", "GET /" + strings.Repeat("x", 65<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"an expectation that is not known", post + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417},
		{"the same of HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", c.name, secured), func(t *testing.T) {
				f := newFront(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/first" {
						t.Errorf("%s %s reached the handler", r.Method, r.RequestURI)
					}
				})
				who := f.listening(secured)()
				if secured {
					who.ask("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
				}
				a := who.ask(c.request)
				if a.StatusCode != c.status || !a.Close || a.Header.Get("X-Request-Id") == "" {
					t.Errorf("%s %v", a.Status, a.Header)
				}
				if a.Request.Method != "HEAD" {
					a.problem(t, c.status)
				}
				who.ends()
				if log := f.log.String(); !strings.Contains(log, "requestId="+testID) || strings.Contains(log, "HELO") {
					t.Error("no log line with the id, or one with the caller's bytes")
				}
			})
		}
	}
}

func TestARequestWithoutTLSOnATLSListenerGetsAProblem(t *testing.T) {
	f := newFront(t, echo)
	f.listen(tlsConfig(t))
	if doc := f.dial().ask(get).problem(t, 400); !strings.Contains(doc["detail"].(string), "https") {
		t.Errorf("%v", doc)
	}
}

func TestBothFramingsTogetherCloseTheConnection(t *testing.T) {
	who := listening(t, echo).dial()
	a := who.ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: " +
		"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	if a.body != "POST /a hello" || !a.Close {
		t.Errorf("%q %v", a.body, a.Header)
	}
	who.ends()
}

func TestPipelinedRequestsAreAnsweredInTurn(t *testing.T) {
	who := listening(t, echo).dial()
	who.send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" +
		"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\n" +
		"\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /5 " +
		"HTTP/1.1\r\nHost: a\r\n\r\n")
	for _, want := range []string{"POST /1 ab", "POST /2 cd", "GET /3 ", "GET /4 "} {
		if a := who.read("GET"); a.body != want {
			t.Errorf("%q instead of %q", a.body, want)
		}
	}
	who.ends()
}

func TestTrailersOfARequestAreRead(t *testing.T) {
	got := make(chan http.Header, 2)
	f := listening(t, func(_ http.ResponseWriter, r *http.Request) {
		announced := r.Trailer.Clone()
		_, _ = io.Copy(io.Discard, r.Body)
		got <- announced
		got <- r.Trailer
	})
	f.dial().ask("POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-A, Content-Length\r\nTransfer-Encoding: " +
		"chunked\r\n\r\n0\r\nX-A: 1\r\nX-B: 2\r\nHost: evil\r\n\r\n")
	if announced, trailer := <-got, <-got; len(announced) != 1 ||
		!reflect.DeepEqual(trailer, http.Header{"X-A": {"1"}, "X-B": {"2"}}) {
		t.Errorf("announced %v, came %v", announced, trailer)
	}
}

// Ten thousand connections may each send a head of 64 KiB, and keep its end back.
func TestHeadsWhoseEndIsWithheldAreBoundedInMemory(t *testing.T) {
	const limit = 256 << 10 // of which one source may have half
	budget := memory.NewBudget(limit)
	f := newFront(t, echo, func(o *listen.Options) { o.Memory = budget })
	f.listen(nil)
	long := "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 30<<10)
	var stalled []*caller
	for range 20 {
		who := f.dial()
		who.send(long)
		stalled = append(stalled, who)
	}
	testkit.Eventually(t, "a refusal", func() bool { return budget.State().Refused > 0 })
	a := f.dial().ask(long + "\r\n\r\n")
	a.problem(t, 503)
	if a.Header.Get("Retry-After") == "" || budget.State().Held > limit/2 {
		t.Errorf("%v, %+v", a.Header, budget.State())
	}
	f.dial().ask(get) // a short one passes
	if a, err := try(f.http2Client(), "GET", "http://"+f.addr, nil, "X-Long", strings.Repeat("x", 30<<10)); err != nil ||
		a.StatusCode != 503 {
		t.Errorf("by HTTP/2: %d %v", a.StatusCode, err)
	}
	for _, who := range stalled {
		_ = who.conn.Close()
	}
	testkit.Eventually(t, "nothing to be held", func() bool { return budget.State().Held == 0 })
	who := f.dial()
	for range 10 { // each gives back what it took
		if a := who.ask(long + "\r\n\r\n"); a.StatusCode != 200 {
			t.Fatalf("%s", a.Status)
		}
	}
}
