package whole_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
)

// Where programs that cannot be changed expect the platform, whose own name begins with https.
const platform = "http://services.socialsecurity.be"

// openPlatform starts a gateway whose upstreams have the platform's own names.
func openPlatform(t *testing.T, edits ...func(*testing.T, string) string) *house {
	t.Helper()
	const regional = "ebox.regional.example"
	sim := startSimulator(t, simulator.Options{PublicURL: strings.Replace(platform, "http", "https", 1),
		PublicRegionalURL: "https://" + regional})
	cert, key := certificate(t, "the platform", strings.TrimPrefix(platform, "http://"), regional)
	h := buildBefore(t, sim, clientDir, nil, append([]func(*testing.T, string) string{
		edit("server: {listen:", "server: {forwardProxy: true, tokenStub: /oauth/token, listen:"),
		edit("oauth:\n", "egress: {proxy: 'http://"+wayTo(t, sim.Address(), cert, key)+"', caFile: "+cert+"}\noauth:\n"),
	}, edits...)...)
	h.waitForProviders()
	return h
}

// wayTo starts an egress proxy whose every tunnel, and the TLS in it, ends at one address.
func wayTo(t *testing.T, address, certFile, keyFile string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close(); serving.Wait() })
	tunnel := func(conn net.Conn) {
		defer conn.Close()
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || r.Method != http.MethodConnect {
			return
		}
		up, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer up.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		inner := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
		serving.Go(func() {
			_, _ = io.Copy(inner, up)
			_ = conn.Close()
		})
		_, _ = io.Copy(up, inner)
	}
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { tunnel(conn) })
		}
	})
	return l.Addr().String()
}

// run runs a program that has nothing but the gateway for a proxy, and gives what it wrote.
func (h *house) run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	program := needs.Program(t, name, name)
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + t.TempDir(), "http_proxy=" + h.base,
		"https_proxy=" + h.base}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s\n%s", name, err, out, stderr.String(), h.access.String())
	}
	return string(out)
}

func TestAnUnchangedProgramWorksWithTheGatewayAsItsProxy(t *testing.T) {
	t.Parallel()
	h := openPlatform(t)
	var got struct {
		Messages, Document, Mandates int
		Location, ID                 string
	}
	if err := json.Unmarshal([]byte(h.run(t, "python3", "testdata/unchanged.py", mandated)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Messages < 3 || got.Document == 0 || got.Mandates < 1 || got.ID == "" || got.Location != platform+
		"/REST/grant/citizen/v1/mandates/"+got.ID {
		t.Errorf("%+v", got)
	}
	for _, r := range h.sim.Requests() {
		if strings.Contains(r.Header.Get("Authorization"), "worthless") || r.Client != client.ID {
			t.Errorf("%s got what the program had for a token: %q %v", r.Upstream, r.Client, r.Header)
		}
	}
	if log := h.log.String() + h.access.String(); strings.Contains(log, "eyJ.secret") ||
		strings.Contains(log, "worthless") {
		t.Error("the log holds what the program sent for a token")
	}
}

// What else is refused is in package server.
func TestAsAProxyTheGatewayReachesItsUpstreamsAlone(t *testing.T) {
	t.Parallel()
	h := openPlatform(t,
		edit("registry:\n", "registry:\n  providers: [{id: nested, url: "+
			"'https://services.socialsecurity.be/REST/ebox/enterprise/messageRegistry/v3/nested'}]\n"))
	host := strings.TrimPrefix(h.base, "http://")
	messages := platform + "/REST/ebox/enterprise/messageRegistry/v3/ebox/messages"
	for _, c := range []struct {
		name, line, detail string
		status             int
	}{
		{"its own admin listener", "GET " + h.adm + "/status", "No route", 404},
		{"a tunnel", "CONNECT services.socialsecurity.be:443", "http:// in place of https://", 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(h.sim.Requests())
			got := h.raw(c.line+" HTTP/1.1\r\nHost: services.socialsecurity.be\r\nConnection: close\r\n\r\n").want(t, c.status)
			if detail, _ := got.problem(t)["detail"].(string); !strings.Contains(detail, c.detail) {
				t.Error(detail)
			}
			if after := len(h.sim.Requests()); after != before {
				t.Errorf("%d requests were sent", after-before)
			}
		})
	}
	for _, c := range []struct{ name, target, upstream string }{
		{"the scheme does not matter", "https" + strings.TrimPrefix(messages, "http"), "provider:nsso"},
		{"nor the default port and capitals",
			"http://Services.SocialSecurity.be:80/REST/ebox/enterprise/messageRegistry/v3/ebox/messages", "provider:nsso"},
		{"of bases in one another the longest counts", platform + "/REST/ebox/enterprise/messageRegistry/v3/nested/ebox", ""},
		{"the gateway's own URL is no other than its path", h.base + "/ebox/providers/nsso/ebox/messages", "provider:nsso"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.raw("GET " + c.target + " HTTP/1.1\r\nHost: " + host + "\r\nOn-Behalf-Of-Enterprise-Number: " + mandated +
				"\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nConnection: close\r\n\r\n")
			if c.upstream == "" {
				if !strings.Contains(h.access.String(), `"provider":"nested"`) {
					t.Errorf("%d %s", got.status, got.body)
				}
				return
			}
			got.want(t, 200)
			for name := range h.last(c.upstream).Header {
				if strings.HasPrefix(name, "Proxy-") {
					t.Errorf("%s went on", name)
				}
			}
			base, _, _ := strings.Cut(c.target, "/ebox/messages")
			for _, link := range linksIn(t, got) {
				if !strings.HasPrefix(link, base+"/") && !strings.HasPrefix(link, strings.TrimPrefix(base, h.base)+"/") &&
					!strings.HasPrefix(link, "/REST/ebox/enterprise/messageRegistry/v3/") {
					t.Errorf("%s does not lead to %s", link, base)
				}
			}
		})
	}
	list := h.raw("GET "+platform+"/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries "+
		"HTTP/1.0\r\n\r\n").want(t, 200)
	for _, provider := range []string{platform + "/REST/ebox/enterprise/messageRegistry/v3",
		"http://ebox.regional.example/ebox/enterprise/v2"} {
		if !strings.Contains(list.body, `"`+provider+`"`) {
			t.Errorf("no %s in %s", provider, list.body)
		}
	}
}

func TestTheTokenStubGivesATokenThatMeansNothing(t *testing.T) {
	t.Parallel()
	h := openPlatform(t)
	proxied := func(url string) answer {
		return h.raw("POST " + url + " HTTP/1.1\r\nHost: services.socialsecurity.be\r\nContent-Length: 16\r\nConnection: " +
			"close\r\n\r\nclient_secret=s3")
	}
	for name, got := range map[string]answer{
		"by its path": h.send("POST", "/oauth/token",
			strings.NewReader("grant_type=client_credentials&client_secret=s3")),
		"by the token endpoint's URL": proxied(platform + "/REST/oauth/v5/token"),
		"by a caller that sends it itself": h.send("POST", "/oauth/token", strings.NewReader(""),
			"Authorization: Basic c2VjcmV0OnMz"),
	} {
		var token struct {
			AccessToken string `json:"access_token"`
			TokenType   string `json:"token_type"`
			ExpiresIn   int    `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(got.want(t, 200).body), &token); err != nil || token.AccessToken == "" ||
			token.TokenType != "Bearer" || token.ExpiresIn <= 0 {
			t.Errorf("%s: %v %s", name, err, got.body)
		}
		if got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, got.header)
		}
	}
	if log := h.log.String() + h.access.String(); strings.Contains(log, "s3") {
		t.Error("the log holds a secret")
	}
	for _, r := range h.sim.RequestsTo(simulator.UpstreamToken) {
		if r.Client != client.ID {
			t.Error("a token request was forwarded")
		}
	}
}

func TestScopesThatAnUpstreamAsksForAreShown(t *testing.T) {
	t.Parallel()
	h := open(t)
	const scope = "scope:document:management:consult:ws-eboxrestentreprise:other"
	h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 403,
		ContentType: "application/problem+json",
		Body: `{"type":"urn:problem-type:belgif:missingScope","status":403,"requiredScopes":["` + scope +
			`","\u202ebad\n"]}`})
	h.get(messages).want(t, 403)
	eventually(t, "the access line", func() bool {
		return strings.Contains(h.access.String(), `"missingScopes":"`+scope+`"`)
	})
	if status := h.operate("GET", "/status").body; !strings.Contains(status, `"missingScopes": "`+scope+`"`) {
		t.Errorf("the refused enterprise is without the scope in %s", status)
	}
}
