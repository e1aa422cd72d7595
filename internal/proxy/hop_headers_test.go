package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/call"
)

func TestOtherHeadersPassAsTheyAre(t *testing.T) {
	got := make(chan string, 1)
	g := behindRaw(t, func(_ int, c *peer) {
		got <- c.head()
		c.send("HTTP/1.1 204 No Content", "", "")
	})
	for _, agent := range []string{"User-Agent: payroll/1\r\n", ""} { // none is invented
		c := g.dial()
		c.send("GET /ebox%2Cb?a=%20;b HTTP/1.1\r\nHost: gateway.example",
			"Accept: application/json;q=0.5", "If-None-Match: \"x\"", "Accept-Language: nl", "Accept-Language: fr",
			"X-My_Header: 1",
			"TE: trailers;q=1, trailers", agent+"\r\n")
		c.head()
		head := <-got
		for _, line := range []string{"Accept: application/json;q=0.5\r\n", "If-None-Match: \"x\"\r\n",
			"Accept-Language: nl\r\n", "Accept-Language: fr\r\n", "X-My_header: 1\r\n", "\r\nTe: trailers\r\n", agent} {
			if !strings.Contains(head, line) {
				t.Errorf("%q is missing in\n%s", line, head)
			}
		}
		if strings.Contains(head, "User-Agent") != (agent != "") ||
			!strings.HasPrefix(head, "GET /REST/registry/v3/ebox%2Cb?a=%20;b HTTP/1.1\r\nHost: 127.0.0.1:") {
			t.Errorf("the request line, Host or User-Agent is wrong in\n%s", head)
		}
	}
}

func TestABareQuestionMarkIsKept(t *testing.T) {
	got := make(chan string, 1)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI })
	g.get("GET", "/a?", nil, nil)
	if uri := <-got; uri != "/REST/registry/v3/a?" {
		t.Fatal(uri)
	}
}

func TestAnswerHeaders(t *testing.T) {
	g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security",
			"Access-Control-Allow-Origin", "Keep-Alive", "Proxy-Authenticate", "X-Private"} {
			h.Set(name, "evil-value")
		}
		h.Set("Connection", "x-private")
		h.Set("Via", "1.0 fred")
		h["X-Request-Id"] = []string{"theirs"}
		h["Www-Authenticate"] = []string{"Bearer", "Basic"}
		h.Set("Belgov-Trace-Id", "their-trace")
		h.Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
		h["Content-Type"] = nil
		w.WriteHeader(203)
		_, _ = io.WriteString(w, "<html>")
	})
	a := g.get("GET", "/x", nil, nil)
	for name, values := range a.Response.Header {
		if strings.Contains(strings.Join(values, ""), "evil-value") {
			t.Errorf("%s: %v passed", name, values)
		}
	}
	for name, want := range map[string]string{
		"Via": "1.0 fred, 1.1 ebox-gateway", "X-Request-Id": "", "Www-Authenticate": "Bearer, Basic", "Content-Type": "",
		"Proxy-Status": "",
		"Date":         "Sun, 06 Nov 1994 08:49:37 GMT", "Belgov-Trace-Id": "their-trace",
	} {
		if got := a.header(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.StatusCode != 203 || a.body != "<html>" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	rec := g.record()
	if rec.Status != 203 || rec.UpstreamStatus != 203 || rec.AnswerTraceID != "their-trace" ||
		rec.Tries != 1 || !rec.Sent ||
		rec.BytesOut != 6 || rec.TraceID == "" || rec.Cut {
		t.Errorf("record %+v", rec)
	}
}

func TestVaryOfBothCounts(t *testing.T) {
	h := http.Header{"Vary": {"Origin"}}
	g := behind(t, func(http.ResponseWriter, *http.Request) {})
	c := call.New()
	c.To = g.up
	a := &call.Answer{Status: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Vary": {"Accept"}}}
	x := exchange{c: c, a: a}
	x.answerHeader(h)
	if got := strings.Join(h["Vary"], ","); got != "Origin,Accept" || len(a.Header["Vary"]) != 1 {
		t.Fatalf("%s", got)
	}
}

// The record may wait where thousands do, for a disk, and what it says is evidence.
func TestNoUpstreamFillsTheRecordsWithItsTraceID(t *testing.T) {
	g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("BelGov-Trace-Id", strings.Repeat("x", 20_000))
	})
	if a := g.get("GET", "/x", nil, nil); len(a.header("Belgov-Trace-Id")) != 20_000 {
		t.Errorf("the caller gets %d bytes of it", len(a.header("Belgov-Trace-Id")))
	}
	if rec := g.record(); rec.AnswerTraceID != strings.Repeat("x", maxTraceID) {
		t.Errorf("the record has %d bytes of it", len(rec.AnswerTraceID))
	}
	g = behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("BelGov-Trace-Id", "a\u009b2J\xff") // a terminal's order to erase the screen, and no UTF-8
	})
	g.get("GET", "/x", nil, nil)
	if rec := g.record(); rec.AnswerTraceID != "a\uFFFD2J\uFFFD" {
		t.Errorf("the record has %q", rec.AnswerTraceID)
	}
}
