package whole_test

import (
	"crypto/tls"
	"regexp"
	"strings"
	"testing"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

const (
	registryRoute = "/ebox/registry/messageRegistries"
	mandates      = grant + "/mandates?representedEnterpriseNumber=" + mandated
	regionalBox   = "/enterprises/" + mandated + regional + "/ebox"
)

func orderMandate(h *house) answer {
	return h.post(grant+"/mandates", `{`+flexiJob+`,"representedEnterpriseNumber":"`+mandated+`"}`)
}

func hideMessage(h *house) answer {
	return h.send("PATCH", messages, strings.NewReader(`{"items":[{"messageId":"`+simulator.FirstMessage+
		`","visible":true}]}`), mergePatch)
}

// An upstream breaks down. Whoever calls it gets the contract's answer, whoever calls another one on the same
// host notices nothing, and when it is back, it is used again. How each breakdown is told from the others is shown
// in package egress, and what each is to a caller in package proxy.
func TestTheFaultMatrix(t *testing.T) {
	t.Parallel()
	broken := func(more string) *house {
		settings := "retry: {tries: 1}, breaker: {enabled: false}" + more
		return open(t, providers(strings.Split(settings, ", ")...), ofRoute("grant-citizen", settings))
	}
	h, impatient := broken(""), broken(", timeouts: {header: 500ms}")
	for _, v := range []struct {
		upstream string
		read     string
		write    func(*house) answer
		others   []string // paths whose upstreams share its host
	}{
		{simulator.ProviderUpstream("nsso"), box, hideMessage, []string{regionalBox, mandates, registryRoute}},
		{simulator.UpstreamGrant, mandates, orderMandate, []string{box, regionalBox, registryRoute}},
	} {
		for _, b := range []struct {
			h          *house
			fault      simulator.Fault
			status     int
			proxyError string // "" for upstream's own answer
		}{
			{h, simulator.Fault{Kind: simulator.FaultReset}, 502, "connection_terminated"},
			{h, simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "3"}, 503, ""},
			{impatient, simulator.Fault{Kind: simulator.FaultFreeze}, 504, "http_response_timeout"},
		} {
			t.Run(v.upstream+" "+string(b.fault.Kind), func(t *testing.T) {
				works := func() bool { return b.h.get(v.read).status == 200 }
				eventually(t, "the upstream to be used", works)
				b.fault.Upstream = v.upstream
				b.h.fault(b.fault)
				read := b.h.get(v.read)
				before := b.h.sim.RequestCount(v.upstream)
				write := v.write(b.h)
				if n := b.h.sim.RequestCount(v.upstream) - before; n != 1 {
					t.Errorf("a write was sent %d times", n)
				}
				for _, path := range v.others {
					b.h.get(path).want(t, 200)
				}
				for _, got := range []answer{read.want(t, b.status), write.want(t, b.status)} {
					said := got.header.Get("Proxy-Status")
					if b.proxyError == "" {
						if strings.Contains(said, "error=") || got.header.Get("Retry-After") != "3" {
							t.Errorf("no answer of the upstream's: %v %s", got.header, got.body)
						}
						continue
					}
					kind := map[int]string{502: "belgif:badGateway", 504: "ebox-gateway:gatewayTimeout"}[b.status]
					if got.problem(t)["type"] != "urn:problem-type:"+kind || !strings.Contains(said, "error="+b.proxyError) ||
						strings.Contains(got.body+said, "127.0.0.1") {
						t.Errorf("%s %s", said, got.body)
					}
				}
				if b.proxyError != "" && (read.problem(t)["requestSent"] != nil || write.problem(t)["requestSent"] != true) {
					t.Errorf("%s\n%s", read.body, write.body)
				}
				b.h.sim.ClearFaults()
				eventually(t, "the upstream to be used again", works)
			})
		}
	}
	t.Run("Authorization Server", func(t *testing.T) {
		h := open(t)
		others := []string{box, regionalBox, registryRoute} // they have their tokens
		for _, path := range others {
			h.get(path).want(t, 200)
		}
		h.fault(simulator.Fault{Upstream: simulator.UpstreamToken, Kind: simulator.FaultStatus, Status: 503, RetryAfter: "1"})
		for _, got := range []answer{h.get(mandates), orderMandate(h)} {
			if retryAfterOf(t, got.want(t, 503)); !strings.Contains(got.header.Get("Proxy-Status"),
				"error=destination_unavailable") {
				t.Errorf("%v %s", got.header, got.body)
			}
		}
		for _, path := range others {
			h.get(path).want(t, 200)
		}
		h.sim.ClearFaults()
		eventually(t, "tokens to come again", func() bool { return h.get(mandates).status == 200 })
	})
}

// The functions lead… have an upstream called at another base, scheme and authority, in front of its path.

func leadProvider(t *testing.T, text, base string) string {
	return edit("registry:\n", "registry:\n  providers: [{id: nsso, url: '"+base+
		"/REST/ebox/enterprise/messageRegistry/v3', apiVersion: '3.0'}]\n")(t, text)
}

func leadRegistry(t *testing.T, text, base string) string {
	text = regexp.MustCompile(`(registry:\n  url: )http://[^/]+`).ReplaceAllString(text, "${1}"+base)
	return leadRoute(t, text, "ebox-registry", base)
}

// leadTokens leads the requests for tokens elsewhere; the audience stays.
func leadTokens(t *testing.T, text, base string) string {
	t.Helper()
	found := regexp.MustCompile(`tokenUrl: (http://[^/]+)(\S+)`).FindStringSubmatch(text)
	return edit(found[0], "tokenUrl: "+base+found[2]+"\n  audience: "+found[1]+found[2]+
		"\n  allowHttp: true\n  allowPrivateNetworks: true")(t, text)
}

// leadRoute leads a route of the configuration elsewhere.
func leadRoute(t *testing.T, text, name, base string) string {
	t.Helper()
	text = regexp.MustCompile(`(?s)(name: `+name+`\b.*?upstream: ")http://[^/"]+`).ReplaceAllString(text, "${1}"+base)
	if line := "name: " + name + "\n"; strings.Contains(text, line) {
		return edit(line, line+"    allowHttp: true\n    allowPrivateNetworks: true\n")(t, text)
	}
	return edit("name: "+name+",", "name: "+name+", allowHttp: true, allowPrivateNetworks: true,")(t, text)
}

// theHost is where the simulator's platform listens.
func theHost(text string) string {
	return regexp.MustCompile(`tokenUrl: http://([^/]+)`).FindStringSubmatch(text)[1]
}

// identity is a server's certificate, and the file that clients know it by.
type identity struct {
	certificate tls.Certificate
	file        string
}

func pair(t *testing.T, name string) identity {
	t.Helper()
	certFile, keyFile := certificate(t, name, name)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.Must(t, err)
	return identity{cert, certFile}
}
