package cache_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("If-None-Match") != "" {
				return reply(304, "", "Cache-Control: max-age=5", "X-New: 2", "Content-Length: 99",
					"Connection: x-hop", "X-Hop: 1"), nil
			}
			return reply(200, "body", "Cache-Control: max-age=1", `ETag: "a"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT",
				"X-New: 1", "X-Old: 1", "Content-Length: 4"), nil
		})
		r.get("/a")
		time.Sleep(2 * time.Second)
		g := r.get("/a")
		mustGet(t, g, 200, "body", "fwd=stale; fwd-status=304; stored")
		if h := r.last().Header; h.Get("If-None-Match") != `"a"` ||
			h.Get("If-Modified-Since") != "Fri, 31 Dec 1999 00:00:00 GMT" {
			t.Errorf("asked with %v", h)
		}
		if h := g.header; h.Get("X-New") != "2" || h.Get("X-Old") != "1" || h.Get("Content-Length") != "4" ||
			h.Get("X-Hop") != "" || h.Get("Etag") != `"a"` {
			t.Errorf("updated to %v", h)
		}
		time.Sleep(4 * time.Second)
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=1")
	})
}

func TestTheCallersOwnConditions(t *testing.T) {
	const modified = "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"
	for _, c := range []struct {
		name   string
		again  []string
		status int
	}{
		{"its tag is the stored one", []string{`If-None-Match: "a"`}, 304},
		{"weakly", []string{`If-None-Match: W/"a"`}, 304},
		{"among others, with a comma in one", []string{`If-None-Match: "x,y", "a"`}, 304},
		{"in a second line", []string{`If-None-Match: "x"`, `If-None-Match: "a"`}, 304},
		{"any", []string{"If-None-Match: *"}, 304},
		{"another tag", []string{`If-None-Match: "b"`}, 200},
		{"another tag counts before the date",
			[]string{`If-None-Match: "b"`, "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"}, 200},
		{"since then", []string{"If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT"}, 304},
		{"since before", []string{"If-Modified-Since: Thu, 30 Dec 1999 00:00:00 GMT"}, 200},
		{"since a day that is none", []string{"If-Modified-Since: yesterday"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60", `ETag: "a"`, modified, "Content-Type: text/plain"))
			r.get("/a")
			g := r.get("/a", c.again...)
			if g.status != c.status || r.count() != 1 || g.header.Get("Etag") != `"a"` {
				t.Errorf("%d %v", g.status, g.header)
			}
			if c.status == 304 && (g.body != "" || g.header.Get("Content-Length") != "") {
				t.Errorf("a 304 with %q %v", g.body, g.header)
			}
		})
	}
	t.Run("are judged by what the upstream confirms", func(t *testing.T) {
		r := newRig(t, always("body", "Cache-Control: no-cache", `ETag: "a"`))
		r.get("/a")
		for tag, status := range map[string]int{`"a"`: 304, `"b"`: 200} {
			g := r.get("/a", "If-None-Match: "+tag)
			if sent := r.last().Header.Get("If-None-Match"); g.status != status || sent != `"a"` {
				t.Errorf("%s: %d, asked with %s", tag, g.status, sent)
			}
		}
	})
}

func TestHEADShowsThatGETIsOutOfDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tag := `"a"`
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			body := "body"
			if req.Method == "HEAD" {
				body = ""
			}
			return reply(200, body, "Cache-Control: max-age=10, stale-while-revalidate=100", "ETag: "+tag), nil
		})
		r.get("/a")
		time.Sleep(5 * time.Second)
		r.do(asked{method: "HEAD", path: "/a", header: fieldsOf("Cache-Control: no-cache")})
		time.Sleep(7 * time.Second)
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=3") // the HEAD made it as new
		tag = `"b"`
		r.do(asked{method: "HEAD", path: "/a", header: fieldsOf("Cache-Control: no-cache")})
		mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss")
	})
}

// What a confirmation brings to one enterprise goes to others only if it says itself that it may.
func TestAConfirmationForOneEnterpriseIsNotSharedUnlessItIsPublic(t *testing.T) {
	testkit.Table(t, map[string]bool{"public, ": true, "": false}, func(t *testing.T, shared bool) {
		word := map[bool]string{true: "public, "}[shared]
		r := newRig(t, always("body", "Cache-Control: public, max-age=1", `ETag: "a"`))
		r.policy.Shared = config.SharedPublic
		r.get("/a")
		time.Sleep(2 * time.Second)
		r.origin = always("body", "Cache-Control: "+word+"max-age=60", `ETag: "a"`, "X-Person: another")
		mustGet(t, r.do(asked{path: "/a", who: other}), 200, "body", "fwd-status=304")
		if g := r.get("/a"); g.fromCache() != shared {
			t.Errorf("%s %v", g.cache, g.header)
		}
	})
}
