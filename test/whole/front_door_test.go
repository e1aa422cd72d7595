package whole_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and reads the answer to the end of the connection or
// of the body.
func (h *house) raw(request string) answer {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		h.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: strings.SplitN(request, " ", 2)[0]})
	if err != nil {
		h.t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%q: reading the body: %v", request, err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestPagesInBrowsersAreTurnedAway(t *testing.T) {
	h := open(t, edit("server: {listen:", "server: {allowedOrigins: ['https://app.example.be'], listen:"))
	const path = "/enterprises/0206731645/ebox/providers/nsso/ebox"
	for _, c := range []struct {
		name   string
		fields []string
		status int
	}{
		{"program", nil, 200},
		{"typed into the address bar", []string{"Sec-Fetch-Site: none"}, 200},
		{"same origin", []string{"Sec-Fetch-Site: same-origin"}, 200},
		{"cross site", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"same site, other origin", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"foreign origin", []string{"Origin: https://evil.example"}, 403},
		{"null origin", []string{"Origin: null"}, 403},
		{"own address as origin", []string{"Origin: " + h.base}, 403},
		{"foreign referer", []string{"Referer: https://evil.example/page"}, 403},
		{"referer that is no URL", []string{"Referer: ://"}, 403},
		{"own referer", []string{"Referer: " + h.base + "/x"}, 200},
		{"allowed origin", []string{"Origin: https://app.example.be", "Sec-Fetch-Site: cross-site",
			"Referer: https://app.example.be/x"}, 200},
		{"allowed origin twice", []string{"Origin: https://app.example.be", "Origin: https://app.example.be"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.get(path, c.fields...).want(t, c.status)
			if allow := got.header.Get("Access-Control-Allow-Origin"); (c.name == "allowed origin") !=
				(allow == "https://app.example.be") {
				t.Errorf("Access-Control-Allow-Origin %q", allow)
			}
		})
	}
	t.Run("preflight", func(t *testing.T) {
		got := h.send("OPTIONS", path, nil, "Origin: https://app.example.be", "Access-Control-Request-Method: GET",
			"Access-Control-Request-Headers: on-behalf-of-enterprise-number").want(t, 204)
		if !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "GET") ||
			got.header.Get("Access-Control-Allow-Headers") != "on-behalf-of-enterprise-number" ||
			got.header.Get("Access-Control-Allow-Origin") != "https://app.example.be" {
			t.Errorf("%v", got.header)
		}
		h.send("OPTIONS", path, nil, "Origin: https://evil.example", "Access-Control-Request-Method: GET").want(t, 403)
	})
	if n := h.sim.RequestCount("provider:nsso"); n != 5 {
		t.Errorf("upstream saw %d requests instead of the 5 allowed ones", n)
	}
}

func TestPathsWithoutARoute(t *testing.T) {
	h := open(t)
	for path, hint := range map[string]string{
		"/":                             "/ebox/providers",
		"/nothing":                      "/grant/citizen",
		"/enterprises/0206731645":       "/ebox/providers",
		"/eboxes":                       "/ebox/providers",
		"/%65box/providers":             "/ebox/providers",
		"/ebox/messages/17/attachments": "/ebox/providers/nsso/ebox/messages/17/attachments",
		"/enterprises/0206731645/ebox/messages/17": "/enterprises/0206731645/ebox/providers/regional/ebox/messages/17",
		"/ebox/providers/unheard/ebox":             "unheard",
		"/ebox/providers/NSSO/ebox":                "NSSO",
		"/ebox/providers/retired/ebox":             "retired",
		"/ebox/providers/upcoming/ebox":            "upcoming",
		"/ebox/providers/../registry/foo":          "",
		// What a base URL and a path make that do not fit together.
		"/enterprises/0206731645//ebox/messages": "two slashes in a row",
		"/ebox/":                                 "ends with a slash",
		"/Ebox/Messages":                         "Capital letters count",
		"/enterprises/0206731645/ebox/messages/": "use /enterprises/0206731645/ebox/messages.",
	} {
		got := h.get(path, "On-Behalf-Of-Enterprise-Number: 0206731645")
		if strings.Contains(path, "..") {
			continue // the client itself resolves it; what it then finds is another path
		}
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

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	h := open(t)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(h.base + "/enterprises/0206731645/ebox/providers/nsso/ebox")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
}

func TestEveryAnswerNamesRequestAndEnvironment(t *testing.T) {
	h := open(t)
	seen := make(map[string]bool)
	for _, path := range []string{"/ebox/providers", "/nothing", "/enterprises/0206731645/ebox/providers/nsso/ebox"} {
		got := h.get(path, "X-Request-Id: mine", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		id := got.header.Get("X-Request-Id")
		if len(id) != 36 || seen[id] || id == "mine" || len(got.header.Values("X-Request-Id")) != 1 {
			t.Errorf("%s: X-Request-Id %q", path, id)
		}
		seen[id] = true
		if env := got.header.Values("X-EBox-Environment"); len(env) != 1 || env[0] != "custom" {
			t.Errorf("%s: X-EBox-Environment %q", path, env)
		}
		if got.status == 404 && got.problem(t)["instance"] != "urn:uuid:"+id {
			t.Errorf("%s: instance is not the request: %s", path, got.body)
		}
		eventually(t, "the access line", func() bool { return strings.Contains(h.access.String(), `"requestId":"`+id+`"`) })
	}
}

func TestAdminListener(t *testing.T) {
	h := open(t)
	eventually(t, "readiness", func() bool { return h.operate("GET", "/readyz").status == 200 })
	for path, status := range map[string]int{"/livez": 200, "/startupz": 200, "/readyz": 200, "/health": 200,
		"/status": 200, "/x": 404} {
		resp, err := h.http.Get(h.adm + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		for _, secret := range []string{"Bearer", "PRIVATE", "password"} {
			if strings.Contains(string(body), secret) {
				t.Errorf("%s shows %s", path, secret)
			}
		}
	}
	req, _ := http.NewRequestWithContext(context.Background(), "GET", h.adm+"/status", nil)
	req.Header.Set("Origin", "https://evil.example")
	resp, err := h.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("a page may read the status: %d", resp.StatusCode)
	}
}

func TestTLSListenerServesHTTP2(t *testing.T) {
	cert, key := certificate(t, "server")
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, "server: {listen: ['127.0.0.1:0', {address: '127.0.0.1:0', "+
		"name: tls, tls: {certFile: "+cert+", keyFile: "+key+"}}]"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + h.gw.Addrs()[1].String() +
		"/enterprises/0206731645/ebox/providers/nsso/ebox/messages?pageSize=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 || !strings.Contains(string(body), `"href":"https://127.0.0.1:`) {
		t.Errorf("%s %s %s", resp.Proto, resp.Status, body)
	}
}
