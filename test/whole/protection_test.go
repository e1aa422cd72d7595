package whole_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
)

const (
	anothersBox = "/enterprises/" + another + nsso + "/ebox"
	document    = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
)

// uncached lets every call reach its upstream: the cache would answer some of them,
// and send one for many.
const uncached = "cache: {enabled: false}"

// providers gives the route to the providers further settings, and no cache.
func providers(settings ...string) func(*testing.T, string) string {
	return edit("name: ebox-providers\n", "name: ebox-providers\n    "+uncached+"\n    "+
		strings.Join(settings, "\n    ")+"\n")
}

// ofRoute gives a route that is written in one line further settings.
func ofRoute(name, settings string) func(*testing.T, string) string {
	return edit("name: "+name+",", "name: "+name+", "+settings+",")
}

// upstreamStatus is how one upstream stands.
func (h *house) upstreamStatus(name string) operate.Upstream {
	h.t.Helper()
	for _, u := range h.status().Upstreams {
		if u.Name == name {
			return u
		}
	}
	h.t.Fatalf("the status does not show %s", name)
	return operate.Upstream{}
}

// untouched fails the test if a circuit is or was anything but closed.
func (h *house) untouched(upstreams ...string) {
	h.t.Helper()
	for _, name := range upstreams {
		if u := h.upstreamStatus(name); u.Circuit != "closed" || u.Opened != 0 || u.RefusedOpen != 0 {
			h.t.Errorf("%+v", u)
		}
	}
}

// breakCircuit makes nsso fail for two enterprises until it is not called any more.
func (h *house) breakCircuit(calls int) (fault int) {
	h.t.Helper()
	fault = h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 503})
	for i := range calls {
		path := box
		if i%2 == 1 {
			path = anothersBox
		}
		if got := h.get(path).want(h.t, 503); strings.Contains(got.header.Get("Proxy-Status"), "error=") {
			h.t.Fatalf("call %d was not sent: %s", i, got.body)
		}
	}
	return fault
}

// A monitor that was alarmed by a circuit is not kept alarmed by a provider that nobody
// has called since; whether it still fails only a call can tell.
func TestACircuitThatNobodyTriesLeavesTheGatewayWell(t *testing.T) {
	t.Parallel()
	h := open(t, providers("retry: {tries: 1}", "breaker: {minRequests: 10, window: 2s, open: 1s}"))
	h.breakCircuit(10)
	if s := h.status(); s.Health != "DEGRADED" {
		t.Errorf("a circuit is open and the gateway is %s", s.Health)
	}
	eventually(t, "the gateway to be well again", func() bool { return h.status().Health == "UP" })
	s := h.status()
	if u := h.upstreamStatus("provider nsso"); u.Circuit != "half-open" || u.UntriedSince.IsZero() || u.Opened != 1 {
		t.Errorf("%+v", u)
	}
	if !slices.ContainsFunc(s.Attention, func(a status.Attention) bool {
		return a.Severity == "notice" && a.Part == "provider nsso" && strings.Contains(a.Text, "had been failing")
	}) {
		t.Errorf("nobody is told: %+v", s.Attention)
	}
	eventually(t, "those who call to find out", func() bool {
		h.get(box)
		h.get(anothersBox)
		return h.status().Health == "DEGRADED"
	})
}

// retryAfterOf reads Retry-After, which must say the same as the problem.
func retryAfterOf(t *testing.T, a answer) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || a.problem(t)["retryAfterSec"] != float64(seconds) {
		t.Fatalf("Retry-After %q: %s", a.header.Get("Retry-After"), a.body)
	}
	return time.Duration(seconds) * time.Second
}

func TestACircuitOpensForOneProviderAloneAndClosesByItself(t *testing.T) {
	t.Parallel()
	h := open(t, providers("retry: {tries: 1}", "breaker: {minRequests: 10, window: 1m, open: 2s}"))
	others := []string{regionalBox, mandates, registryRoute}
	fault := h.breakCircuit(10)
	sent := h.sim.RequestCount("provider:nsso")

	refused := h.get(box).want(t, 503)
	wait := retryAfterOf(t, refused)
	now := h.upstreamStatus("provider nsso")
	if left := time.Until(now.OpenUntil).Seconds(); math.Abs(wait.Seconds()-left) > 1.5 || wait <= 0 ||
		wait > 2*time.Second {
		t.Errorf("Retry-After is %s, and the circuit stays open for %.1f s", wait, left)
	}
	if p := refused.problem(t); p["type"] != "urn:problem-type:belgif:serviceUnavailable" ||
		!strings.Contains(refused.header.Get("Proxy-Status"), "error=destination_unavailable") {
		t.Errorf("%v %s", refused.header, refused.body)
	}
	if got := hideMessage(h).want(t, 503).problem(t); !strings.Contains(got["detail"].(string), "Nothing was sent") {
		t.Errorf("%v", got)
	}
	if now.Circuit != "open" || now.Opened != 1 || h.listed("nsso")["circuit"] != "open" ||
		h.listed("regional")["circuit"] != "closed" {
		t.Errorf("%+v; the list says %v", now, h.listed("nsso"))
	}
	for _, path := range others {
		h.get(path).want(t, 200)
	}
	h.untouched("provider regional", "grant-citizen", "ebox-registry", "registry", "token endpoint")
	if n := h.sim.RequestCount("provider:nsso"); n != sent {
		t.Errorf("%d calls were sent through an open circuit", n-sent)
	}

	// It still fails when it is probed, and for whoever does: open again.
	eventually(t, "the circuit to open again", func() bool {
		h.get(box).want(t, 503)
		h.get(anothersBox).want(t, 503)
		return h.upstreamStatus("provider nsso").Opened == 2
	})
	probes := h.sim.RequestsTo("provider:nsso")[sent:]
	if len(probes) > 3 || probes[0].Time.Before(now.OpenUntil) {
		t.Errorf("%d probes, the first %s before its time", len(probes), now.OpenUntil.Sub(probes[0].Time))
	}
	h.sim.RemoveFault(fault)
	eventually(t, "the provider to be called again", func() bool { return h.get(box).status == 200 })
	eventually(t, "the circuit to close", func() bool {
		return h.get(box).status == 200 && h.listed("nsso")["circuit"] == "closed"
	})
}

func TestWhatOpensNoCircuit(t *testing.T) {
	const sensitive = "breaker: {minRequests: 5, window: 1m, open: 1m}"
	const calls = 25
	t.Run("one enterprise whose calls alone fail", func(t *testing.T) {
		t.Parallel()
		h := open(t, providers(sensitive, "retry: {tries: 1}"))
		h.fault(simulator.Fault{Upstream: "provider:nsso", Path: "/ebox/messages", Kind: simulator.FaultReset})
		for i := range calls {
			h.get(anothersBox).want(t, 200)
			h.get(box+"/messages").want(t, map[bool]int{true: 502, false: 503}[i < 5]) // its own circuit opens
		}
		if u := h.upstreamStatus("provider nsso"); u.Circuit != "closed" || u.Opened != 0 ||
			!slices.Equal(u.OpenFor, []string{mandated}) {
			t.Errorf("%+v", u)
		}
	})
	t.Run("callers that go away", func(t *testing.T) {
		t.Parallel()
		h := open(t, providers(sensitive))
		h.get(box).want(t, 200)
		h.fault(frozen(nsso))
		h.sim.ResetRequests()
		var waiting []*caller
		for range calls {
			c := h.dial("")
			c.write("GET " + box + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
			waiting = append(waiting, c)
		}
		eventually(t, "all calls to be under way", func() bool { return h.sim.RequestCount("provider:nsso") == calls })
		for _, c := range waiting {
			_ = c.conn.Close()
		}
		eventually(t, "all calls to have ended", func() bool { return h.upstreamStatus("provider nsso").InFlight == 0 })
		h.untouched("provider nsso")
		h.sim.ClearFaults()
		h.get(box).want(t, 200)
	})
	t.Run("a health check that says DOWN", func(t *testing.T) {
		t.Parallel()
		h := open(t, ofRoute("grant-citizen", sensitive))
		h.sim.SetGrantHealth(false)
		for range calls {
			if got := h.get(grant+"/health").want(t, 503); strings.TrimSpace(got.body) != `{"status":"DOWN"}` {
				t.Fatalf("%v %s", got.header, got.body)
			}
		}
		if n := h.sim.RequestCount(simulator.UpstreamGrant); n != calls {
			t.Errorf("%d health checks were sent for %d", n, calls)
		}
		h.get(mandates).want(t, 200)
		h.untouched("grant-citizen")
	})
	for name, fault := range map[string]simulator.Fault{
		"a token that is refused":              {Kind: simulator.FaultUnauthorized},
		"an Authorization Server that is down": {Kind: simulator.FaultStatus, Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, providers(sensitive), ofRoute("grant-citizen", sensitive))
			fault.Upstream = simulator.UpstreamToken
			h.fault(fault)
			h.sim.ResetRequests()
			for range calls {
				for _, path := range []string{box, mandates} {
					if got := h.get(path); got.status != 502 && got.status != 503 {
						t.Fatalf("%d %s", got.status, got.body)
					}
				}
			}
			if n := h.sim.RequestCount("provider:nsso") + h.sim.RequestCount(simulator.UpstreamGrant); n != 0 {
				t.Errorf("%d calls were sent without a token", n)
			}
			h.untouched("provider nsso", "grant-citizen")
		})
	}
}

func TestWhatWasSentOnceIsNotSentAgain(t *testing.T) {
	t.Parallel()
	h := open(t, providers("retry: {tries: 5}"), ofRoute("grant-citizen", "retry: {tries: 5}"))
	h.get(box).want(t, 200)
	for _, kind := range []simulator.FaultKind{simulator.FaultReset, simulator.FaultClose, simulator.FaultMalformed,
		simulator.FaultStatus} {
		for what, call := range map[string]func() answer{
			"opening":    func() answer { return h.get(document) },
			"HEAD of it": func() answer { return h.send("HEAD", document, nil) },
			"write":      func() answer { return hideMessage(h) },
			"mandate":    func() answer { return orderMandate(h) },
		} {
			h.sim.ClearFaults()
			h.fault(simulator.Fault{Kind: kind, Upstream: "provider:nsso"})
			h.fault(simulator.Fault{Kind: kind, Upstream: simulator.UpstreamGrant})
			h.sim.ResetRequests()
			got := call()
			if got.status < 500 {
				t.Fatalf("%s after %s: %d", what, kind, got.status)
			}
			if n := h.sim.RequestCount("provider:nsso") + h.sim.RequestCount(simulator.UpstreamGrant); n != 1 {
				t.Errorf("%s after %s was sent %d times", what, kind, n)
			}
			if what == "opening" && kind == simulator.FaultReset && !strings.Contains(got.body, "may be marked as read") {
				t.Errorf("%s", got.body)
			}
		}
	}
}

// A connection that was never made has carried nothing: every call may try another.
func TestWhatWasNeverSentIsSentAgain(t *testing.T) {
	t.Parallel()
	trusted := pair(t, "trusted")
	for what, call := range map[string]func(*house) answer{
		"read":    func(h *house) answer { return h.get(box) },
		"opening": func(h *house) answer { return h.get(document) },
		"write":   hideMessage,
		"mandate": orderMandate,
	} {
		t.Run(what, func(t *testing.T) {
			var way *detour
			h := open(t, func(t *testing.T, text string) string {
				shared := regexp.MustCompile(`tokenUrl: http://([^/]+)`).FindStringSubmatch(text)[1]
				way = newDetour(t, shared, &tls.Config{Certificates: []tls.Certificate{trusted.certificate}})
				for _, v := range victims[:2] { // the provider and grant/citizen
					text = v.lead(t, text, "https://"+way.addr)
				}
				return text + "egress: {caFile: '" + trusted.file + "'}\n"
			})
			way.stumble(2)
			got := call(h)
			if got.status >= 300 || !strings.Contains(got.header.Get("Proxy-Status"), "tries=3") {
				t.Errorf("%d %v %s", got.status, got.header, got.body)
			}
			if n := h.sim.RequestCount("provider:nsso") + h.sim.RequestCount(simulator.UpstreamGrant); n != 1 ||
				way.connections() != 3 {
				t.Errorf("sent %d times over %d connections", n, way.connections())
			}
		})
	}
}

func TestAnOutageIsNotMultiplied(t *testing.T) {
	const callers, each = 10, 30
	for name, fault := range map[string]simulator.Fault{
		"resets": {Kind: simulator.FaultReset}, "503": {Kind: simulator.FaultStatus, Status: 503}, "no HTTP": {
			Kind: simulator.FaultMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, providers("retry: {tries: 10}", "breaker: {enabled: false}"))
			fault.Upstream = "provider:nsso"
			h.fault(fault)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range each {
						if got := h.get(box); got.status < 500 {
							t.Errorf("%d", got.status)
						}
					}
				})
			}
			wg.Wait()
			const asked = callers * each
			n := h.sim.RequestCount("provider:nsso")
			if n > asked*12/10 {
				t.Errorf("%d calls became %d requests", asked, n)
			}
			if u := h.upstreamStatus("provider nsso"); n != asked+u.Retries || u.Retries == 0 || u.RetriesDenied == 0 {
				t.Errorf("%d requests, and %+v", n, u)
			}
		})
	}
}

func TestAFullBulkheadRefusesAtOnceAndTellsWhenToComeBack(t *testing.T) {
	t.Parallel()
	h := open(t, providers("concurrency: {max: 2, queue: 1, wait: 1s}"))
	for _, path := range []string{box, regionalBox, mandates} {
		h.get(path).want(t, 200)
	}
	h.fault(frozen(nsso))
	h.sim.ResetRequests()
	call := func() *caller {
		c := h.dial("")
		c.write("GET " + box + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return c
	}
	placed := []*caller{call(), call()}
	eventually(t, "all places to be taken", func() bool { return h.sim.RequestCount("provider:nsso") == 2 })
	queued := call()
	eventually(t, "the queue to be full", func() bool { return h.upstreamStatus("provider nsso").Queued == 1 })
	for what, got := range map[string]answer{"beyond the queue": h.get(box),
		"at the end of its wait": queued.read("GET")} {
		if retryAfterOf(t, got.want(t, 503)) != time.Second ||
			got.problem(t)["type"] != "urn:problem-type:belgif:serviceUnavailable" ||
			!strings.Contains(got.header.Get("Proxy-Status"), "error=connection_limit_reached") {
			t.Errorf("%s: %v %s", what, got.header, got.body)
		}
	}
	for _, path := range []string{regionalBox, mandates, registryRoute} { // same host, their own places
		h.get(path).want(t, 200)
	}
	h.sim.ClearFaults()
	for _, c := range placed {
		_ = c.conn.Close()
	}
	eventually(t, "the places to be free", func() bool { return h.upstreamStatus("provider nsso").InFlight == 0 })
	h.get(box).want(t, 200)
	h.untouched("provider nsso")
}

// A download takes a place until its last byte, as it takes the upstream's attention.
func TestADownloadHoldsItsPlaceToTheEnd(t *testing.T) {
	t.Parallel()
	h := open(t, providers("concurrency: {max: 1, queue: 0}"))
	id, err := h.sim.AddMessage("nsso", 206731645, largeDraft())
	if err != nil {
		t.Fatal(err)
	}
	c := h.dial("")
	c.write(fmt.Sprintf("GET %s/messages/%s/attachments/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n", box, id))
	if _, err := c.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	h.get(box).want(t, 503)
	if _, err := io.CopyN(io.Discard, c.r, 32<<20); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the place", func() bool { return h.get(box).status == 200 })
}
