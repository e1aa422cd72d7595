package whole_test

import (
	"crypto/tls"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// The fault matrix: every upstream breaks down in every way. Whoever calls it gets
// the contract's answer, whoever calls another one on the
// same host notices nothing, and when it is back, it is used again.

const (
	registryRoute = "/ebox/registry/messageRegistries"
	mandates      = grant + "/mandates?representedEnterpriseNumber=" + mandated
	regionalBox   = "/enterprises/" + mandated + regional + "/ebox"

	// patience is how long an upstream may take here, by configuration.
	patience = 400 * time.Millisecond
	limits   = "timeouts: {connect: 1s, header: 400ms, idle: 400ms}"
)

// victim is an upstream of the matrix.
type victim struct {
	name     string
	upstream string // the simulator's name of it
	read     string
	write    func(*house) answer // nil if it takes none
	others   []string            // paths whose upstreams share its host
	route    string              // whose time-outs bound it
	// lead puts base, scheme and authority, in front of its path in the configuration.
	lead func(t *testing.T, text, base string) string
}

func orderMandate(h *house) answer {
	return h.post(grant+"/mandates", `{`+flexiJob+`,"representedEnterpriseNumber":"`+mandated+`"}`)
}

func hideMessage(h *house) answer {
	return h.send("PATCH", box+"/messages", strings.NewReader(`{"items":[{"messageId":"`+simulator.FirstMessage+
		`","visible":true}]}`),
		"Content-Type: application/merge-patch+json")
}

var victims = []victim{
	{
		"provider", simulator.ProviderUpstream("nsso"), box, hideMessage, []string{regionalBox, mandates, registryRoute},
		"name: ebox-providers\n    ",
		func(t *testing.T, text, base string) string {
			return edit("registry:\n", "registry:\n  providers: [{id: nsso, url: '"+base+
				"/REST/ebox/enterprise/messageRegistry/v3', apiVersion: '3.0'}]\n")(t, text)
		},
	},
	{
		"grant-citizen", simulator.UpstreamGrant, mandates, orderMandate, []string{box, regionalBox, registryRoute},
		"name: grant-citizen, ",
		func(t *testing.T, text, base string) string {
			return leadRoute(t, text, "grant-citizen", base)
		},
	},
	{
		"registry", simulator.UpstreamRegistry, registryRoute, nil, []string{box, regionalBox, mandates},
		"name: ebox-registry\n    ",
		func(t *testing.T, text, base string) string {
			text = regexp.MustCompile(`(registry:\n  url: )http://[^/]+`).ReplaceAllString(text, "${1}"+base)
			return leadRoute(t, text, "ebox-registry", base)
		},
	},
	{
		// Tokens that were issued before go on being used: only who needs another
		// scope notices.
		"Authorization Server", simulator.UpstreamToken, mandates, orderMandate, []string{box, regionalBox, registryRoute},
		"oauth:\n  ",
		func(t *testing.T, text, base string) string {
			found := regexp.MustCompile(`tokenUrl: (http://[^/]+)(\S+)`).FindStringSubmatch(text)
			return edit(found[0], "tokenUrl: "+base+found[2]+"\n  audience: "+found[1]+found[2]+
				"\n  allowHttp: true\n  allowPrivateNetworks: true")(t, text)
		},
	},
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

// verdict is what the contract says of a failure.
type verdict struct {
	status     int
	kind       string // problem type without its urn; "" for upstream's own answer
	proxyError string
	sent       bool // of a write
	retryAfter string
}

var (
	gateway502 = func(proxyError string, sent bool) verdict {
		return verdict{status: 502, kind: "belgif:badGateway", proxyError: proxyError, sent: sent}
	}
	gateway504 = func(proxyError string) verdict {
		return verdict{status: 504, kind: "ebox-gateway:gatewayTimeout", proxyError: proxyError, sent: true}
	}
)

// breakdown is a way to break down, and to come back.
type breakdown struct {
	name  string
	begin func(*cell)
	end   func(*cell)
	want  verdict
	// over is https or a name, if the way there has to be one.
	over string
	// inBody says that the answer's header is as ever, and all of an answer that has
	// no body.
	inBody bool
	// hangs says that the gateway's own fetch of the registry's list, which nobody
	// waits for, ends later than this test.
	hangs bool
}

func lay(f simulator.Fault) func(*cell) {
	return func(c *cell) { f := f; f.Upstream = c.victim.upstream; c.h.fault(f) }
}

func block(b blockage) func(*cell) { return func(c *cell) { c.detour.block(b) } }

func clearFaults(c *cell) { c.h.sim.ClearFaults() }

var (
	unblock    = block(passing)
	breakdowns = []breakdown{
		{name: "refused", over: "http", want: gateway502("connection_refused", false), begin: block(refusing), end: unblock},
		{
			name: "DNS failure", over: "name", want: gateway502("dns_error", false),
			begin: func(c *cell) { dns.set(c.host, false); c.detour.block(passing) },
			end:   func(c *cell) { dns.set(c.host, true) },
		},
		{
			name: "certificate of nobody known", over: "https", want: gateway502("tls_certificate_error", false),
			begin: func(c *cell) { c.untrusted.Store(true); c.detour.block(passing) },
			end:   func(c *cell) { c.untrusted.Store(false) },
		},
		{name: "no TLS at all", over: "https", want: gateway502("tls_protocol_error", false), begin: block(talkingOther),
			end: unblock},
		{
			name: "no handshake", over: "https", hangs: true, begin: block(mute), end: unblock,
			want: verdict{status: 504, kind: "ebox-gateway:gatewayTimeout", proxyError: "connection_timeout"},
		},
		{
			name: "body that stands still", over: "http", inBody: true, hangs: true, begin: block(halting), end: unblock,
			want: gateway504("connection_read_timeout"),
		},
		{name: "reset", want: gateway502("connection_terminated", true),
			begin: lay(simulator.Fault{Kind: simulator.FaultReset}), end: clearFaults},
		{name: "closed without an answer", want: gateway502("connection_terminated", true),
			begin: lay(simulator.Fault{Kind: simulator.FaultClose}), end: clearFaults},
		{
			name: "slow header", hangs: true, want: gateway504("http_response_timeout"),
			begin: lay(simulator.Fault{Kind: simulator.FaultLatency, Delay: time.Hour}), end: clearFaults,
		},
		{
			name: "slow body", inBody: true, hangs: true, want: verdict{status: 200}, end: clearFaults,
			begin: func(c *cell) {
				lay(simulator.Fault{Kind: simulator.FaultSlowBody, Bytes: int64(c.length/20 + 1), Delay: patience / 10})(c)
			},
		},
		{name: "frozen", hangs: true, want: gateway504("http_response_timeout"),
			begin: lay(simulator.Fault{Kind: simulator.FaultFreeze}), end: clearFaults},
		{name: "malformed", want: gateway502("http_protocol_error", true),
			begin: lay(simulator.Fault{Kind: simulator.FaultMalformed}), end: clearFaults},
		{name: "JSON that breaks off", want: verdict{status: 200},
			begin: lay(simulator.Fault{Kind: simulator.FaultMalformedJSON}), end: clearFaults},
		{
			name: "truncated", inBody: true, want: gateway502("http_response_incomplete", true),
			begin: lay(simulator.Fault{Kind: simulator.FaultTruncate, Bytes: 1}), end: clearFaults,
		},
		{name: "500", want: verdict{status: 500}, begin: lay(simulator.Fault{Kind: simulator.FaultStatus, Status: 500}),
			end: clearFaults},
		{
			name: "503 with Retry-After", want: verdict{status: 503, retryAfter: "3"},
			begin: lay(simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "3"}), end: clearFaults,
		},
	}
)

// cell is one victim with one breakdown.
type cell struct {
	t         *testing.T
	h         *house
	victim    *victim
	breakdown *breakdown
	detour    *detour
	host      string // the name, if it is reached by one
	untrusted atomic.Bool
	length    int // of the answer to a read, in bytes
}

func TestTheFaultMatrix(t *testing.T) {
	t.Parallel()
	trusted, untrusted := pair(t, "trusted"), pair(t, "untrusted")
	for v := range victims {
		for b := range breakdowns {
			t.Run(victims[v].name+"/"+breakdowns[b].name, func(t *testing.T) {
				t.Parallel()
				c := &cell{t: t, victim: &victims[v], breakdown: &breakdowns[b]}
				c.open(trusted, untrusted)
				c.run()
			})
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
	certFile, keyFile := certificate(t, name)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return identity{cert, certFile}
}

// open starts the house, with a detour to the victim if its breakdown needs one, and
// everything called once but what the Authorization Server is to be missed for.
func (c *cell) open(trusted, untrusted identity) {
	c.t.Helper()
	c.h = open(c.t, func(t *testing.T, text string) string {
		text = often(t, text)
		limited := c.victim.route + limits + ", "
		switch {
		case c.victim.upstream == simulator.UpstreamToken:
			limited = c.victim.route + "timeout: 400ms\n  "
		case strings.Contains(c.victim.route, "\n"):
			limited = c.victim.route + limits + "\n    " + uncached + "\n    "
		}
		text = edit(c.victim.route, limited)(t, text)
		if c.breakdown.over == "" {
			return text
		}
		shared := regexp.MustCompile(`tokenUrl: http://([^/]+)`).FindStringSubmatch(text)[1]
		scheme := "http://"
		var config *tls.Config
		if c.breakdown.over == "https" {
			scheme, text = "https://", text+"egress: {caFile: '"+trusted.file+"'}\n"
			config = &tls.Config{SessionTicketsDisabled: true,
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					if c.untrusted.Load() {
						return &untrusted.certificate, nil
					}
					return &trusted.certificate, nil
				}}
		}
		c.detour = newDetour(t, shared, config)
		host := c.detour.addr
		if c.breakdown.over == "name" {
			c.host = strings.ReplaceAll(strings.ToLower(c.victim.name), " ", "-") + ".invalid"
			dns.set(c.host, true)
			host = c.host + host[strings.LastIndexByte(host, ':'):]
		}
		return c.victim.lead(t, text, scheme+host)
	})
	eventually(c.t, "the list of the registry", func() bool { return !c.h.status().Directory.LastSuccess.IsZero() })
	c.othersAnswer()
	if c.victim.upstream == simulator.UpstreamToken {
		c.length = 200 // an answer with a token is longer
		return
	}
	c.writeAnswers()
	c.length = len(c.h.get(c.victim.read).want(c.t, 200).body)
}

func (c *cell) othersAnswer() {
	c.t.Helper()
	for _, path := range c.victim.others {
		c.h.get(path).want(c.t, 200)
	}
}

func (c *cell) writeAnswers() {
	c.t.Helper()
	if c.victim.write != nil {
		if got := c.victim.write(c.h); got.status >= 300 {
			c.t.Fatalf("a write got %d %s", got.status, got.body)
		}
	}
}

func (c *cell) run() {
	c.breakdown.begin(c)
	var wg sync.WaitGroup
	wg.Go(func() { c.judge("read", func() answer { return c.h.get(c.victim.read) }) })
	c.othersAnswer() // meanwhile
	wg.Wait()
	if c.victim.write != nil {
		before := c.h.sim.RequestCount(c.victim.upstream)
		c.judge("write", func() answer { return c.victim.write(c.h) })
		if n := c.h.sim.RequestCount(c.victim.upstream) - before; n > 1 {
			c.t.Errorf("a write was sent %d times", n)
		}
	}
	c.othersAnswer()
	if p := c.h.listed("nsso"); p == nil || p["state"] != "active" {
		c.t.Errorf("the list of providers is lost: %v", p)
	}

	broken := time.Now()
	c.breakdown.end(c)
	eventually(c.t, "the upstream to be used again", func() bool { return c.h.get(c.victim.read).status == 200 })
	c.writeAnswers()
	if c.victim.upstream == simulator.UpstreamRegistry && !c.breakdown.hangs {
		eventually(c.t, "a newer list", func() bool {
			s := c.h.status().Directory
			return s.LastSuccess.After(broken) && s.LastError == ""
		})
	}
}

// judge makes a call and compares what comes with the contract.
func (c *cell) judge(what string, call func() answer) {
	c.t.Helper()
	got := call()
	want := c.breakdown.want
	if c.victim.upstream == simulator.UpstreamToken {
		retry := want.retryAfter
		want = verdict{status: 503, kind: "belgif:serviceUnavailable", proxyError: "destination_unavailable",
			retryAfter: retry}
	}
	if got.status < 300 && (want.status == 200 || c.breakdown.inBody && got.body == "") {
		return
	}
	if got.status != want.status {
		c.t.Errorf("the %s got %d instead of %d: %v %s", what, got.status, want.status, got.header, got.body)
		return
	}
	proxyStatus := got.header.Get("Proxy-Status")
	if want.kind == "" { // upstream's own
		if strings.Contains(proxyStatus, "error=") || got.header.Get("Retry-After") != want.retryAfter {
			c.t.Errorf("the %s got no answer of the upstream's: %v %s", what, got.header, got.body)
		}
		return
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(got.body), &p); err != nil ||
		got.header.Get("Content-Type") != "application/problem+json" || got.header.Get("X-Request-Id") == "" {
		c.t.Errorf("the %s got no problem: %v %s", what, got.header, got.body)
	}
	if p["type"] != "urn:problem-type:"+want.kind || !strings.Contains(proxyStatus, "error="+want.proxyError) {
		c.t.Errorf("the %s got %s %s", what, proxyStatus, got.body)
	}
	if sent, said := p["requestSent"]; want.status != 503 && (said != (what == "write") || said && sent != want.sent) {
		c.t.Errorf("the %s got requestSent %v: %s", what, sent, got.body)
	}
	if want.status == 503 && (got.header.Get("Retry-After") == "" || p["retryAfterSec"] == nil) {
		c.t.Errorf("the %s is not told when to come back: %v %s", what, got.header, got.body)
	}
	for _, internal := range []string{"127.0.0.1", ".invalid", "dial ", "EOF"} {
		if strings.Contains(got.body+proxyStatus, internal) {
			c.t.Errorf("the %s shows %q: %s %s", what, internal, proxyStatus, got.body)
		}
	}
}

// An upstream that is stopped in the middle of a call and started again.
func TestAnUpstreamGoesInMidCallAndComesBack(t *testing.T) {
	t.Parallel()
	for i := range victims {
		v := &victims[i]
		if v.write == nil {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			c := &cell{t: t, victim: v, breakdown: &breakdown{over: "http",
				want: gateway502("connection_terminated", true)}}
			c.open(identity{}, identity{})
			before := c.h.sim.RequestCount(v.upstream)
			id := c.h.fault(simulator.Fault{Upstream: v.upstream, Kind: simulator.FaultLatency, Delay: patience - patience/4})
			var wg sync.WaitGroup
			wg.Go(func() { c.judge("write", func() answer { return v.write(c.h) }) })
			eventually(t, "the call to be under way", func() bool { return c.h.sim.RequestCount(v.upstream) > before })
			c.detour.block(refusing)
			wg.Wait()
			c.breakdown.want = gateway502("connection_refused", false)
			c.judge("write", func() answer { return v.write(c.h) })
			c.othersAnswer()
			c.h.sim.RemoveFault(id)
			c.detour.block(passing)
			eventually(t, "the upstream to be used again", func() bool { return c.h.get(v.read).status == 200 })
			c.writeAnswers()
		})
	}
}
