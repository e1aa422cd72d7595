package whole_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// A call each two seconds: slow enough to be counted, quick enough to be waited for.
const slowly = "rate: {perSecond: 0.5, burst: 1}"

func TestBeyondARateACallIsRefusedUntilTheTimeItIsTold(t *testing.T) {
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

func TestBatchCallersLeaveRoomInTheBulkhead(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", twoClasses), providers("concurrency: {max: 10, queue: 100, wait: 1s}"))
	h.get(box).want(t, 200)
	h.fault(frozen(nsso))
	h.sim.ResetRequests()
	call := func(from string) {
		c := h.dial(from)
		c.write("GET " + box + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	for range 20 {
		call("127.0.0.2")
	}
	eventually(t, "batch to wait", func() bool { return h.upstreamStatus("provider nsso").Queued == 13 })
	if n := h.sim.RequestCount("provider:nsso"); n != 7 {
		t.Errorf("batch has %d of 10 places", n)
	}
	for range 3 {
		call("127.0.0.1")
	}
	eventually(t, "the last places", func() bool { return h.sim.RequestCount("provider:nsso") == 10 })
}

// What a configuration leaves as it is goes on as it was: neither does a reload set
// a broken upstream free, nor does it fill up anybody's rate.
func TestAReloadKeepsCircuitsAndRates(t *testing.T) {
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
