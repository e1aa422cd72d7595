package whole_test

import (
	"crypto/tls"
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
		return open(t, providers("retry: {tries: 1}", "breaker: {enabled: false}", more))
	}
	h, impatient := broken(""), broken("timeouts: {header: 500ms}")
	const upstream = "provider:nsso"
	for _, b := range []struct {
		h          *house
		fault      simulator.Fault
		status     int
		kind       string // of the problem, "" for upstream's own answer
		proxyError string
	}{
		{h, simulator.Fault{Kind: simulator.FaultReset}, 502, "belgif:badGateway", "connection_terminated"},
		{h, simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "3"}, 503, "", ""},
		{impatient, simulator.Fault{Kind: simulator.FaultFreeze}, 504, "ebox-gateway:gatewayTimeout",
			"http_response_timeout"},
	} {
		t.Run(string(b.fault.Kind), func(t *testing.T) {
			b.fault.Upstream = upstream
			b.h.fault(b.fault)
			read := b.h.get(box).want(t, b.status)
			before := b.h.sim.RequestCount(upstream)
			write := hideMessage(b.h).want(t, b.status)
			if n := b.h.sim.RequestCount(upstream) - before; n != 1 {
				t.Errorf("a write was sent %d times", n)
			}
			for _, path := range []string{regionalBox, mandates, registryRoute} {
				b.h.get(path).want(t, 200)
			}
			for _, got := range []answer{read, write} {
				said := got.header.Get("Proxy-Status")
				if b.kind == "" {
					if strings.Contains(said, "error=") || got.header.Get("Retry-After") != "3" {
						t.Errorf("no answer of the upstream's: %v %s", got.header, got.body)
					}
					continue
				}
				if got.problem(t)["type"] != "urn:problem-type:"+b.kind || !strings.Contains(said, "error="+b.proxyError) ||
					strings.Contains(got.body+said, "127.0.0.1") {
					t.Errorf("%s %s", said, got.body)
				}
			}
			if b.kind != "" && (read.problem(t)["requestSent"] != nil || write.problem(t)["requestSent"] != true) {
				t.Errorf("%s\n%s", read.body, write.body)
			}
			b.h.sim.ClearFaults()
			eventually(t, "the upstream to be used again", func() bool { return b.h.get(box).status == 200 })
		})
	}
	t.Run("Authorization Server", func(t *testing.T) {
		h := open(t)
		others := []string{box, regionalBox, registryRoute} // they have their tokens
		for _, path := range others {
			h.get(path).want(t, 200)
		}
		h.fault(simulator.Fault{Upstream: simulator.UpstreamToken, Kind: simulator.FaultStatus, Status: 503,
			RetryAfter: "1"})
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

// A connection that was never made has carried nothing: every call may try another.
func TestWhatWasNeverSentIsSentAgain(t *testing.T) {
	t.Parallel()
	h, way := openPlatform(t)
	for upstream, call := range map[string]func() answer{
		"provider:nsso":         func() answer { return h.get(document) },
		simulator.UpstreamGrant: func() answer { return orderMandate(h) },
	} {
		call() // has its token
		h.sim.ResetRequests()
		way.stumble(2)
		got := call()
		if got.status >= 300 || !strings.Contains(got.header.Get("Proxy-Status"), "tries=3") {
			t.Errorf("%s: %d %v %s", upstream, got.status, got.header, got.body)
		}
		if n := h.sim.RequestCount(upstream); n != 1 {
			t.Errorf("%s: sent %d times", upstream, n)
		}
	}
}

// providerAt has the configuration say where nsso is.
func providerAt(base string) func(*testing.T, string) string {
	return edit("registry:\n", "registry:\n  providers: [{id: nsso, url: '"+base+"', apiVersion: '3.0'}]\n")
}

// identity is a certificate with its key, and the file that others know it by.
type identity struct {
	certificate tls.Certificate
	file        string
}

func pair(t *testing.T, name string, hosts ...string) identity {
	t.Helper()
	certFile, keyFile := certificate(t, name, hosts...)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.Must(t, err)
	return identity{cert, certFile}
}
