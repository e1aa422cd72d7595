package whole_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

const anothersBox = "/enterprises/" + another + nsso + "/ebox"

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

// breakCircuit makes nsso fail for two enterprises until it is not called any more. Of their failures all but the
// first count for its circuit.
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
	f := watched(t, providers("retry: {tries: 1}", "breaker: {minRequests: 9, window: 10m, open: 10m}"))
	fault := f.breakCircuit(10)
	sent := f.sim.RequestCount("provider:nsso")

	refused := f.get(box).want(t, 503)
	if wait := retryAfterOf(t, refused); wait <= 0 || wait > 10*time.Minute {
		t.Errorf("Retry-After is %s", wait)
	}
	if p := refused.problem(t); p["type"] != "urn:problem-type:belgif:serviceUnavailable" ||
		!strings.Contains(refused.header.Get("Proxy-Status"), "error=destination_unavailable") {
		t.Errorf("%v %s", refused.header, refused.body)
	}
	if got := hideMessage(f.house).want(t, 503).problem(t); !strings.Contains(got["detail"].(string), "Nothing was sent") {
		t.Errorf("%v", got)
	}
	if now := f.upstreamStatus("provider nsso"); now.Circuit != "open" || now.Opened != 1 ||
		f.status().Health != "DEGRADED" || f.listed("nsso")["circuit"] != "open" ||
		f.listed("regional")["circuit"] != "closed" {
		t.Errorf("%+v; the list says %v", now, f.listed("nsso"))
	}
	for _, path := range []string{regionalBox, mandates, registryRoute} {
		f.get(path).want(t, 200)
	}
	f.untouched("provider regional", "grant-citizen", "ebox-registry", "registry", "token endpoint")
	if n := f.sim.RequestCount("provider:nsso"); n != sent {
		t.Errorf("%d calls were sent through an open circuit", n-sent)
	}

	// With settings that are shorter it is probed: while it still fails, it opens again.
	f.change(t, "open: 10m", "open: 1s")
	eventually(t, "the circuit of the new settings to open again", func() bool {
		f.get(box).want(t, 503)
		f.get(anothersBox).want(t, 503)
		return f.upstreamStatus("provider nsso").Opened >= 2
	})
	f.sim.RemoveFault(fault)
	eventually(t, "the circuit to close", func() bool {
		return f.get(box).status == 200 && f.listed("nsso")["circuit"] == "closed"
	})
}

// Whatever else opens none is in package resilience.
func TestWhatOpensNoCircuit(t *testing.T) {
	t.Parallel()
	const sensitive = "breaker: {minRequests: 5, window: 10m, open: 10m}"
	const calls = 10
	h := open(t, providers(sensitive, "retry: {tries: 1}"), ofRoute("grant-citizen", sensitive))
	h.sim.SetGrantHealth(false)
	for range calls { // a health check that says DOWN
		if got := h.get(grant+"/health").want(t, 503); strings.TrimSpace(got.body) != `{"status":"DOWN"}` {
			t.Fatalf("%v %s", got.header, got.body)
		}
	}
	h.get(mandates).want(t, 200)
	h.untouched("grant-citizen")
	h.fault(simulator.Fault{Upstream: "provider:nsso", Path: "/ebox/messages", Kind: simulator.FaultReset})
	for i := range calls { // one enterprise whose calls alone fail
		h.get(anothersBox).want(t, 200)
		h.get(messages).want(t, map[bool]int{true: 502, false: 503}[i < 5]) // its own circuit opens
	}
	if u := h.upstreamStatus("provider nsso"); u.Circuit != "closed" || u.Opened != 0 ||
		!slices.Equal(u.OpenFor, []string{mandated}) {
		t.Errorf("%+v", u)
	}
}

const twoCallers = "callers:\n  - {name: greedy, networks: [127.0.0.2/32]}\n  - {name: honest, networks: " +
	"[127.0.0.1/32]}\ntenancy:\n"

// One caller reads and writes so slowly that its calls never end, more of them than the
// provider has places. It asks for the same enterprise as the others do, too.
func TestSlowCallsOfOneCallerCostOthersNoRequest(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", twoCallers), providers("concurrency: {max: 40, queue: 40, wait: 10m}"))
	id, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Sizes: []int64{32 << 20}})
	testkit.Must(t, err)
	for i := range 80 {
		c := h.dial("127.0.0.2")
		_ = c.conn.(*net.TCPConn).SetReadBuffer(4096) // of a document the kernel takes little
		if i%8 == 0 {
			c.write(fmt.Sprintf("GET %s/%s/attachments/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n", messages, id))
		} else {
			c.write("POST " + messages + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; " +
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
			for range 10 {
				if got := h.get(box); got.status != 200 {
					t.Errorf("an honest caller got %d %s", got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	got := h.as("127.0.0.2", "POST", messages, mixed).want(t, 503)
	if p := got.problem(t); !strings.Contains(p["detail"].(string), "This caller has its share") ||
		p["type"] != "urn:problem-type:belgif:serviceUnavailable" || retryAfterOf(t, got) <= 0 ||
		!strings.Contains(got.header.Get("Proxy-Status"), "error=connection_limit_reached") {
		t.Errorf("%v %s", got.header, got.body)
	}
	for _, path := range []string{regionalBox, mandates, registryRoute} { // same host, their own places
		h.as("127.0.0.2", "GET", path).want(t, 200)
	}
	h.untouched("provider nsso")
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
	const body = messages + "/" + simulator.BodyMessage + "/body"
	h := open(t, providers("breaker: {enabled: false}"))
	h.get(box).want(t, 200) // a connection is there that a retry could use
	impatient := open(t, providers("breaker: {enabled: false}", "timeouts: {header: 300ms}"))
	for _, f := range []struct {
		name   string
		h      *house
		fault  simulator.Fault
		status int
	}{
		{"reset", h, simulator.Fault{Kind: simulator.FaultReset}, 502},
		{"too slow", impatient, simulator.Fault{Kind: simulator.FaultFreeze}, 504},
		{"503 with Retry-After", h, simulator.Fault{Kind: simulator.FaultStatus, Status: 503, RetryAfter: "0"}, 503},
		{"401", h, simulator.Fault{Kind: simulator.FaultUnauthorized}, 401},
	} {
		for _, c := range []struct{ name, method, path string }{
			{"an attachment", "GET", document}, {"HEAD", "HEAD", document}, {"a body", "GET", body},
		} {
			t.Run(f.name+", "+c.name, func(t *testing.T) {
				f.h.sim.ClearFaults()
				f.fault.Upstream = "provider:nsso"
				f.h.fault(f.fault)
				f.h.sim.ResetRequests()
				got := f.h.send(c.method, c.path, nil).want(t, f.status)
				if f.status == 504 { // the answer may come before the upstream took notice
					eventually(t, "the call upstream", func() bool { return f.h.sim.RequestCount("provider:nsso") > 0 })
				}
				if n := f.h.sim.RequestCount("provider:nsso"); n != 1 {
					t.Errorf("it was sent %d times", n)
				}
				if ours := strings.Contains(got.header.Get("Proxy-Status"), "error="); ours && c.method == "GET" &&
					!strings.Contains(got.body, "marked as read") {
					t.Errorf("no word of what may have happened: %s", got.body)
				}
			})
		}
	}
}

// A document is opened by the call for it and by nothing else.
func TestOnlyTheCallForADocumentMarksItRead(t *testing.T) {
	t.Parallel()
	h := open(t)
	const first = messages + "/" + simulator.FirstMessage
	unread := func() bool { return strings.Contains(h.get(first).want(t, 200).body, `"readStatus":false`) }
	if !unread() {
		t.Fatal("it was read before")
	}
	for _, path := range []string{box, messages, first, first + "/attachments", first + "/attachments/1"} {
		h.get(path).want(t, 200)
		h.send("HEAD", path, nil).want(t, 200)
		h.send("OPTIONS", path, nil).want(t, 204)
	}
	h.send("OPTIONS", document, nil).want(t, 204)
	h.get(document, "Origin: https://evil.example").want(t, 403)
	h.get(strings.Replace(document, mandated, another, 1)).want(t, 200) // somebody else's
	if !unread() {
		t.Error("something else marked it read")
	}
	for range 3 { // none of which is answered from the cache
		h.sim.ResetRequests()
		got := h.get(document).want(t, 200)
		if n := h.sim.RequestCount("provider:nsso"); n != 1 || !strings.Contains(got.cacheStatus(), "fwd=bypass") {
			t.Errorf("%d requests, %s", n, got.cacheStatus())
		}
	}
	if unread() {
		t.Error("the call for it did not")
	}
}

// One call, and none for as long as a test takes.
const onceOnly = "rate: {perSecond: 0.001, burst: 1}"

func TestBeyondARateACallIsRefusedAndToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	h := build(t, edit("{number: 0474.028.805,", "{number: 0474.028.805, "+onceOnly+","),
		ofRoute("grant-citizen", onceOnly),
		edit("tenancy:\n", "callers:\n  - {name: desk, networks: [127.0.0.2/32], "+onceOnly+
			"}\n  - {name: counted, networks: [127.0.0.3/32], rate: {perSecond: 0.001, burst: 2}}\n"+
			"  - {name: other, networks: [127.0.0.0/8]}\ntenancy:\n"))
	eventually(t, "the first list", func() bool { return !h.status().Directory.LastSuccess.IsZero() })
	const here, desk = "127.0.0.1", "127.0.0.2"
	for _, c := range []struct{ of, from, path, kind string }{
		{"an enterprise", here, "/enterprises/" + ended + nsso + "/ebox", "enterprise"},
		{"a caller", desk, box, "caller"},
		{"a route", here, mandates, ""},
	} {
		if got := h.as(c.from, "GET", c.path); got.status == 429 {
			t.Errorf("of %s: the first is refused: %s", c.of, got.body)
		}
		sent := len(h.sim.Requests())
		for range 2 {
			got := h.as(c.from, "GET", c.path).want(t, 429)
			if wait := retryAfterOf(t, got); wait <= 0 || wait > 1000*time.Second {
				t.Errorf("of %s: %s to wait", c.of, wait)
			}
			if p := got.problem(t); p["type"] != "urn:problem-type:belgif:tooManyRequests" || p["limit"] != 1.0 ||
				!strings.Contains(got.header.Get("Proxy-Status"), "error=http_request_denied") {
				t.Errorf("of %s: %v %s", c.of, got.header, got.body)
			}
		}
		if n := len(h.sim.Requests()) - sent; n != 0 {
			t.Errorf("of %s: %d calls were sent", c.of, n)
		}
		if n := h.metric(`ebox_gateway_rate_refusals_total{kind="` + c.kind + `"}`); c.kind != "" && n != 2 {
			t.Errorf("of %s: %v refusals are counted", c.of, n)
		}
		h.get(anothersBox).want(t, 200) // whom none of them bounds
	}
	// An enterprise beyond its rate uses up nothing of its callers.
	for range 5 {
		h.as("127.0.0.3", "GET", "/enterprises/"+ended+nsso+"/ebox").want(t, 429)
	}
	for _, status := range []int{200, 200, 429} {
		h.as("127.0.0.3", "GET", anothersBox).want(t, status)
	}
}

const twoClasses = "callers:\n  - {name: nightly, networks: [127.0.0.2/32], class: batch, wait: 10m}\n  - {name: " +
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
func TestAReloadKeepsCircuitsRatesAndMaintenance(t *testing.T) {
	t.Parallel()
	f := watched(t, providers("retry: {tries: 1}", "breaker: {minRequests: 9, window: 10m, open: 10m}"),
		edit("{number: 0474.028.805,", "{number: 0474.028.805, "+onceOnly+","), ofRoute("grant-citizen", onceOnly),
		edit("tenancy:\n", "callers:\n  - {name: counted, networks: [127.0.0.3/32], "+onceOnly+"}\n"+
			"  - {name: desk, networks: [127.0.0.1/32]}\ntenancy:\n"))
	f.operate("POST", "/maintenance?provider=utilities&for=1h").want(t, 200)
	f.breakCircuit(10)
	f.sim.ClearFaults()
	open := f.upstreamStatus("provider nsso")
	spend := func() string {
		return fmt.Sprint(f.get("/enterprises/"+ended+regional+"/ebox").status, f.get(mandates).status,
			f.as("127.0.0.3", "GET", regionalBox).status, f.get(box).status)
	}
	spend()
	f.sim.ResetRequests()
	for _, change := range [][2]string{{"name: With a mandate}", "name: With another name}"},
		{"oauth:\n", "oauth:\n  timeout: 9m\n"}, {"registry:\n", "registry:\n  refresh: 7m\n"}} {
		f.reload(t, change[0], change[1])
		if got := spend(); got != "429 429 429 503" {
			t.Errorf("after %q: %s", change[1], got)
		}
		if now := f.upstreamStatus("provider nsso"); now.Circuit != "open" || !now.Until.Equal(open.Until) {
			t.Errorf("after %q: %+v", change[1], now)
		}
		if f.providerStatus("utilities").Switched == nil {
			t.Errorf("after %q the provider's maintenance is over", change[1])
		}
		f.untouched("registry", "token endpoint", "provider regional") // and shown, whoever made them
	}
	if n := len(f.sim.RequestsTo("provider:nsso")) + len(f.sim.RequestsTo("provider:regional")) + len(
		f.sim.RequestsTo(simulator.UpstreamGrant)); n != 0 {
		t.Errorf("%d calls were sent", n)
	}
	// What is changed begins anew.
	f.change(t, "open: 10m", "open: 9m")
	eventually(t, "the circuit of the new settings", func() bool { return f.get(box).status == 200 })
}

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

// flood sends requests from an address of their own and leaves them where they are. Statuses
// of those that were answered come by the channel.
func (h *house) flood(n int, request string, body int) <-chan *http.Response {
	answers := make(chan *http.Response, n)
	text := []byte(request + strings.Repeat(" ", body))
	var sent sync.WaitGroup
	for range n {
		c := h.dial("127.0.0.2")
		_ = c.conn.(*net.TCPConn).SetReadBuffer(4096) // an answer is not all taken by the kernel
		sent.Go(func() {
			// One that is refused may end before all of it was sent.
			_, _ = c.conn.Write(text)
			go func() {
				if resp, err := http.ReadResponse(bufio.NewReader(c.conn), nil); err == nil {
					answers <- resp
				}
			}()
		})
	}
	sent.Wait()
	return answers
}

// honest makes the calls of others, which must lose nothing.
func (h *house) honest(t *testing.T) {
	t.Helper()
	for range 3 {
		h.get(box).want(t, 200)
		h.get(box+"/messages").want(t, 200)
		h.get("/enterprises/"+another+"/ebox/messages").want(t, 200)
		orderMandate(h).want(t, 201)
	}
}

// bounded checks what is held for callers, of which n hold something.
func (h *house) bounded(t *testing.T, n int) {
	t.Helper()
	held, limit := h.metric("ebox_gateway_held_bytes"), h.metric("ebox_gateway_held_bytes_limit")
	if limit <= 0 || held > limit/2+float64(n)*memory.Free {
		t.Errorf("%.0f bytes of %.0f are held for one caller", held, limit)
	}
}

const patch = "PATCH /enterprises/" + mandated + "/ebox/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
	"application/merge-patch+json\r\nContent-Length: 1000000\r\n\r\n"

func TestBodiesWhoseEndIsWithheldAreBoundedInMemory(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {maxHeldBytes: 8MiB}, "))
	for range 26 { // a page of them takes nearly half of it, with the answer that is made of it
		_, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Subject: strings.Repeat("x", 25_000)})
		testkit.Must(t, err)
	}
	const page = "/enterprises/" + mandated + "/ebox/messages?pageSize=26"
	const calls = 16
	answers := h.flood(calls, patch, 999_999)
	for range calls - 8 { // eight at most find room in the half of their source
		if a := <-answers; a.StatusCode != 503 || a.Header.Get("Retry-After") == "" ||
			a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %v", a.Status, a.Header)
		}
	}
	got := h.as("127.0.0.2", "GET", page).want(t, 503) // pages of the inbox share the memory with bodies
	if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "maxHeldBytes") {
		t.Errorf("%v %s", got.header, got.body)
	}
	h.bounded(t, calls)
	h.honest(t)
	if got := h.list(t, page); len(got.Items) != 26 {
		t.Errorf("another caller gets %d messages: %v", len(got.Items), got.header)
	}
	if n := h.metric("ebox_gateway_held_bytes_refusals_total"); n < calls-8 {
		t.Errorf("%.0f refusals are counted", n)
	}
}
