package simulator

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (l *lab) lay(f Fault) int {
	l.t.Helper()
	id, err := l.Fault(f)
	if err != nil {
		l.t.Fatal(err)
	}
	return id
}

func TestFaultsThatAnswer(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	nsso := l.ProviderURL("nsso") + "/ebox"
	for _, c := range []struct {
		name   string
		fault  Fault
		status int
		header string // "Name: value"
		says   string
	}{
		{"a status with the upstream's own body", Fault{Kind: FaultStatus, Status: 500}, 500,
			"Content-Type: application/problem+json", "problem-type"},
		{"the default is 503", Fault{Kind: FaultStatus, RetryAfter: "7"}, 503, "Retry-After: 7", "serviceUnavailable"},
		{"a status with a body of its own", Fault{Kind: FaultStatus, Status: 429, Body: "slow", ContentType: "text/plain"},
			429, "Content-Type: text/plain", "slow"},
		{"a status without a body", Fault{Kind: FaultStatus, Status: 204}, 204, "", ""},
		{"429", Fault{Kind: FaultStatus, Status: 429}, 429, "", "belgif:tooManyRequests"},
		{"a header", Fault{Kind: FaultStatus, Status: 502, Header: http.Header{"Alt-Svc": {"h3"}}}, 502, "Alt-Svc: h3", ""},
		{"the token refused", Fault{Kind: FaultUnauthorized}, 401, "Content-Type: application/problem+json",
			"invalidAccessToken"},
		{"JSON that breaks off", Fault{Kind: FaultMalformedJSON}, 200, "Content-Type: application/json", `"subject":`},
		{"a redirect", Fault{Kind: FaultRedirect}, 307,
			"Location: https://elsewhere.invalid/REST/ebox/enterprise/messageRegistry/v3/ebox", ""},
		{"a redirect somewhere", Fault{Kind: FaultRedirect, Status: 302, Header: http.Header{"Location": {"/here"}}}, 302,
			"Location: /here", ""},
	} {
		c.fault.Upstream = ProviderUpstream("nsso")
		id := l.lay(c.fault)
		r := get("GET", nsso, "")
		is(t, r, c.status, c.says, c.name)
		if name, value, _ := strings.Cut(c.header, ": "); r.header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", c.name, name, r.header.Get(name), value)
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
	token := l.token(ScopeDocumentConsumer)
	target := l.ProviderURL("nsso") + "/ebox/messages"
	try := func(f Fault, body string) (reply, error) {
		t.Helper()
		f.Upstream = ProviderUpstream("nsso")
		l.lay(f)
		defer l.ClearFaults()
		method, headers := "GET", []string{"Authorization", "Bearer " + token}
		if body != "" {
			method, headers = "PATCH", append(headers, "Content-Type", "application/merge-patch+json")
		}
		return l.try(method, target, body, headers...)
	}
	if _, err := try(Fault{Kind: FaultReset}, "x"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
	if _, err := try(Fault{Kind: FaultClose}, "x"); !errors.Is(err, io.EOF) {
		t.Errorf("close: %v", err)
	}
	if _, err := try(Fault{Kind: FaultMalformed}, ""); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("malformed: %v", err)
	}
	if r, err := try(Fault{Kind: FaultTruncate, Bytes: 100}, ""); err != nil || len(r.body) != 100 ||
		!errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("truncate: %v, %d bytes, %v", err, len(r.body), r.err)
	}
	if r, err := try(Fault{Kind: FaultSurplus}, ""); err != nil || r.status != 200 || string(r.body) != `{"answer": 1}` {
		t.Errorf("surplus: %v", r)
	}
	if r, err := try(Fault{Kind: FaultTruncate}, ""); err != nil || r.status != 200 || len(r.body) != 0 || r.err == nil {
		t.Errorf("truncate at once: %v, %d, %d bytes, %v", err, r.status, len(r.body), r.err)
	}
	if r, err := try(Fault{Kind: FaultTruncate, Bytes: 1 << 20}, ""); err != nil || r.err != nil {
		t.Errorf("a body shorter than the cut: %v, %v", err, r.err)
	}
	if all := l.RequestsTo(ProviderUpstream("nsso")); len(all) != 7 || all[0].Fault != FaultReset {
		t.Errorf("recorded: %+v", all)
	}
}

func TestAFaultMatchesWhatItNames(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	nsso := l.ProviderURL("nsso")
	l.lay(Fault{Upstream: ProviderUpstream("nsso"), Method: "GET", Path: "/ebox/messages", Count: 2,
		Kind: FaultStatus, Status: 500})
	for i, c := range []struct {
		method, url string
		want        int
	}{
		{"GET", nsso + "/ebox", 200},
		{"GET", nsso + "/ebox/messages", 500},
		{"HEAD", nsso + "/ebox/messages", 200},
		{"GET", l.PartitionURL() + "/ebox/" + mandated.String() + "/routingRules", 200},
		{"GET", nsso + "/ebox/messages/" + FirstMessage, 500},
		{"GET", nsso + "/ebox/messages", 200},
	} {
		if r := get(c.method, c.url, ""); r.status != c.want {
			t.Errorf("request %d: %d, want %d", i, r.status, c.want)
		}
	}
	if f := l.faultList(); len(f) != 1 || f[0].Hits != 2 {
		t.Errorf("%+v", f)
	}
	l.ClearFaults()
	l.lay(Fault{Upstream: UpstreamToken, Kind: FaultStatus, Count: 1})
	l.lay(Fault{Upstream: UpstreamToken, Kind: FaultUnauthorized, Count: 1})
	for _, want := range []int{503, 401, 200} {
		r := l.send("POST", l.TokenURL(), tokenForm(l.assertion(nil), "").Encode(), "Content-Type", formType)
		if r.status != want {
			t.Errorf("token: %d %s, want %d", r.status, r.body, want)
		}
	}
}

func TestLatencyAndSlowBodiesTakeTheirTime(t *testing.T) {
	l := newLab(t)
	l.lay(Fault{Kind: FaultLatency, Delay: 50 * time.Millisecond, Count: 1})
	l.lay(Fault{Kind: FaultStatus, Status: 418, Count: 1})
	start := time.Now()
	if r := l.send("GET", l.GrantURL()+"/health", ""); r.status != 418 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("%d after %s: a latency comes before the next fault", r.status, time.Since(start))
	}
	get := l.consumer()
	whole := get("GET", l.ProviderURL("nsso")+"/ebox", "")
	l.lay(Fault{Kind: FaultSlowBody, Delay: 2 * time.Millisecond, Bytes: 16})
	start = time.Now()
	slow := get("GET", l.ProviderURL("nsso")+"/ebox", "")
	if !bytes.Equal(slow.body, whole.body) || time.Since(start) < time.Duration(len(whole.body)/16)*2*time.Millisecond {
		t.Errorf("%d bytes after %s", len(slow.body), time.Since(start))
	}
}

func TestCloseEndsWhatIsFrozenSlowOrLate(t *testing.T) {
	s, err := Start(Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Fault{
		{Path: "/frozen", Kind: FaultFreeze}, {Path: "/late", Kind: FaultLatency, Delay: time.Hour},
		{Path: "/health", Kind: FaultSlowBody, Delay: time.Hour},
	} {
		if _, err := s.Fault(f); err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{"/frozen", "/late", "/health"}
	ended := make(chan struct{}, len(paths))
	for _, path := range paths {
		conn, err := net.Dial("tcp", s.main.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET "+grantPath+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			ended <- struct{}{}
		}()
	}
	eventually(t, "all have arrived", func() bool { return len(s.Requests()) == len(paths) })
	if err := s.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	for range paths {
		<-ended
	}
	for _, r := range s.Requests() {
		if !r.Done {
			t.Errorf("%s is still being served", r.Path)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
