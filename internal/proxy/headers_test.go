package proxy_test

import (
	"ebox-gateway/internal/problem"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
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

func TestAnswerHeaders(t *testing.T) {
	g := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("X-Private", "evil")
		h.Set("Connection", "x-private")
		h.Set("Via", "1.0 fred")
		h.Set("Vary", "Accept") // the gateway's edge says Origin
		h["X-Request-Id"] = []string{"theirs"}
		h["Www-Authenticate"] = []string{"Bearer", "Basic"}
		h.Set("Belgov-Trace-Id", "their-trace")
		h.Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
		h["Content-Type"] = nil
		w.WriteHeader(203)
		_, _ = io.WriteString(w, "<html>")
	})
	a := g.get("GET", "/x", nil, nil)
	for name, want := range map[string]string{
		"X-Private": "", "Vary": "Origin, Accept",
		"Via": "1.0 fred, 1.1 ebox-gateway", "X-Request-Id": "", "Www-Authenticate": "Bearer, Basic",
		"Content-Type": "", "Proxy-Status": "",
		"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Belgov-Trace-Id": "their-trace",
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

// The record may wait where thousands do, for a disk, and what it says is evidence.
func TestNoUpstreamFillsTheRecordsWithItsTraceID(t *testing.T) {
	for sent, noted := range map[string]string{
		strings.Repeat("x", 20_000): strings.Repeat("x", 128),
		"a\u009b2J\xff":             "a\uFFFD2J\uFFFD", // a terminal's order to erase the screen, and no UTF-8
	} {
		g := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("BelGov-Trace-Id", sent) })
		if a := g.get("GET", "/x", nil, nil); a.header("Belgov-Trace-Id") != sent {
			t.Errorf("the caller gets %q", a.header("Belgov-Trace-Id"))
		}
		if rec := g.record(); rec.AnswerTraceID != noted {
			t.Errorf("the record has %q", rec.AnswerTraceID)
		}
	}
}

// What acts on the origin that a browser shows is the gateway's own to say.
func TestFieldsThatActOnTheGatewaysOriginGoNoFurther(t *testing.T) {
	var fields string
	var dropped, passing []string
	for _, name := range strings.Fields(`
		Set-Cookie Set-Cookie2 Alt-Svc Strict-Transport-Security Expect-CT Clear-Site-Data Report-To Reporting-Endpoints NEL
		Content-Security-Policy-Report-Only Cross-Origin-Opener-Policy-Report-Only
		Cross-Origin-Embedder-Policy-Report-Only Accept-CH Critical-CH Service-Worker-Allowed Refresh SourceMap
		X-SourceMap Set-Login Speculation-Rules Origin-Trial Origin-Agent-Cluster Use-As-Dictionary
		Access-Control-Allow-Origin Access-Control-Allow-Credentials Sec-Session-Registration
		Secure-Session-Registration Secure-Session-Challenge Attribution-Reporting-Register-Source
		Integrity-Policy-Report-Only Shared-Storage-Write Ad-Auction-Allowed
		X-EBox-Incomplete X-EBox-Environment X-Request-Id Keep-Alive Proxy-Authenticate Upgrade Trailer`) {
		dropped = append(dropped, name)
		fields += name + ": evil\r\n"
	}
	for _, name := range strings.Fields(`
		Content-Type Content-Disposition Content-Security-Policy Cache-Control Cache-Status Proxy-Status
		ETag Last-Modified Location Link Retry-After Vary Age Date Digest Warning Www-Authenticate
		X-RateLimit-Remaining BelGov-Trace-Id`) {
		passing = append(passing, name)
		fields += name + ": fine\r\n"
	}
	a := behindRaw(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+fields+"\r\nok")).get("GET", "/x", nil, nil)
	for _, name := range dropped {
		if a.header(name) != "" {
			t.Errorf("%s goes on", name)
		}
	}
	for _, name := range passing {
		if !strings.HasSuffix(a.header(name), "fine") {
			t.Errorf("%s is dropped: %q", name, a.header(name))
		}
	}
}

func TestNoUpstreamSpeaksInTheGatewaysName(t *testing.T) {
	const ours = problem.Pseudonym
	for _, c := range []struct{ sent, want []string }{
		{[]string{ours + "; error=http_request_denied"}, nil},
		{[]string{"cdn; hit, " + ours + "; hit"}, []string{"cdn; hit"}},
		{[]string{ours + "; hit, cdn; fwd=miss", "inner; hit"}, []string{"cdn; fwd=miss", "inner; hit"}},
		{[]string{`"` + ours + `"; hit`}, nil},
		{[]string{" " + strings.ToUpper(ours) + ";hit"}, nil},
		{[]string{`cdn; detail="a, ` + ours + `"`}, []string{`cdn; detail="a, ` + ours + `"`}},
	} {
		g := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.Header()["Proxy-Status"] = c.sent })
		if got := g.get("GET", "/x", nil, nil).Header["Proxy-Status"]; !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.sent, got, c.want)
		}
	}
}

// What holds for a field of a header holds for it behind the body as well.
func TestATrailerPassesAsAFieldOfTheHeaderWould(t *testing.T) {
	for _, kind := range []string{"text/plain", "application/json"} {
		g := behindRaw(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nContent-Type: "+kind+
			"\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n2\r\n[]\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\nAlt-Svc: x\r\n"+
			"Proxy-Status: ebox-gateway; error=destination_not_found, theirs\r\nCache-Status: ebox-gateway; hit\r\n"+
			"Link: </REST/registry/v3/next>; rel=next\r\n\r\n"))
		a := g.get("GET", "/x", nil, nil)
		want := http.Header{
			"X-Sum": {"1"}, "Proxy-Status": {"theirs"}, "Link": {"<" + gatewayPrefix + "/next>; rel=next"},
		}
		if a.body != "[]" || len(a.Trailer) != len(want) {
			t.Errorf("%q, trailers %v", a.body, a.Trailer)
		}
		for name := range want {
			if a.Trailer.Get(name) != want.Get(name) {
				t.Errorf("%s: %q", name, a.Trailer.Get(name))
			}
		}
	}
}

func TestATrailerThatConnectionNamesGoesNoFurther(t *testing.T) {
	got := make(chan http.Header, 1)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})
	c := g.dial()
	c.send("POST /x HTTP/1.1", "Host: a", "Connection: x-hop", "Transfer-Encoding: chunked",
		"Trailer: X-Hop, X-Sum, Authorization, X-Forwarded-For", "",
		"2\r\nhi\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nAuthorization: evil\r\nX-Forwarded-For: evil\r\n"+
			"On-Behalf-Of-Enterprise-Number: evil\r\nX-Other: not announced\r\n\r\n")
	if head := c.head(); !strings.Contains(head, " 200 OK\r\n") {
		t.Fatal(head)
	}
	if trailer := <-got; len(trailer) != 1 || trailer.Get("X-Sum") != "1" {
		t.Errorf("%v", trailer)
	}
}
