package whole_test

import (
	"crypto/tls"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"ebox-gateway/internal/simulator"
)

// Every upstream breaks down. Whoever calls it gets the contract's answer, whoever calls another one on the same
// host notices nothing, and when it is back, it is used again. How each breakdown is told from the others is shown
// in package egress.

const (
	registryRoute = "/ebox/registry/messageRegistries"
	mandates      = grant + "/mandates?representedEnterpriseNumber=" + mandated
	regionalBox   = "/enterprises/" + mandated + regional + "/ebox"
)

// victim is an upstream that breaks down.
type victim struct {
	name     string
	upstream string // the simulator's name of it
	read     string
	write    func(*house) answer // nil if it takes none
	others   []string            // paths whose upstreams share its host
	// settings gives its route further settings, and no cache.
	settings func(settings ...string) func(*testing.T, string) string
	// lead puts base, scheme and authority, in front of its path in the configuration.
	lead func(t *testing.T, text, base string) string
}

func orderMandate(h *house) answer {
	return h.post(grant+"/mandates", `{`+flexiJob+`,"representedEnterpriseNumber":"`+mandated+`"}`)
}

func hideMessage(h *house) answer {
	return h.send("PATCH", messages, strings.NewReader(`{"items":[{"messageId":"`+simulator.FirstMessage+
		`","visible":true}]}`), mergePatch)
}

var (
	theProvider = victim{
		"provider", simulator.ProviderUpstream("nsso"), box, hideMessage, []string{regionalBox, mandates, registryRoute},
		providers,
		func(t *testing.T, text, base string) string {
			return edit("registry:\n", "registry:\n  providers: [{id: nsso, url: '"+base+
				"/REST/ebox/enterprise/messageRegistry/v3', apiVersion: '3.0'}]\n")(t, text)
		},
	}
	grantCitizen = victim{
		"grant-citizen", simulator.UpstreamGrant, mandates, orderMandate, []string{box, regionalBox, registryRoute},
		func(settings ...string) func(*testing.T, string) string {
			return ofRoute("grant-citizen", strings.Join(settings, ", "))
		},
		func(t *testing.T, text, base string) string { return leadRoute(t, text, "grant-citizen", base) },
	}
	theRegistry = victim{
		"registry", simulator.UpstreamRegistry, registryRoute, nil, []string{box, regionalBox, mandates},
		func(settings ...string) func(*testing.T, string) string {
			return edit("name: ebox-registry\n", "name: ebox-registry\n    "+uncached+"\n    "+
				strings.Join(settings, "\n    ")+"\n")
		},
		func(t *testing.T, text, base string) string {
			text = regexp.MustCompile(`(registry:\n  url: )http://[^/]+`).ReplaceAllString(text, "${1}"+base)
			return leadRoute(t, text, "ebox-registry", base)
		},
	}
)

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

// verdict is what the contract says of a failure.
type verdict struct {
	status     int
	proxyError string // "" for upstream's own answer
	sent       bool   // of a write
}

// breakdown is a way to break down, and to come back.
type breakdown struct {
	name       string
	begin, end func(*cell)
	want       verdict
}

func block(b blockage) func(*cell) { return func(c *cell) { c.detour.block(b) } }

func lay(f simulator.Fault) func(*cell) {
	return func(c *cell) { f := f; f.Upstream = c.upstream; c.h.fault(f) }
}

func clearFaults(c *cell) { c.h.sim.ClearFaults() }

// stopped is the breakdown in the middle of a write.
const stopped = "stopped in mid-call"

var breakdowns = []breakdown{
	{"certificate of nobody known", func(c *cell) { c.untrusted.Store(true); c.detour.block(passing) },
		func(c *cell) { c.untrusted.Store(false) }, verdict{502, "tls_certificate_error", false}},
	{"no TLS at all", block(talkingOther), block(passing), verdict{502, "tls_protocol_error", false}},
	// A read would be sent again by the transport, and wait.
	{stopped, lay(simulator.Fault{Kind: simulator.FaultFreeze}), clearFaults,
		verdict{502, "connection_terminated", true}},
	{"truncated", lay(simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 1}), clearFaults,
		verdict{502, "http_response_incomplete", true}},
	{"503 with Retry-After", lay(simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "3"}), clearFaults,
		verdict{status: 503}},
}

// cell is one victim with one breakdown.
type cell struct {
	victim
	breakdown
	h         *house
	detour    *detour
	untrusted atomic.Bool
}

func TestTheFaultMatrix(t *testing.T) {
	t.Parallel()
	for _, v := range []victim{theProvider, grantCitizen} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			c := &cell{victim: v}
			c.open(t)
			for _, b := range breakdowns {
				t.Run(b.name, func(t *testing.T) {
					c.breakdown = b
					c.run(t)
				})
			}
		})
	}
	for _, v := range []victim{theProvider, grantCitizen} {
		t.Run(v.name+"/frozen", func(t *testing.T) {
			t.Parallel()
			// Only what never comes is judged here: whatever else may take as long on a busy machine.
			h := open(t, v.settings("retry: {tries: 1}", "breaker: {enabled: false}", "timeouts: {header: 500ms}"))
			eventually(t, "a call to succeed", func() bool { return h.get(v.read).status == 200 })
			h.fault(simulator.Fault{Upstream: v.upstream, Kind: simulator.FaultFreeze})
			c := &cell{victim: v, h: h, breakdown: breakdown{want: verdict{504, "http_response_timeout", true}}}
			c.judge(t, "read", h.get(v.read))
			c.judge(t, "write", v.write(h))
			for _, path := range v.others {
				h.get(path).want(t, 200)
			}
			h.sim.ClearFaults()
			eventually(t, "the upstream to be used again", func() bool { return h.get(v.read).status == 200 })
		})
	}
	t.Run("Authorization Server", func(t *testing.T) {
		t.Parallel()
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

// open starts the house, with the victim behind a detour that is reached over TLS, and has everything called once.
func (c *cell) open(t *testing.T) {
	t.Helper()
	trusted, untrusted := pair(t, "trusted"), pair(t, "untrusted")
	config := &tls.Config{SessionTicketsDisabled: true}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c.untrusted.Load() {
			return &untrusted.certificate, nil
		}
		return &trusted.certificate, nil
	}
	c.h = open(t, c.settings("retry: {tries: 1}", "breaker: {enabled: false}"), func(t *testing.T, text string) string {
		c.detour = newDetour(t, theHost(text), config)
		return c.lead(t, text, "https://"+c.detour.addr) + "egress: {caFile: '" + trusted.file + "'}\n"
	})
	eventually(t, "the registry's list", func() bool { return !c.h.status().Directory.LastSuccess.IsZero() })
	c.othersAnswer(t)
	c.works(t)
}

func (c *cell) othersAnswer(t *testing.T) {
	t.Helper()
	for _, path := range c.others {
		c.h.get(path).want(t, 200)
	}
}

// works has the victim called with success.
func (c *cell) works(t *testing.T) {
	t.Helper()
	eventually(t, "the upstream to be used", func() bool { return c.h.get(c.read).status == 200 })
	if c.write == nil {
		return
	}
	if got := c.write(c.h); got.status >= 300 {
		t.Fatalf("a write got %d %s", got.status, got.body)
	}
}

func (c *cell) run(t *testing.T) {
	c.begin(c)
	came := make(chan answer, 1)
	if c.breakdown.name != stopped {
		go func() { came <- c.h.get(c.read) }()
		c.othersAnswer(t) // meanwhile
		c.judge(t, "read", <-came)
	}
	if c.write != nil {
		before := c.h.sim.RequestCount(c.upstream)
		go func() { came <- c.write(c.h) }()
		if c.breakdown.name == stopped {
			eventually(t, "the write to be under way", func() bool {
				return c.h.sim.RequestCount(c.upstream) > before || len(came) > 0
			})
			c.detour.block(passing)
		}
		c.judge(t, "write", <-came)
		if n := c.h.sim.RequestCount(c.upstream) - before; n > 1 {
			t.Errorf("a write was sent %d times", n)
		}
	}
	c.othersAnswer(t)
	c.end(c)
	c.works(t)
}

// judge compares what came with the contract.
func (c *cell) judge(t *testing.T, what string, got answer) {
	t.Helper()
	proxyStatus := got.header.Get("Proxy-Status")
	if got.status < 300 && got.body == "" && c.want.proxyError == "http_response_incomplete" {
		return // there was nothing to cut
	}
	if got.status != c.want.status {
		t.Errorf("the %s got %d instead of %d: %v %s", what, got.status, c.want.status, got.header, got.body)
		return
	}
	if c.want.proxyError == "" {
		if strings.Contains(proxyStatus, "error=") || got.header.Get("Retry-After") != "3" {
			t.Errorf("the %s got no answer of the upstream's: %v %s", what, got.header, got.body)
		}
		return
	}
	p := got.problem(t)
	kind := map[int]string{502: "belgif:badGateway", 504: "ebox-gateway:gatewayTimeout"}[got.status]
	if p["type"] != "urn:problem-type:"+kind || !strings.Contains(proxyStatus, "error="+c.want.proxyError) {
		t.Errorf("the %s got %s %s", what, proxyStatus, got.body)
	}
	if sent, said := p["requestSent"]; said != (what == "write") || said && sent != c.want.sent {
		t.Errorf("the %s got requestSent %v: %s", what, sent, got.body)
	}
	for _, internal := range []string{"127.0.0.1", "dial ", "EOF"} {
		if strings.Contains(got.body+proxyStatus, internal) {
			t.Errorf("the %s shows %q: %s %s", what, internal, proxyStatus, got.body)
		}
	}
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
	if err != nil {
		t.Fatal(err)
	}
	return identity{cert, certFile}
}
