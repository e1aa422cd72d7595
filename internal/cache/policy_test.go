package cache_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestOnlyAWholeIsStored(t *testing.T) {
	const fresh, whole = "Cache-Control: max-age=60", "a whole body"
	for name, c := range map[string]struct {
		body   io.ReadCloser
		length int64
		coding []string
		kept   bool
	}{
		"cut short": {cut("a whole"), 12, nil, false},
		"larger than it may be, unannounced": {io.NopCloser(strings.NewReader(whole + " and more")), -1, []string{"chunked"},
			false},
		"ended by the end of the connection": {io.NopCloser(strings.NewReader(whole)), -1, nil, false},
		"chunked and whole":                  {io.NopCloser(strings.NewReader(whole)), -1, []string{"chunked"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*http.Request) (*http.Response, error) {
				resp := reply(200, "", fresh)
				resp.Body, resp.ContentLength, resp.TransferEncoding = c.body, c.length, c.coding
				return resp, nil
			})
			r.policy.MaxBody = config.Size(len(whole))
			r.get("/a")
			r.origin = always("another", fresh)
			g := r.get("/a")
			if g.fromCache() != c.kept || c.kept && (g.body != whole || g.header.Get("Content-Length") != "12") {
				t.Errorf("%q, %s, %v", g.body, g.cache, g.header)
			}
		})
	}
	t.Run("a caller that goes away", func(t *testing.T) {
		r := newRig(t, always("body", fresh))
		a, err := r.cache.Do(t.Context(), r.call(asked{path: "/a"}), r.send)
		testkit.Must(t, err)
		_, _ = io.ReadFull(a.Body, make([]byte, 3))
		a.Close()
		mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss; stored")
	})
}

func TestWhatBroughtACallersCredentials(t *testing.T) {
	for _, of := range []struct {
		name, cacheControl, sent string
		kept                     bool
	}{
		{"is that caller's alone", "max-age=60", "Authorization: Basic x", false},
		{"even if it is a cookie", "max-age=60", "Cookie: session=1", false},
		{"unless it is public", "public, max-age=60", "Authorization: Basic x", true},
		{"or has a lifetime for shared caches", "s-maxage=60", "Cookie: session=1", true},
		{"or must be validated when stale", "max-age=60, must-revalidate", "Authorization: Basic x", true},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: "+of.cacheControl))
			for _, sharing := range []config.Sharing{config.SharedNever, config.SharedAlways} {
				r.policy.Shared = sharing
				path := fmt.Sprint("/", sharing)
				r.get(path, of.sent)
				if g := r.get(path); g.fromCache() != of.kept {
					t.Errorf("sharing %s: %s", sharing, g.cache)
				}
			}
		})
	}
}

func TestCookiesAreKeptWhereTheyPassAndTheAnswerSaysItsLifetime(t *testing.T) {
	for _, of := range []struct {
		name    string
		passes  bool
		answer  []string
		kept    bool
		cookies int
	}{
		{"with a lifetime", true, []string{"Cache-Control: max-age=60"}, true, 1},
		{"by guess", true, []string{"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"}, false, 1},
		{"where none passes", false, []string{"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"}, true, 0},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, always("body", append(of.answer, "Set-Cookie: a=b")...))
			r.policy.Cookies, r.policy.Heuristics = of.passes, true
			r.get("/a")
			g := r.get("/a")
			if g.fromCache() != of.kept || len(g.header["Set-Cookie"]) != of.cookies {
				t.Errorf("%s with %v", g.cache, g.header)
			}
		})
	}
}
