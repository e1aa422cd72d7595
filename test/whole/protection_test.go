package whole_test

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
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

// No caller waits for the header time-out, and each tries again: the circuit opens all the same.
func TestImpatientCallersOpenTheCircuitOfAFrozenProvider(t *testing.T) {
	t.Parallel()
	h := open(t, providers("timeouts: {header: 4s}", "breaker: {open: 1m}"))
	h.get(box).want(t, 200)
	h.fault(frozen(nsso))
	impatient := http.Client{Timeout: 1500 * time.Millisecond}
	eventually(t, "the circuit to open", func() bool {
		var both sync.WaitGroup
		for _, path := range []string{box, anothersBox} {
			both.Go(func() {
				if resp, err := impatient.Get(h.base + path); err == nil {
					_ = resp.Body.Close()
				}
			})
		}
		both.Wait()
		return h.upstreamStatus("provider nsso").Circuit == "open"
	})
	if u := h.upstreamStatus("provider nsso"); u.Opened != 1 {
		t.Errorf("%+v", u)
	}
	h.get(box).want(t, 503)
	h.get(regionalBox).want(t, 200)
}

func TestWhatOpensNoCircuit(t *testing.T) {
	t.Parallel()
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

const twoCallers = "callers:\n  - {name: greedy, networks: [127.0.0.2/32]}\n  - {name: honest, networks: " +
	"[127.0.0.1/32]}\ntenancy:\n"

// One caller reads and writes so slowly that its calls never end, more of them than the
// provider has places. It asks for the same enterprise as the others do, too.
func TestSlowCallsOfOneCallerCostOthersNoRequest(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", twoCallers), providers("concurrency: {max: 40, queue: 40, wait: 10s}"))
	id, err := h.sim.AddMessage("nsso", 206731645, largeDraft())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 80 {
		c := h.dial("127.0.0.2")
		if i%2 == 0 {
			c.write(fmt.Sprintf("GET %s/messages/%s/attachments/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n", box, id))
		} else {
			c.write("POST " + box + "/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; " +
				"boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n" + filePart + "%PDF")
		}
	}
	eventually(t, "the slow ones to have all that they get", func() bool {
		u := h.upstreamStatus("provider nsso")
		return u.InFlight == 35 && u.Queued == 35 && u.RefusedShare == 10
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if got := h.get(box); got.status != 200 {
					t.Errorf("an honest caller got %d %s", got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	got := h.as("127.0.0.2", "POST", box+"/messages", mixed).want(t, 503)
	if p := got.problem(t); !strings.Contains(p["detail"].(string), "This caller has its share") ||
		p["retryAfterSec"] != 10.0 {
		t.Error(got.body)
	}
}

func TestACallerBeyondItsConcurrencyIsRefusedBeforeItsBodyIsRead(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", strings.Replace(twoCallers, "127.0.0.2/32]", "127.0.0.2/32], concurrency: 3", 1)))
	const start = "POST /enterprises/" + mandated + "/grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\n" +
		"Content-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
	var writers []*caller
	for range 3 {
		c := h.dial("127.0.0.2")
		c.write(start)
		if got := c.read("POST"); got.status != 100 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		writers = append(writers, c)
	}
	c := h.dial("127.0.0.2")
	c.write(start)
	got := c.read("POST").want(t, 429)
	if p := got.problem(t); p["type"] != "urn:problem-type:belgif:tooManyRequests" || p["limit"] != 3.0 ||
		retryAfterOf(t, got) != time.Second {
		t.Errorf("%v %s", got.header, got.body)
	}
	h.get(box).want(t, 200) // another caller
	_ = writers[0].conn.Close()
	eventually(t, "the next call", func() bool { return h.as("127.0.0.2", "GET", box).status == 200 })
}

// Whatever happens to an opening, upstream sees it once. Retries are for the others.
func TestAnOpeningIsSentOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	h := open(t, edit("path: /ebox/providers/{providerId}\n", "path: /ebox/providers/{providerId}\n    timeouts: "+
		"{header: 300ms}\n    breaker: {enabled: false}\n"))
	const (
		content = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
		body    = box + "/messages/" + simulator.BodyMessage + "/body"
		list    = box + "/messages?pageSize=1"
	)
	h.get(box).want(t, 200) // a connection is there that a retry could use
	for _, f := range []struct {
		name   string
		fault  simulator.Fault
		status int
	}{
		{"reset", simulator.Fault{Kind: simulator.FaultReset}, 502},
		{"closed without an answer", simulator.Fault{Kind: simulator.FaultClose}, 502},
		{"no HTTP", simulator.Fault{Kind: simulator.FaultMalformed}, 502},
		{"too slow", simulator.Fault{Kind: simulator.FaultLatency, Delay: 2 * time.Second}, 504},
		{"503 with Retry-After", simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "0"}, 503},
		{"502", simulator.Fault{Kind: simulator.FaultStatus, Status: 502}, 502},
		{"401", simulator.Fault{Kind: simulator.FaultUnauthorized}, 401},
	} {
		for _, c := range []struct{ name, method, path string }{
			{"an attachment", "GET", content}, {"HEAD", "HEAD", content}, {"a body", "GET", body}, {
				"part of it", "GET", content + "?x=1"},
			{"in capitals", "GET", strings.ToUpper(content[len(box):])},
		} {
			t.Run(f.name+", "+c.name, func(t *testing.T) {
				path := c.path
				if !strings.HasPrefix(path, box) {
					path = box + path
				}
				h.sim.ClearFaults()
				f.fault.Upstream = "provider:nsso"
				h.fault(f.fault)
				h.sim.ResetRequests()
				got := h.send(c.method, path, nil).want(t, f.status)
				if n := h.sim.RequestCount("provider:nsso"); n != 1 {
					t.Errorf("it was sent %d times", n)
				}
				if ours := strings.Contains(got.header.Get("Proxy-Status"), "error="); ours && c.method == "GET" &&
					!strings.Contains(got.body, "marked as read") {
					t.Errorf("no word of what may have happened: %s", got.body)
				}
			})
		}
	}
	t.Run("a list is sent again", func(t *testing.T) {
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultReset, Count: 1})
		h.sim.ResetRequests()
		h.get(list).want(t, 200)
		if n := h.sim.RequestCount("provider:nsso"); n != 2 {
			t.Errorf("it was sent %d times", n)
		}
	})
	t.Run("a write is not", func(t *testing.T) {
		h.sim.ClearFaults()
		h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultReset, Count: 1})
		h.sim.ResetRequests()
		got := h.send("PATCH", box+"/messages", strings.NewReader(`{"items":[]}`),
			"Content-Type: application/merge-patch+json", "Idempotency-Key: 1").want(t, 502)
		if n := h.sim.RequestCount("provider:nsso"); n != 1 || got.problem(t)["requestSent"] != true {
			t.Errorf("%d times: %s", n, got.body)
		}
	})
}

// A document is opened by the call for it and by nothing else.
func TestOnlyTheCallForADocumentMarksItRead(t *testing.T) {
	t.Parallel()
	h := open(t)
	unread := func() bool {
		return strings.Contains(h.get(box+"/messages/"+simulator.FirstMessage).want(t, 200).body, `"readStatus":false`)
	}
	if !unread() {
		t.Fatal("it was read before")
	}
	for _, path := range []string{"", "/messages", "/messages/" + simulator.FirstMessage,
		"/messages/" + simulator.FirstMessage + "/attachments", "/messages/" + simulator.FirstMessage + "/attachments/1"} {
		h.get(box+path).want(t, 200)
		h.send("HEAD", box+path, nil).want(t, 200)
		h.send("OPTIONS", box+path, nil).want(t, 204)
	}
	h.send("OPTIONS", box+"/messages/"+simulator.FirstMessage+"/attachments/1/content", nil).want(t, 204)
	h.get(box+"/messages/"+simulator.FirstMessage+"/attachments/1/content", "Origin: https://evil.example").want(t, 403)
	// somebody else's
	h.get("/enterprises/"+another+nsso+"/ebox/messages/"+simulator.FirstMessage+"/attachments/1/content").want(t, 200)
	if !unread() {
		t.Error("something else marked it read")
	}
	h.get(box+"/messages/"+simulator.FirstMessage+"/attachments/1/content").want(t, 200)
	if unread() {
		t.Error("the call for it did not")
	}
}

// A call each two seconds: slow enough to be counted, quick enough to be waited for.
const slowly = "rate: {perSecond: 0.5, burst: 1}"

func TestBeyondARateACallIsRefusedUntilTheTimeItIsTold(t *testing.T) {
	t.Parallel()
	const here = "networks: [127.0.0.1/32]"
	for _, c := range []struct {
		name    string
		edit    func(*testing.T, string) string
		free    string // what it does not bound
		another string // the address of somebody whom it does not bound
	}{
		{"of an enterprise", edit("{number: 0206.731.645,", "{number: 0206.731.645, "+slowly+","), anothersBox, ""},
		{"of a caller", edit("tenancy:\n", "callers:\n  - {name: desk, "+here+", "+slowly+
			"}\n  - {name: other, networks: [127.0.0.2/32]}\ntenancy:\n"), box, "127.0.0.2"},
		{"of a provider", providers(slowly), regionalBox, ""},
		{"of a route", ofRoute("grant-citizen", slowly), box, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, upstream := box, "provider:nsso"
			if c.name == "of a route" {
				path, upstream = mandates, simulator.UpstreamGrant
			}
			h := build(t, c.edit)
			eventually(t, "the first list", func() bool { return !h.status().Directory.LastSuccess.IsZero() })
			h.get(path).want(t, 200)
			spent := time.Now()
			for range 3 { // a refusal spends nothing
				got := h.get(path).want(t, 429)
				p := got.problem(t)
				if wait := retryAfterOf(t, got); wait != 2*time.Second && time.Since(spent) < time.Second {
					t.Errorf("%s to wait", wait)
				}
				if p["type"] != "urn:problem-type:belgif:tooManyRequests" || p["limit"] != 1.0 ||
					!strings.Contains(got.header.Get("Proxy-Status"), "error=http_request_denied") {
					t.Errorf("%v %s", got.header, got.body)
				}
			}
			if c.another != "" {
				h.as(c.another, "GET", c.free).want(t, 200)
			} else {
				h.get(c.free).want(t, 200)
			}
			if n := h.sim.RequestCount(upstream); n > 2 { // one, and perhaps one of those that it does not bound
				t.Errorf("%d calls were sent", n)
			}
			time.Sleep(time.Until(spent.Add(2 * time.Second))) // what Retry-After asked for
			h.get(path).want(t, 200)
		})
	}
}

const twoClasses = "callers:\n  - {name: nightly, networks: [127.0.0.2/32], class: batch, wait: 20s}\n  - {name: " +
	"desk, networks: [127.0.0.1/32]}\ntenancy:\n"

func TestBatchCallersArePacedAndLeaveRoomInTheRate(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", twoClasses), providers("rate: {perSecond: 20, burst: 10}"))
	began := time.Now()
	var wg sync.WaitGroup
	const calls = 25
	for range calls {
		wg.Go(func() {
			if got := h.as("127.0.0.2", "GET", box); got.status != 200 {
				t.Errorf("a batch call got %d %s", got.status, got.body)
			}
		})
	}
	eventually(t, "batch to have spent its part", func() bool { return h.sim.RequestCount("provider:nsso") >= 7 })
	for range 3 { // while they wait in line, nobody else has to
		h.get(box).want(t, 200)
	}
	wg.Wait()
	// Seven at once, the others at seven tenths of twenty a second.
	if took, least := time.Since(began), time.Second*(calls-7)/14; took < least {
		t.Errorf("%d calls took %s, not %s", calls, took, least)
	}
	if u := h.upstreamStatus("provider nsso"); u.RefusedRate != 0 {
		t.Errorf("%+v", u)
	}
}

// What a configuration leaves as it is goes on as it was: neither does a reload set
// a broken upstream free, nor does it fill up anybody's rate.
func TestAReloadKeepsCircuitsAndRates(t *testing.T) {
	t.Parallel()
	f := watched(t, providers("retry: {tries: 1}", "breaker: {minRequests: 10, window: 10m, open: 10m}"),
		edit("{number: 0474.028.805,", "{number: 0474.028.805, rate: {perSecond: 0.001, burst: 3},"),
		ofRoute("grant-citizen", "rate: {perSecond: 0.001, burst: 3}"),
		edit("tenancy:\n", "callers:\n  - {name: desk, networks: [127.0.0.1/32]}\n  - {name: counted, networks: "+
			"[127.0.0.3/32], rate: {perSecond: 0.001, burst: 3}}\ntenancy:\n"))
	f.breakCircuit(10)
	f.sim.ClearFaults()
	open := f.upstreamStatus("provider nsso")
	const ended = "/enterprises/0474028805" + regional + "/ebox" // upstream refuses it: a rate counts it all the same
	spend := func() map[string]int {
		return map[string]int{
			"enterprise": f.get(ended).status,
			"upstream":   f.get(mandates).status,
			"caller":     f.as("127.0.0.3", "GET", regionalBox).status,
			"circuit":    f.get(box).status,
		}
	}
	for range 3 {
		spend()
	}
	f.sim.ResetRequests()
	for i := range 3 {
		for what, status := range spend() {
			if want := map[string]int{"circuit": 503}[what]; status != max(want, 429) {
				t.Errorf("reload %d: %s: %d", i, what, status)
			}
		}
		if now := f.upstreamStatus("provider nsso"); now.Circuit != "open" || !now.OpenUntil.Equal(open.OpenUntil) {
			t.Errorf("reload %d: %+v", i, now)
		}
		f.untouched("registry", "token endpoint", "provider regional") // and shown, whoever made them
		before := f.status().Configuration.Hash
		switch i {
		case 0:
			f.change(t, "name: With a mandate}", "name: With another name}")
		case 1:
			f.change(t, "oauth:\n", "oauth:\n  timeout: 9s\n")
		case 2:
			f.change(t, "registry:\n", "registry:\n  refresh: 7m\n")
		}
		eventually(t, "the reload", func() bool { return f.status().Configuration.Hash != before })
	}
	for what, status := range spend() {
		if status != 429 && status != 503 {
			t.Errorf("at the end: %s: %d", what, status)
		}
	}
	if n := len(f.sim.RequestsTo("provider:nsso")) + len(f.sim.RequestsTo("provider:regional")) + len(
		f.sim.RequestsTo(simulator.UpstreamGrant)); n != 0 {
		t.Errorf("%d calls were sent", n)
	}
	// What is changed begins anew.
	f.change(t, "open: 10m", "open: 9m")
	eventually(t, "the circuit of the new settings", func() bool { return f.get(box).status == 200 })
}

func TestAnEnterpriseBeyondItsRateUsesUpNothingOfItsCallers(t *testing.T) {
	t.Parallel()
	h := open(t, edit("{number: 0206.731.645,", "{number: 0206.731.645, rate: {perSecond: 0.001, burst: 1},"),
		edit("tenancy:\n", "callers: [{name: desk, networks: [127.0.0.1/32], rate: {perSecond: 0.001, "+
			"burst: 5}}]\ntenancy:\n"))
	h.get(box).want(t, 200)
	for range 10 {
		if got := h.get(box).want(t, 429); !strings.Contains(fmt.Sprint(got.problem(t)["detail"]), "enterprise") {
			t.Fatalf("%s", got.body)
		}
	}
	for range 4 {
		h.get(anothersBox).want(t, 200)
	}
	h.get(anothersBox).want(t, 429)
}
