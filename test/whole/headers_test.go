package whole_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
)

func TestWhatTheGatewayAloneMaySayIsNeverTakenFromTheCaller(t *testing.T) {
	h := open(t)
	stolen := "stolen"
	fields := []string{
		"Authorization", "AUTHORIZATION", "Proxy-Authorization", "Cookie", "Cookie2",
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X.Forwarded.For",
		"X_Forwarded_For", "X-Forwarded-Anything",
		"X-Real-Ip", "Client-Ip", "True-Client-Ip", "Proxy", "Via", "X-Actor", "X_Actor", "X-Purpose",
		"Traceparent", "Tracestate", "Baggage", "B3", "X-B3-Traceid", "X-Request-Id", "X-Correlation-Id", "BelGov-Trace-Id",
		"BelGov-Related-Trace-Id", "BelGov_Trace_Id",
		"X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "Proxy-Connection", "Keep-Alive", "Te",
	}
	request := "GET " + box + "/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	for _, name := range fields {
		request += name + ": " + stolen + "\r\n"
	}
	request += "X-Custom: kept\r\nAccept-Language: nl\r\nUser-Agent: payroll/1.0\r\n\r\n"
	c := h.dial("")
	c.write(request)
	c.read("GET").want(t, 200)
	r := h.last("provider:nsso")
	if bad := r.Improper(); len(bad) > 0 {
		t.Errorf("upstream saw %v", bad)
	}
	for name, values := range r.Header {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, stolen) }) {
			t.Errorf("upstream saw %s: %q", name, values)
		}
	}
	if auth := r.Header["Authorization"]; len(auth) != 1 || !strings.HasPrefix(auth[0], "Bearer ") ||
		r.Client != client.ID {
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
	for name := range r.Header {
		if !slices.Contains(known, name) {
			t.Errorf("upstream saw %s", name)
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

// Names that Connection lists are hop-by-hop: the caller's own fields of that name
// go no further, the gateway's own do.
func TestConnectionCannotRemoveWhatTheGatewaySets(t *testing.T) {
	h := open(t)
	for _, path := range []string{box + "/messages", "/enterprises/" + mandated + grant +
		"/mandates?representedEnterpriseNumber=" + mandated} {
		h.sim.ResetRequests()
		c := h.dial("")
		c.write("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close, authorization, " +
			"on-behalf-of-enterprise-number, belgov-trace-id,via , X-Hop\r\nX-Hop: x\r\nX-End: y\r\n\r\n")
		c.read("GET").want(t, 200)
		for _, r := range h.sim.Requests() {
			if r.Upstream == simulator.UpstreamToken {
				continue
			}
			if r.Enterprise != mandated || r.Client != client.ID || r.Header.Get("Belgov-Trace-Id") == "" ||
				r.Header.Get("Via") == "" || r.Header.Get("X-End") != "y" {
				t.Errorf("%s saw %v", r.Upstream, r.Header)
			}
			if r.Header.Get("X-Hop") != "" || r.Header.Get("Connection") != "" {
				t.Errorf("%s saw what is hop-by-hop: %v", r.Upstream, r.Header)
			}
		}
	}
	// With the header form, the caller's field is what says for whom it is.
	h.as("", "GET", nsso+"/ebox", "On-Behalf-Of-Enterprise-Number: "+mandated,
		"Connection: on-behalf-of-enterprise-number").want(t, 200)
	if r := h.last("provider:nsso"); r.Enterprise != mandated {
		t.Errorf("upstream saw %q", r.Enterprise)
	}
}

func TestARouteForNobodyIsToldOfNobody(t *testing.T) {
	h := open(t)
	const list = "/ebox/registry/messageRegistries"
	for _, c := range []struct {
		path, field string
		status      int
	}{
		{"/enterprises/" + mandated + list, "Accept: */*", 200},
		{list, "On-Behalf-Of-Enterprise-Number: " + mandated, 200},
		{list, "On-Behalf-Of-Enterprise-Number: " + unlisted, 403}, // a wrong one must not go unnoticed
	} {
		h.sim.ResetRequests()
		h.get(c.path, c.field).want(t, c.status)
		for _, r := range h.sim.RequestsTo(simulator.UpstreamRegistry) {
			if r.Enterprise != "" {
				t.Errorf("%s %s: the registry was told of %s", c.path, c.field, r.Enterprise)
			}
		}
	}
}

func TestEveryCallHasATraceIdOfItsOwn(t *testing.T) {
	h := open(t)
	seen := make(map[string]bool)
	for range 5 {
		got := h.get(box, "BelGov-Trace-Id: mine").want(t, 200)
		sent := h.last("provider:nsso").Header["Belgov-Trace-Id"]
		if len(sent) != 1 || len(sent[0]) != 36 || seen[sent[0]] {
			t.Fatalf("upstream saw %q", sent)
		}
		seen[sent[0]] = true
		// The upstream's own, and its repetition of ours, tie the two logs together.
		if got.header.Get("Belgov-Related-Trace-Id") != sent[0] || got.header.Get("Belgov-Trace-Id") == "" {
			t.Errorf("%v", got.header)
		}
		for _, id := range []string{sent[0], got.header.Get("Belgov-Trace-Id")} {
			eventually(t, "the access line with "+id, func() bool { return strings.Contains(h.access.String(), id) })
		}
	}
	for _, r := range h.sim.Requests() {
		if id := r.Header.Get("Belgov-Trace-Id"); id == "" || len(id) > 36 {
			t.Errorf("%s saw the trace id %q", r.Upstream, id)
		}
	}
}

func TestFieldsOfAnAnswer(t *testing.T) {
	h := open(t)
	for _, body := range []string{`{"a":1}`, "plain text"} {
		contentType := "application/json"
		if body[0] != '{' {
			contentType = "text/plain"
		}
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 200, Body: body,
			ContentType: contentType, Header: http.Header{
				"Set-Cookie": {"session=1", "b=2"}, "Set-Cookie2": {"x"}, "Strict-Transport-Security": {"max-age=1"}, "Alt-Svc": {
					`h3=":443"`},
				"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"},
				"Access-Control-Expose-Headers": {"*"},
				"Proxy-Authenticate":            {"Basic"}, "Keep-Alive": {"timeout=5"}, "X-Hop": {"x"}, "Connection": {"X-Hop"},
				"Upgrade":      {"h2c"},
				"X-Request-Id": {"theirs"}, "X-Ebox-Environment": {"theirs"},
				"Www-Authenticate": {"Bearer"}, "X-Custom": {"one", "two"}, "Cache-Control": {"private, max-age=5"},
				"Etag": {`"tag"`}, "Last-Modified": {"Sun, 22 Nov 2026 10:00:00 GMT"},
				"Content-Language": {"nl"}, "Warning": {`199 - "x"`}, "Retry-After": {"7"}, "X-Ratelimit-Remaining": {"3"},
				"Via": {"1.1 edge"}, "Server": {"Apache"},
				"Content-Security-Policy": {"default-src 'none'"}, "Digest": {"SHA-256=x"}, "Vary": {"Accept-Language"},
			}})
		got := h.get(box+"/messages").want(t, 200)
		for _, name := range []string{
			"Set-Cookie", "Set-Cookie2", "Strict-Transport-Security", "Alt-Svc", "Access-Control-Allow-Origin",
			"Access-Control-Allow-Credentials",
			"Access-Control-Expose-Headers", "Proxy-Authenticate", "Keep-Alive", "X-Hop", "Connection", "Upgrade",
		} {
			if v, there := got.header[name]; there {
				t.Errorf("%s: %q", name, v)
			}
		}
		for name, want := range map[string]string{
			"Www-Authenticate": "Bearer", "X-Custom": "one|two", "Cache-Control": "private, max-age=5",
			"Last-Modified":    "Sun, 22 Nov 2026 10:00:00 GMT",
			"Content-Language": "nl", "Warning": `199 - "x"`, "Retry-After": "7", "X-Ratelimit-Remaining": "3",
			"Server":                  "Apache",
			"Content-Security-Policy": "default-src 'none'", "Vary": "Accept-Language", "Via": "1.1 edge|1.1 ebox-gateway",
			"X-Ebox-Environment": "custom",
			"Content-Type":       contentType,
		} {
			if v := strings.Join(got.header[name], "|"); v != want {
				t.Errorf("%s: %q instead of %q", name, v, want)
			}
		}
		if ids := got.header["X-Request-Id"]; len(ids) != 1 || len(ids[0]) != 36 {
			t.Errorf("X-Request-Id: %q", ids)
		}
		// A digest of bytes that were rewritten would be wrong; that of others is kept.
		if kept := got.header.Get("Digest") != ""; kept != (contentType == "text/plain") {
			t.Errorf("%s: Digest %q", contentType, got.header.Get("Digest"))
		}
		if status := got.header.Get("Proxy-Status"); status != "" {
			t.Errorf("a success at the first try needs no explanation: %q", status)
		}
		if got.body != body {
			t.Errorf("%q", got.body)
		}
	}
}

func TestProxyStatusTellsWhoseAnErrorIs(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		name   string
		fault  simulator.Fault
		status int
		proxy  string
	}{
		{"upstream's 404", simulator.Fault{Kind: simulator.FaultStatus, Status: 404}, 404,
			"ebox-gateway; received-status=404"},
		{"upstream's 500", simulator.Fault{Kind: simulator.FaultStatus, Status: 500}, 500,
			"ebox-gateway; received-status=500"},
		{"upstream's 429", simulator.Fault{Kind: simulator.FaultStatus, Status: 429, RetryAfter: "3"}, 429,
			"ebox-gateway; received-status=429"},
		{"reset", simulator.Fault{Kind: simulator.FaultReset}, 502, "ebox-gateway; error=connection_terminated"},
		{"closed without an answer", simulator.Fault{Kind: simulator.FaultClose}, 502,
			"ebox-gateway; error=connection_terminated"},
		{"no HTTP", simulator.Fault{Kind: simulator.FaultMalformed}, 502, "ebox-gateway; error=http_protocol_error"},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(c.name+" "+method, func(t *testing.T) {
				h.sim.ClearFaults()
				c.fault.Upstream = "provider:nsso"
				h.fault(c.fault)
				var got answer
				if method == "GET" {
					got = h.get(box + "/messages")
				} else {
					got = h.post(box+"/messages/"+simulator.FirstMessage+"/replies", "{}")
				}
				got.want(t, c.status)
				if status := got.header.Get("Proxy-Status"); !strings.HasPrefix(status, c.proxy) {
					t.Errorf("Proxy-Status %q", status)
				}
				if strings.Contains(got.body, "127.0.0.1") || strings.Contains(got.body, "dial") {
					t.Errorf("internals: %s", got.body)
				}
				if c.status == 502 {
					p := got.problem(t)
					if p["type"] != "urn:problem-type:belgif:badGateway" || (p["requestSent"] == true) != (method == "POST") {
						t.Errorf("%s", got.body)
					}
				}
			})
		}
	}
}

func TestRedirectsArePassedOnWithTheirTargetRewritten(t *testing.T) {
	h := open(t)
	base := h.sim.ProviderURL("nsso")
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, location, want string
		status               int
	}{
		{"into the upstream", base + "/ebox/messages/5?x=1#y", h.base + box + "/messages/5?x=1#y", 307},
		{"an absolute path of it", u.Path + "/ebox/messages/5", box + "/messages/5", 303},
		{"elsewhere", "https://elsewhere.example/x", "https://elsewhere.example/x", 302},
		{"a neighbour that begins alike", base + "x/ebox", base + "x/ebox", 301},
		{"out of the base again", base + "/../other", base + "/../other", 302},
		{"relative", "5?x=1", "5?x=1", 308},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ClearFaults()
			h.sim.ResetRequests()
			h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultRedirect, Status: c.status,
				Header: http.Header{"Location": {c.location}}})
			got := h.get(box+"/messages").want(t, c.status)
			if location := got.header.Get("Location"); location != c.want {
				t.Errorf("Location %q instead of %q", location, c.want)
			}
			if n := len(h.sim.Requests()) - int(h.tokenRequests()); n != 1 {
				t.Errorf("%d requests: it was followed", n)
			}
		})
	}
}
