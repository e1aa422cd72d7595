package cache_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"ebox-gateway/internal/config"
)

func TestOnlyAWholeIsStored(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	for name, answer := range map[string]func() *http.Response{
		"cut short": func() *http.Response {
			resp := reply(200, "", fresh)
			resp.ContentLength, resp.Body = 10, cut("body")
			return resp
		},
		"larger than it may be, unannounced": func() *http.Response {
			resp := reply(200, "body that is too long", fresh)
			resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
			return resp
		},
		"ended by the end of the connection": func() *http.Response {
			resp := reply(200, "body", fresh)
			resp.ContentLength = -1
			return resp
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*http.Request) (*http.Response, error) { return answer(), nil })
			r.policy.MaxBody = 12
			r.get("/a")
			r.origin = always("whole", fresh)
			mustGet(t, r.get("/a"), 200, "whole", "fwd=uri-miss; stored")
		})
	}
	t.Run("chunked and whole", func(t *testing.T) {
		r := newRig(t, func(*http.Request) (*http.Response, error) {
			resp := reply(200, "a body of some length", fresh)
			resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
			return resp, nil
		})
		r.get("/a")
		g := r.get("/a")
		mustGet(t, g, 200, "a body of some length", "hit")
		if g.header.Get("Content-Length") != "21" {
			t.Errorf("header %v", g.header)
		}
	})
	t.Run("a caller that goes away", func(t *testing.T) {
		r := newRig(t, always("body", fresh))
		a, err := r.cache.Do(t.Context(), r.call(asked{path: "/a"}), r.send)
		if err != nil {
			t.Fatal(err)
		}
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
