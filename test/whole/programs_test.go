package whole_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// Where programs that cannot be changed expect the platform, whose own name begins with https.
const platform = "http://services.socialsecurity.be"

// openPlatform starts a gateway whose upstreams have the platform's own names, and gives the way to them.
func openPlatform(t *testing.T) (*house, *egressProxy) {
	t.Helper()
	const regional = "ebox.regional.example"
	sim := lab.Simulator(t, simulator.Options{PublicURL: strings.Replace(platform, "http", "https", 1),
		PublicRegionalURL: "https://" + regional})
	platforms := certificate(t, "the platform", strings.TrimPrefix(platform, "http://"), regional)
	certFile, _ := platforms.Files(t, t.TempDir())
	way := new(egressProxy)
	h := before(t, sim, edit("server: {listen:", "server: {forwardProxy: true, tokenStub: /oauth/token, listen:"),
		edit("oauth:\n", "egress: {proxy: 'http://"+way.to(t, sim.Address(), platforms)+"', caFile: "+certFile+
			"}\noauth:\n"))
	h.AwaitProviders()
	return h, way
}

// egressProxy is one whose every tunnel, and the TLS in it, ends at one address.
type egressProxy struct {
	stumbles atomic.Int64 // how many of the next connections are closed at once
	conns    sync.Map
}

// stumble closes all connections, and each of the next n before anything can be sent on it.
func (p *egressProxy) stumble(n int64) {
	p.stumbles.Store(n)
	p.conns.Range(func(conn, _ any) bool {
		_ = conn.(net.Conn).Close()
		return true
	})
}

func (p *egressProxy) to(t *testing.T, address string, server *testkit.Certificate) string {
	t.Helper()
	return testkit.Accept(t, func(_ int, conn net.Conn) {
		if p.stumbles.Add(-1) >= 0 {
			return
		}
		p.conns.Store(conn, nil)
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || r.Method != http.MethodConnect {
			return
		}
		up, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		var back sync.WaitGroup
		defer back.Wait()
		defer up.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		inner := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{server.TLS()}})
		back.Go(func() {
			_, _ = io.Copy(inner, up)
			_ = conn.Close()
		})
		_, _ = io.Copy(up, inner)
	})
}

// run runs a program that has nothing but the gateway for a proxy, and gives what it wrote.
func (h *house) run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	program := needs.Program(t, name, name)
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + t.TempDir(), "http_proxy=" + h.Base,
		"https_proxy=" + h.Base}
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
	h, _ := openPlatform(t)
	var got struct {
		Messages, Document, Mandates int
		Location, ID                 string
	}
	testkit.Must(t, json.Unmarshal([]byte(h.run(t, "python3", "testdata/unchanged.py", mandated)), &got))
	if got.Messages < 3 || got.Document == 0 || got.Mandates < 1 || got.ID == "" || got.Location != platform+
		"/REST/grant/citizen/v1/mandates/"+got.ID {
		t.Errorf("%+v", got)
	}
	for _, r := range h.sim.Requests() {
		if strings.Contains(r.Header.Get("Authorization"), "worthless") || r.Client != lab.Client(t).ID {
			t.Errorf("%s got what the program had for a token: %q %v", r.Upstream, r.Client, r.Header)
		}
	}
	if log := h.log.String() + h.access.String(); strings.Contains(log, "eyJ.secret") ||
		strings.Contains(log, "worthless") {
		t.Error("the log holds what the program sent for a token")
	}
}

// What is refused, and where else a target may lead, is in package server.
func TestAsAProxyTheGatewayReachesItsUpstreamsAlone(t *testing.T) {
	t.Parallel()
	h, _ := openPlatform(t)
	ask := func(line, more string) answer {
		return h.raw(line + " HTTP/1.1\r\nHost: services.socialsecurity.be\r\nConnection: close\r\n" + more + "\r\n")
	}
	ask("CONNECT services.socialsecurity.be:443", "").want(t, 405)
	if n := h.sim.RequestCount(upstreamOf(nsso)); n != 0 {
		t.Errorf("a tunnel was made: %d requests were sent", n)
	}

	const base = "https://services.socialsecurity.be/REST/ebox/enterprise/messageRegistry/v3"
	got := ask("GET "+base+"/ebox/messages", "On-Behalf-Of-Enterprise-Number: "+mandated+
		"\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n").want(t, 200)
	for name := range h.last("provider:nsso").Header {
		if strings.HasPrefix(name, "Proxy-") {
			t.Errorf("%s went on", name)
		}
	}
	for _, link := range linksIn(t, got) {
		if !strings.HasPrefix(link, base+"/") && !strings.HasPrefix(link, "/REST/ebox/enterprise/messageRegistry/v3/") {
			t.Errorf("%s does not lead to %s", link, base)
		}
	}
	list := ask("GET "+platform+"/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries", "")
	for _, provider := range []string{platform + "/REST/ebox/enterprise/messageRegistry/v3",
		"http://ebox.regional.example/ebox/enterprise/v2"} {
		if !strings.Contains(list.want(t, 200).body, `"`+provider+`"`) {
			t.Errorf("no %s in %s", provider, list.body)
		}
	}

	for name, token := range map[string]answer{
		"by its path": h.send("POST", "/oauth/token", strings.NewReader("client_secret=s3")),
		"by the token endpoint's URL": ask("POST "+platform+"/REST/oauth/v5/token",
			"Content-Length: 16\r\n\r\nclient_secret=s3"),
	} {
		if !strings.Contains(token.want(t, 200).body, `"access_token":"worthless"`) {
			t.Errorf("%s: %s", name, token.body)
		}
	}
	if log := h.log.String() + h.access.String(); strings.Contains(log, "s3") {
		t.Error("the log holds a secret")
	}
	for _, r := range h.sim.RequestsTo(simulator.UpstreamToken) {
		if r.Client != lab.Client(t).ID {
			t.Error("a token request was forwarded")
		}
	}
}
