package whole_test

import (
	"strings"
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
	h := open(t, edit("name: ebox-providers\n", "name: ebox-providers\n    cache: {enabled: true, defaultTtl: 1m, "+
		"shared: false, rules: [{paths: [/referenceData/**], defaultTtl: 24h, shared: always}]}\n"))
	hit := func(path string) answer {
		got := h.get(path).want(t, 200)
		if !strings.Contains(got.cacheStatus(), "hit") || got.header.Get("Age") == "" {
			t.Errorf("%s: %v", path, got.header)
		}
		return got
	}
	first := h.get(own+reference).want(t, 200)
	if !strings.Contains(first.cacheStatus(), "stored") {
		t.Fatalf("%s", first.cacheStatus())
	}
	broken := h.fault(simulator.Fault{Upstream: "*", Kind: simulator.FaultReset})
	h.sim.ResetRequests()
	if again := hit(own + reference); again.body != first.body {
		t.Errorf("%s became %s", first.body, again.body)
	}
	hit(anothers + reference) // shared
	if c := h.status().Cache; c.Hits < 2 || c.Stored == 0 || c.Bytes == 0 {
		t.Errorf("%+v", c)
	}
	for query, status := range map[string]int{"": 400, "?all=yes": 400, "?all=true&route=ebox-providers": 400,
		"?enterprise=1": 400, "?rout=ebox-providers": 400, "?route=nothing": 404} {
		h.operate("POST", "/cache/purge"+query).want(t, status)
	}
	hit(own + reference)
	if n := h.sim.RequestCount("provider:nsso"); n != 0 {
		t.Errorf("%d requests reached the provider", n)
	}
	h.sim.RemoveFault(broken)
	h.operate("POST", "/cache/purge?route=ebox-providers").want(t, 200)
	if got := h.get(own+reference).want(t, 200); strings.Contains(got.cacheStatus(), "hit") {
		t.Error("the answer is still there")
	}
}

func TestAnEnterpriseGetsItsOwnAnswersAlone(t *testing.T) {
	t.Parallel()
	h := open(t)
	ours := h.get(messages).want(t, 200)
	theirs := h.get(anothersBox+"/messages").want(t, 200)
	if ours.body == theirs.body {
		t.Fatal("the two have the same messages, so that nothing can be told")
	}
	for range 3 {
		if got := h.get(messages).want(t, 200); got.body != ours.body || !strings.Contains(got.cacheStatus(),
			"fwd-status=304") {
			t.Errorf("%s", got.cacheStatus())
		}
		if got := h.get(anothersBox+"/messages").want(t, 200); got.body != theirs.body {
			t.Errorf("%s", got.cacheStatus())
		}
	}
}

func TestTheCacheOutlivesAReloadAndTheRightToItDoesNot(t *testing.T) {
	t.Parallel()
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.get(own+reference).want(t, 200)
	f.get(anothers+reference).want(t, 200)
	f.write(t, "stop.txt", "0206.731.645\n")
	eventually(t, "the suspension", func() bool { return f.get(own+reference).status == 403 })
	if got := f.get(anothers+reference).want(t, 200); !strings.Contains(got.cacheStatus(), "hit") {
		t.Errorf("after the reload: %s", got.cacheStatus())
	}
}
