package whole_test

import (
	"net/http"
	"net/http/httptest"
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
	h := open(t, edit("name: ebox-providers\n", "name: ebox-providers\n    cache: {enabled: true, defaultTtl: 1m, "+
		"shared: false, rules: [{paths: [/referenceData/**], defaultTtl: 24h, shared: always}]}\n"))
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
		if got := h.get(box+"/messages").want(t, 200); got.body != ours.body || !strings.Contains(got.cacheStatus(),
			"fwd-status=304") {
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
	for _, query := range []string{"", "?all=yes", "?all=true&route=ebox-providers", "?enterprise=1",
		"?rout=ebox-providers"} {
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

func TestOpeningsAreNeverAnsweredFromTheCache(t *testing.T) {
	t.Parallel()
	h := open(t)
	const content = box + "/messages/" + simulator.FirstMessage + "/attachments/1/content"
	list := h.get(box+"/messages").want(t, 200)
	h.sim.ResetRequests()
	for i := range 3 {
		got := h.get(content).want(t, 200)
		if n := h.sim.RequestCount("provider:nsso"); n != uint64(i+1) || !strings.Contains(got.cacheStatus(), "fwd=bypass") {
			t.Errorf("%d requests, %s", n, got.cacheStatus())
		}
	}
	// It is read now, which changes the list.
	after := h.get(box+"/messages").want(t, 200)
	if after.body == list.body || strings.Contains(after.cacheStatus(), "304") {
		t.Errorf("the list is the one before the opening: %s", after.cacheStatus())
	}
}

func TestARouteThatKeepsAnswersForEverybody(t *testing.T) {
	t.Parallel()
	n := 0
	upstream := serveUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte(r.URL.Path + " " + r.Method))
	})
	h := open(t, add("  - {name: rates, path: /rates, upstream: "+upstream+", scopes: [], enterprise: none, cache: "+
		"{enabled: true, shared: always, rules: [{paths: [/live/**], enabled: false}]}}\n"))
	for _, c := range []struct{ method, path, cache string }{
		{"GET", "/rates/eur", "stored"},
		{"GET", "/rates/eur", "hit; ttl="},
		{"HEAD", "/rates/eur", "hit; ttl="},
		{"GET", "/rates/eur?day=1", "uri-miss"},
		{"GET", "/rates/live/eur", "fwd=bypass"},
		{"GET", "/rates/live/eur", "fwd=bypass"},
		{"PUT", "/rates/eur", "fwd=method"},
		{"GET", "/rates/eur", "uri-miss; stored"},
		{"GET", "/rates/eur?day=1", "hit"},
	} {
		got := h.send(c.method, c.path, nil).want(t, 200)
		if !strings.Contains(got.cacheStatus(), c.cache) {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, got.cacheStatus(), c.cache)
		}
	}
	if n != 6 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if got := h.get("/rates/none", "Cache-Control: only-if-cached"); got.status != 504 ||
		got.problem(t)["type"] != "urn:problem-type:ebox-gateway:gatewayTimeout" ||
		!strings.Contains(got.header.Get("Proxy-Status"), "ebox-gateway; error=proxy_internal_response") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// serveUpstream serves an upstream of the test's own, one request at a time.
func serveUpstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
