package gateway_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"ebox-gateway/internal/simulator"
)

// What is the same for every enterprise, as one and another ask for it.
const (
	reference = nsso + "/referenceData/messageTypes"
	own       = "/enterprises/" + mandated
	anothers  = "/enterprises/" + another
)

// cacheStatus is what the cache says that it did.
func (a answer) cacheStatus() string { return a.header.Get("Cache-Status") }

func TestAHitTouchesNeitherTokenNorUpstream(t *testing.T) {
	t.Parallel()
	h := open(t, edit("name: ebox-providers\n", "name: ebox-providers\n    cache: {enabled: true, defaultTtl: 1m, shared: false, rules: [{paths: [/referenceData/**], defaultTtl: 24h, shared: always}]}\n"))
	first := h.get(own+reference).want(t, 200)
	if !strings.Contains(first.cacheStatus(), "stored") {
		t.Fatalf("%s", first.cacheStatus())
	}
	h.fault(simulator.Fault{Upstream: "*", Kind: simulator.FaultReset})
	h.sim.ResetRequests()
	again := h.get(own+reference).want(t, 200)
	if !strings.Contains(again.cacheStatus(), "hit") || again.header.Get("Age") == "" || again.body != first.body {
		t.Errorf("%s %v", again.cacheStatus(), again.header)
	}
	// Shared: the other enterprise gets it as well, with links of its own.
	others := h.get(anothers+reference).want(t, 200)
	if !strings.Contains(others.cacheStatus(), "hit") {
		t.Errorf("%s", others.cacheStatus())
	}
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("%d requests reached the provider", n)
	}
	if c := h.status().Cache; c.Hits < 2 || c.Stored == 0 || c.Bytes == 0 {
		t.Errorf("%+v", c)
	}
}

func TestAnEnterpriseGetsItsOwnAnswersAlone(t *testing.T) {
	t.Parallel()
	h := open(t)
	ours := h.get(box+"/messages").want(t, 200)
	theirs := h.get(anothersBox+"/messages").want(t, 200)
	if ours.body == theirs.body {
		t.Fatal("the two have the same messages, so that nothing can be told")
	}
	for range 3 {
		if got := h.get(box+"/messages").want(t, 200); got.body != ours.body || !strings.Contains(got.cacheStatus(), "fwd-status=304") {
			t.Errorf("%s", got.cacheStatus())
		}
		if got := h.get(anothersBox+"/messages").want(t, 200); got.body != theirs.body {
			t.Errorf("%s", got.cacheStatus())
		}
	}
}

func TestAPurgeDropsAnswers(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(own+reference).want(t, 200)
	for _, query := range []string{"", "?all=yes", "?all=true&route=ebox-providers", "?enterprise=1", "?rout=ebox-providers"} {
		if status := h.admPost(t, "/cache/purge"+query); status != 400 {
			t.Errorf("%q: %d", query, status)
		}
	}
	if got := h.get(own+reference).want(t, 200); !strings.Contains(got.cacheStatus(), "hit") {
		t.Fatalf("%s", got.cacheStatus())
	}
	if status := h.admPost(t, "/cache/purge?route=ebox-providers"); status != 200 {
		t.Fatalf("%d", status)
	}
	if got := h.get(own+reference).want(t, 200); strings.Contains(got.cacheStatus(), "hit") {
		t.Errorf("%s", got.cacheStatus())
	}
	if status := h.admPost(t, "/cache/purge?route=nothing"); status != 404 {
		t.Errorf("%d", status)
	}
}

// admPost asks the admin listener to change something.
func (h *house) admPost(t *testing.T, path string) int {
	t.Helper()
	resp, err := h.http.Post(h.adm+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestACrowdOfReadersCausesOneRequest(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.get(box).want(t, 200) // the token is there
	h.fault(simulator.Fault{Upstream: "provider:nsso", Path: "/ebox/messages", Kind: simulator.FaultLatency, Delay: 300e6})
	h.sim.ResetRequests()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() { h.get(box+"/messages").want(t, http.StatusOK) })
	}
	wg.Wait()
	if n := h.sim.RequestCount("provider:nsso"); n > 3 {
		t.Errorf("64 readers caused %d requests", n)
	}
}
