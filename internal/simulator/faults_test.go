package simulator_test

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func (l *lab) lay(f simulator.Fault) int {
	l.t.Helper()
	id, err := l.Fault(f)
	testkit.Must(l.t, err)
	return id
}

func TestFaultsThatAnswer(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	nsso := l.ProviderURL("nsso") + "/ebox"
	text := func(status int, fields ...string) simulator.Fault {
		return simulator.Fault{Status: status, Body: "text", Header: http.Header{"Content-Type": fields}}
	}
	for _, c := range []struct {
		name   string
		fault  simulator.Fault // of kind FaultStatus unless it says otherwise
		status int
		header string // "Name: value"
		says   string
	}{
		{"a status with the upstream's own body", simulator.Fault{Status: 500}, 500,
			"Content-Type: application/problem+json", "problem-type"},
		{"the default is 503", simulator.Fault{RetryAfter: "7"}, 503, "Retry-After: 7", "serviceUnavailable"},
		{"a body of its own", simulator.Fault{Status: 429, Body: "slow", ContentType: "text/plain"}, 429,
			"Content-Type: text/plain", "slow"},
		{"a body is JSON by default", simulator.Fault{Status: 200, Body: "{}"}, 200, "Content-Type: application/json", "{}"},
		{"a body without a tag", simulator.Fault{Status: 200, Body: "{}"}, 200, "ETag: ", "{}"},
		{"a body of two types", text(200, "text/a", "text/b"), 200, "Content-Type: text/a, text/b", "text"},
		{"an error of two types", text(400, "text/a", "text/b"), 400, "Content-Type: text/a, text/b", "text"},
		{"a status without a body", simulator.Fault{Status: 204}, 204, "", ""},
		{"429", simulator.Fault{Status: 429}, 429, "", "belgif:tooManyRequests"},
		{"a header", simulator.Fault{Status: 502, Header: http.Header{"Alt-Svc": {"h3"}}}, 502, "Alt-Svc: h3", ""},
		{"the token refused", simulator.Fault{Kind: simulator.FaultUnauthorized}, 401,
			"Content-Type: application/problem+json", "invalidAccessToken"},
		{"JSON that breaks off", simulator.Fault{Kind: simulator.FaultMalformedJSON}, 200,
			"Content-Type: application/json", `"subject":`},
		{"a redirect", simulator.Fault{Kind: simulator.FaultRedirect}, 307,
			"Location: https://elsewhere.invalid/REST/ebox/enterprise/messageRegistry/v3/ebox", ""},
		{"a redirect somewhere", simulator.Fault{Kind: simulator.FaultRedirect, Status: 302,
			Header: http.Header{"Location": {"/here"}}}, 302, "Location: /here", ""},
	} {
		c.fault.Upstream, c.fault.Kind = simulator.ProviderUpstream("nsso"), cmp.Or(c.fault.Kind, simulator.FaultStatus)
		id := l.lay(c.fault)
		r := get("GET", nsso, "")
		is(t, r, c.status, c.says, c.name)
		if name, value, _ := strings.Cut(c.header, ": "); strings.Join(r.header.Values(name), ", ") != value {
			t.Errorf("%s: %s is %q, want %q", c.name, name, r.header.Values(name), value)
		}
		if !l.RemoveFault(id) || get("GET", nsso, "").status != 200 {
			t.Errorf("%s: the fault could not be taken away", c.name)
		}
	}
}

func TestFaultsThatBreakTheConnection(t *testing.T) {
	l := newLab(t)
	// net/http may take what a fault left behind on a connection for its next answer.
	l.http.Transport.(*http.Transport).DisableKeepAlives = true
	send := l.consumer()
	kinds := []simulator.FaultKind{}
	for _, c := range []struct {
		name, method string
		fault        simulator.Fault
		err          string
		status       int // 0 without an answer
		bytes        int // of the answer's body, -1 for all
	}{
		{"reset", "PATCH", simulator.Fault{Kind: simulator.FaultReset}, "connection reset by peer", 0, 0},
		{"close", "PATCH", simulator.Fault{Kind: simulator.FaultClose}, "EOF", 0, 0},
		{"lost", "PATCH", simulator.Fault{Kind: simulator.FaultLost}, "EOF", 0, 0},
		{"malformed", "GET", simulator.Fault{Kind: simulator.FaultMalformed}, "malformed HTTP", 0, 0},
		{"surplus", "GET", simulator.Fault{Kind: simulator.FaultSurplus}, "", 200, len(simulator.SecondAnswer)},
		{"truncate", "GET", simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 100}, "unexpected EOF", 200, 100},
		{"truncate at once", "GET", simulator.Fault{Kind: simulator.FaultTruncate}, "unexpected EOF", 200, 0},
		{"a body shorter than the cut", "GET", simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 1 << 20}, "", 200, -1},
	} {
		c.fault.Upstream = simulator.ProviderUpstream("nsso")
		l.lay(c.fault)
		kinds = append(kinds, c.fault.Kind)
		body := ""
		if c.method == "PATCH" {
			body = `{"items":[{"messageId":"` + simulator.FirstMessage + `","visible":false}]}`
		}
		r := send(c.method, l.ProviderURL("nsso")+"/ebox/messages", body, "Content-Type", mergePatch)
		if r.status != c.status || c.bytes >= 0 && len(r.body) != c.bytes ||
			(r.err == nil) != (c.err == "") || r.err != nil && !strings.Contains(r.err.Error(), c.err) {
			t.Errorf("%s: %d, %d bytes, %v", c.name, r.status, len(r.body), r.err)
		}
		l.ClearFaults()
	}
	for i, r := range l.RequestsTo(simulator.ProviderUpstream("nsso")) {
		if r.Fault != kinds[i] {
			t.Errorf("request %d: %s is recorded, want %s", i, r.Fault, kinds[i])
		}
	}
}

func TestAFaultMatchesWhatItNames(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	nsso := l.ProviderURL("nsso")
	l.lay(simulator.Fault{Upstream: simulator.ProviderUpstream("nsso"), Method: "GET", Path: "/ebox/messages", Count: 2,
		Kind: simulator.FaultStatus, Status: 500})
	for i, c := range []struct {
		method, url string
		want        int
	}{
		{"GET", nsso + "/ebox", 200},
		{"GET", nsso + "/ebox/messages", 500},
		{"HEAD", nsso + "/ebox/messages", 200},
		{"GET", l.PartitionURL() + "/ebox/" + mandated.String() + "/routingRules", 200},
		{"GET", nsso + "/ebox/messages/" + simulator.FirstMessage, 500},
		{"GET", nsso + "/ebox/messages", 200},
	} {
		if r := get(c.method, c.url, ""); r.status != c.want {
			t.Errorf("request %d: %d, want %d", i, r.status, c.want)
		}
	}
	if f := decode[[]simulator.Fault](t, l.control("GET", "/faults", "")); len(f) != 1 || f[0].Hits != 2 {
		t.Errorf("%+v", f)
	}
}

func TestLatencyAndSlowBodiesTakeTheirTime(t *testing.T) {
	l := newLab(t)
	l.lay(simulator.Fault{Kind: simulator.FaultLatency, Delay: 50 * time.Millisecond, Count: 1})
	l.lay(simulator.Fault{Kind: simulator.FaultStatus, Status: 418, Count: 1})
	start := time.Now()
	if r := l.send("GET", l.GrantURL()+"/health", ""); r.status != 418 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("%d after %s: a latency comes before the next fault", r.status, time.Since(start))
	}
	get := l.consumer()
	whole := get("GET", l.ProviderURL("nsso")+"/ebox", "")
	l.lay(simulator.Fault{Kind: simulator.FaultSlowBody, Delay: 2 * time.Millisecond, Bytes: 16})
	start = time.Now()
	slow := get("GET", l.ProviderURL("nsso")+"/ebox", "")
	if !bytes.Equal(slow.body, whole.body) || time.Since(start) < time.Duration(len(whole.body)/16)*2*time.Millisecond {
		t.Errorf("%d bytes after %s", len(slow.body), time.Since(start))
	}
}

func TestCloseEndsWhatIsFrozenSlowOrLate(t *testing.T) {
	s, err := simulator.Start(simulator.Options{})
	testkit.Must(t, err)
	ended := make(chan struct{})
	faults := []simulator.Fault{
		{Path: "/frozen", Kind: simulator.FaultFreeze},
		{Path: "/late", Kind: simulator.FaultLatency, Delay: time.Hour},
		{Path: "/health", Kind: simulator.FaultSlowBody, Delay: time.Hour},
	}
	for _, f := range faults {
		if _, err := s.Fault(f); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", s.Address())
		testkit.Must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET /REST/grant/citizen/v1"+f.Path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			ended <- struct{}{}
		}()
	}
	testkit.Eventually(t, "all have arrived", func() bool { return len(s.Requests()) == len(faults) })
	for range 2 { // a second Close does nothing
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	for _, r := range s.Requests() {
		<-ended
		if !r.Done {
			t.Errorf("%s is still being served", r.Path)
		}
	}
}
