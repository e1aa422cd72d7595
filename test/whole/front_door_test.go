package whole_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit/lab"
)

// The other ways in which a browser tells of itself are in package server.
func TestPagesInBrowsersAreTurnedAway(t *testing.T) {
	t.Parallel()
	const allowed, foreign = "Origin: https://app.example.be", "Origin: https://evil.example"
	const crossSite = "Sec-Fetch-Site: cross-site"
	h := open(t, edit("server: {listen:", "server: {allowedOrigins: ['https://app.example.be'], listen:"))
	preflight := h.send("OPTIONS", box, nil, allowed, "Access-Control-Request-Method: GET",
		"Access-Control-Request-Headers: on-behalf-of-enterprise-number").want(t, 204)
	if !strings.Contains(preflight.header.Get("Access-Control-Allow-Methods"), "GET") ||
		preflight.header.Get("Access-Control-Allow-Headers") != "on-behalf-of-enterprise-number" ||
		preflight.header.Get("Access-Control-Allow-Origin") != "https://app.example.be" {
		t.Errorf("%v", preflight.header)
	}
	h.send("OPTIONS", box, nil, foreign, "Access-Control-Request-Method: GET").want(t, 403)
	h.get(box, crossSite).want(t, 403)
	h.operate("GET", "/status", foreign).want(t, 403)
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
	// Chromium fetched what a provider's Link named as the gateway's own origin, and so marked read a document of
	// another enterprise at another provider.
	link := "<" + h.Base + document + ">; rel=preload; as=image"
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200, Body: "{}",
		Header: http.Header{"Link": {link}}})
	for _, c := range []struct {
		fields             []string
		allowsOrigin, link string
	}{
		{nil, "", link}, // a program
		{[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, "", ""},
		{[]string{allowed, crossSite, "Referer: https://app.example.be/x"}, "https://app.example.be", link},
	} {
		got := h.get(messages, c.fields...).want(t, 200).header
		if got.Get("Link") != c.link || got.Get("Access-Control-Allow-Origin") != c.allowsOrigin {
			t.Errorf("%q: %v", c.fields, got)
		}
	}
}

// The other ones are in package server.
func TestTargetsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	const base = "/enterprises/0206731645/ebox/providers/nsso"
	h.raw("GET "+base+"/../nsso/ebox HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").want(t, 400)
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("upstream saw %d requests", n)
	}
	const target = "/ebox/messages/%C3%A9%20x:b@c!$&'()*+,;=1?a=1&a=2&&b"
	h.raw("GET " + base + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if sent := h.last("provider:nsso").Target; sent != "/REST/ebox/enterprise/messageRegistry/v3"+target {
		t.Errorf("it was sent as %s", sent)
	}
}

func TestPathsWithoutARoute(t *testing.T) {
	t.Parallel()
	h := open(t)
	for path, hint := range map[string]string{
		"/enterprises/0206731645/ebox/messages/17": "/enterprises/0206731645/ebox/providers/regional/ebox/messages/17",
		"/ebox/providers/retired/ebox":             "retired",
		"/ebox/providers/upcoming/ebox":            "upcoming",
	} {
		got := h.get(path, "On-Behalf-Of-Enterprise-Number: 0206731645")
		got.want(t, 404).problem(t)
		if !strings.Contains(got.body, hint) {
			t.Errorf("%s: no word of %s: %s", path, hint, got.body)
		}
		if !strings.Contains(got.header.Get("Proxy-Status"), "ebox-gateway; error=destination_not_found") {
			t.Errorf("%s: Proxy-Status %q", path, got.header.Get("Proxy-Status"))
		}
	}
	p := h.get("/enterprises/0206731645/ebox/providers/utilities/ebox").want(t, 503)
	if p.header.Get("Retry-After") == "" || p.problem(t)["retryAfter"] == nil {
		t.Errorf("maintenance without an end: %v %s", p.header, p.body)
	}
	if n := h.sim.RequestCount("provider:utilities"); n != 0 {
		t.Errorf("a provider in maintenance got %d calls", n)
	}
}

func TestEveryAnswerNamesRequestAndEnvironment(t *testing.T) {
	t.Parallel()
	h := open(t)
	seen := make(map[string]bool)
	logged := func(text string) {
		t.Helper()
		eventually(t, "the access line with "+text, func() bool { return strings.Contains(h.access.String(), text) })
	}
	for _, path := range []string{"/ebox/providers", "/nothing", box, box} {
		got := h.get(path, "X-Request-Id: mine", "BelGov-Trace-Id: mine")
		id := got.header.Get("X-Request-Id")
		if len(id) != 36 || seen[id] || len(got.header.Values("X-Request-Id")) != 1 {
			t.Errorf("%s: X-Request-Id %q", path, id)
		}
		seen[id] = true
		if env := got.header.Values("X-EBox-Environment"); len(env) != 1 || env[0] != "custom" {
			t.Errorf("%s: X-EBox-Environment %q", path, env)
		}
		if got.status == 404 && got.problem(t)["instance"] != "urn:uuid:"+id {
			t.Errorf("%s: instance is not the request: %s", path, got.body)
		}
		logged(`"requestId":"` + id + `"`)
		if path != box {
			continue
		}
		// Every call has a trace id of its own. The upstream's, and its repetition of ours, tie the two logs together.
		sent, theirs := h.last("provider:nsso").Header["Belgov-Trace-Id"], got.header.Get("Belgov-Trace-Id")
		if len(sent) != 1 || len(sent[0]) != 36 || seen[sent[0]] || theirs == "" ||
			got.header.Get("Belgov-Related-Trace-Id") != sent[0] {
			t.Fatalf("upstream saw %q, and answered %v", sent, got.header)
		}
		seen[sent[0]] = true
		logged(sent[0])
		logged(theirs)
	}
	for _, r := range h.sim.Requests() {
		if id := r.Header.Get("Belgov-Trace-Id"); id == "" || len(id) > 36 {
			t.Errorf("%s saw the trace id %q", r.Upstream, id)
		}
	}
}

func TestWhatTheGatewayAloneMaySayIsNeverTakenFromTheCaller(t *testing.T) {
	t.Parallel()
	h := open(t)
	request := "GET " + box + "/messages HTTP/1.1\r\nHost: localhost\r\n" +
		"Connection: close, authorization, on-behalf-of-enterprise-number, belgov-trace-id, via\r\n"
	for _, name := range []string{
		"Authorization", "AUTHORIZATION", "Proxy-Authorization", "Cookie", "Forwarded", "X_Forwarded_For", "X-Real-Ip",
		"Via", "X-Actor", "Traceparent", "Baggage", "X-Request-Id", "BelGov-Trace-Id", "BelGov_Trace_Id", "X-Original-Url",
	} {
		request += name + ": stolen\r\n"
	}
	c := h.dial("")
	c.write(request + "X-Custom: kept\r\nAccept-Language: nl\r\nUser-Agent: payroll/1.0\r\n\r\n")
	c.read("GET").want(t, 200)
	r := h.last("provider:nsso")
	if auth := r.Header["Authorization"]; len(auth) != 1 || !strings.HasPrefix(auth[0], "Bearer ") ||
		r.Client != lab.Client(t).ID {
		t.Errorf("upstream saw %d values of Authorization", len(auth))
	}
	for name, want := range map[string]string{
		"X-Custom": "kept", "Accept-Language": "nl", "User-Agent": "payroll/1.0", "Via": "1.1 ebox-gateway",
		"On-Behalf-Of-Enterprise-Number": mandated,
	} {
		if got := r.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("upstream saw %s: %q", name, got)
		}
	}
	known := []string{"Accept-Encoding", "Accept-Language", "Authorization", "Belgov-Trace-Id",
		"On-Behalf-Of-Enterprise-Number", "User-Agent", "Via", "X-Custom"}
	for name, values := range r.Header {
		if !slices.Contains(known, name) || slices.Contains(values, "stolen") {
			t.Errorf("upstream saw %s: %q", name, values)
		}
	}
	if want := strings.Split(h.sim.ProviderURL("nsso"), "/")[2]; r.Host != want {
		t.Errorf("upstream saw Host %s instead of %s", r.Host, want)
	}
	// The line is written when the answer has left.
	eventually(t, "X-Actor in the access log, where it belongs", func() bool {
		return strings.Contains(h.access.String(), `"actor":"stolen"`)
	})
}

// What two servers could take for one request or for two must be one, or none. The other ways to write such a request
// are in packages listen and wire.
func TestNoRequestIsSmuggledInAnother(t *testing.T) {
	t.Parallel()
	h := open(t)
	const inner = "GET /enterprises/own" + nsso + "/ebox HTTP/1.1\r\nHost: localhost\r\n\r\n"
	const start = " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	whole := fmt.Sprintf("Content-Length: %d\r\n", len(inner))
	for name, request := range map[string]string{
		"in the body of a refused one": "POST " + box + "/../x" + start + whole,
		"in the body of a GET":         "GET " + mandates + start + whole,
		"behind one of two lengths":    "POST " + grant + "/mandates" + start + "Content-Length: 0\r\n" + whole,
	} {
		who := h.dial("")
		who.write(request + "\r\n" + inner)
		first, err := who.tryRead("GET")
		if err == nil && first.status < 400 {
			t.Errorf("%s: %d %s", name, first.status, first.body)
		}
		for err == nil { // whatever else comes on this connection
			_, err = who.tryRead("GET")
		}
		if n := h.sim.RequestCount("provider:nsso"); n != 0 {
			t.Fatalf("the inner request %s was served after %d", name, first.status)
		}
	}
}
