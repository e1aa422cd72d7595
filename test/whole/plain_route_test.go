package whole_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// theirOwn adds a route /mine to an upstream that knows its callers itself.
func theirOwn(server *httptest.Server, more string) func(*testing.T, string) string {
	return add("  - name: mine\n    path: /mine\n    upstream: '" + server.URL + "'\n    scopes: []\n    enterprise: " +
		"none\n    callerCredentials: true\n" + more)
}

func TestARouteOfOnesOwnPassesCredentialsMethodsAndHints(t *testing.T) {
	t.Parallel()
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Link", "</style>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Cache-Control", "max-age=60")
		h.Set("Set-Cookie", "session=1")
		h.Set("X-Said", r.Method+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Cookie"))
		fmt.Fprint(w, count.Add(1))
	}))
	defer server.Close()
	h := open(t, theirOwn(server, "    methods: [GET, M-SEARCH]\n    cache: {enabled: true}\n"))

	c := h.dial("")
	c.write("GET /mine/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic x\r\nCookie: c=1\r\n\r\n")
	hint := c.read("GET")
	if hint.status != http.StatusEarlyHints || hint.header.Get("Link") != "</mine/style>; rel=preload" {
		t.Fatalf("%d %v", hint.status, hint.header)
	}
	first := c.read("GET").want(t, 200)
	if first.header.Get("X-Said") != "GET Basic x c=1" || first.header.Get("Set-Cookie") != "session=1" ||
		first.header.Get("X-Request-Id") == "" {
		t.Errorf("%v", first.header)
	}
	if strings.Contains(first.cacheStatus(), "stored") {
		t.Errorf("what is one caller's is stored: %s", first.cacheStatus())
	}
	h.get("/mine/a").want(t, 200)
	again := h.get("/mine/a", "Authorization: Basic y").want(t, 200)
	if !strings.Contains(again.cacheStatus(), "hit") || again.body != "2" ||
		again.header.Get("Set-Cookie") != "session=1" {
		t.Errorf("%q %s", again.body, again.cacheStatus())
	}
	if got := h.send("M-SEARCH", "/mine/a", nil).want(t, 200); !strings.HasPrefix(got.header.Get("X-Said"), "M-SEARCH") {
		t.Errorf("%v", got.header)
	}
	if after := h.get("/mine/a").want(t, 200); after.body != "4" {
		t.Errorf("after a method that is not known to be safe: %q %s", after.body, after.cacheStatus())
	}
	if refused := h.send("SEARCH", "/mine/a", nil).want(t, 405); refused.header.Get("Allow") !=
		"GET, M-SEARCH, HEAD, OPTIONS" {
		t.Errorf("%v", refused.header)
	}
}

func TestARefreshShowsInTheAccessLogAsAPartOfWhatCausedIt(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		fmt.Fprint(w, "ok")
	}))
	defer server.Close()
	h := open(t, theirOwn(server, "    cache: {enabled: true}\n"))
	h.get("/mine/a").want(t, 200)
	stale := h.get("/mine/a").want(t, 200)
	if !strings.Contains(stale.cacheStatus(), "hit; ttl=") {
		t.Fatal(stale.cacheStatus())
	}
	eventually(t, "the refresh", func() bool {
		for line := range strings.Lines(h.access.String()) {
			if strings.Contains(line, `"parent":"`+stale.header.Get("X-Request-Id")+`"`) {
				if !strings.Contains(line, `"upstreamStatus":200`) || !strings.Contains(line, `"cache":"fwd=stale; stored`) ||
					strings.Contains(line, `"status":`) {
					t.Fatal(line)
				}
				return true
			}
		}
		return false
	})
}
