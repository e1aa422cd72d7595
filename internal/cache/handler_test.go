package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsReused(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		answer []string
		after  time.Duration
		again  []string
		reused bool
	}{
		{"max-age", 200, []string{"Cache-Control: max-age=60"}, 59 * time.Second, nil, true},
		{"past max-age", 200, []string{"Cache-Control: max-age=60"}, 60 * time.Second, nil, false},
		{"s-maxage before max-age", 200, []string{"Cache-Control: max-age=1, s-maxage=60"}, 30 * time.Second, nil, true},
		{"max-age before Expires", 200, []string{"Cache-Control: max-age=60", "Expires: 0"}, 30 * time.Second, nil, true},
		{"Expires", 200, []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Sat, 01 Jan 2000 00:01:00 GMT"}, 30 * time.Second, nil, true},
		{"past Expires", 200, []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Sat, 01 Jan 2000 00:01:00 GMT"}, 61 * time.Second, nil, false},
		{"Expires that is no date", 200, []string{"Expires: 0"}, 0, nil, false},
		{"Age counts", 200, []string{"Cache-Control: max-age=60", "Age: 50"}, 11 * time.Second, nil, false},
		{"Age that is no number is ignored", 200, []string{"Cache-Control: max-age=60", "Age: x"}, 11 * time.Second, nil, true},
		{"the first Age of several", 200, []string{"Cache-Control: max-age=60", "Age: 5, 5000"}, 11 * time.Second, nil, true},
		{"a Date in the past is an age", 200, []string{"Cache-Control: max-age=60", "Date: Fri, 31 Dec 1999 23:00:00 GMT"}, 0, nil, false},
		{"nothing said", 200, nil, 0, nil, false},
		{"no-store", 200, []string{"Cache-Control: max-age=60, no-store"}, 0, nil, false},
		{"no-store in capitals", 200, []string{"Cache-Control: max-age=60, NO-STORE"}, 0, nil, false},
		{"private", 200, []string{"Cache-Control: max-age=60, private"}, 0, nil, false},
		{"private about a field", 200, []string{`Cache-Control: max-age=60, private="x-person"`, "X-Person: me"}, 0, nil, true},
		{"no-cache", 200, []string{"Cache-Control: max-age=60, no-cache"}, 0, nil, false},
		{"no-cache about a field", 200, []string{`Cache-Control: max-age=60, no-cache="x-person"`, "X-Person: me"}, 0, nil, true},
		{"quoted number", 200, []string{`Cache-Control: max-age="60"`}, 0, nil, true},
		{"number in single quotes", 200, []string{`Cache-Control: max-age='60'`}, 0, nil, false},
		{"directive within a string", 200, []string{`Cache-Control: x="max-age=60"`}, 0, nil, false},
		{"comma within a string", 200, []string{`Cache-Control: x="a, no-store", max-age=60`}, 0, nil, true},
		{"two that differ", 200, []string{"Cache-Control: max-age=60, max-age=90"}, 0, nil, false},
		{"two that agree", 200, []string{"Cache-Control: max-age=60", "Cache-Control: max-age=60"}, 0, nil, true},
		{"negative", 200, []string{"Cache-Control: max-age=-60"}, 0, nil, false},
		{"more than fits", 200, []string{"Cache-Control: max-age=99999999999999999999999"}, 1000 * time.Hour, nil, true},
		{"Vary *", 200, []string{"Cache-Control: max-age=60", "Vary: *"}, 0, nil, false},
		{"a status with a lifetime", 404, []string{"Cache-Control: max-age=60"}, 0, nil, true},
		{"a status nobody knows", 299, []string{"Cache-Control: max-age=60"}, 0, nil, true},
		{"a status nobody knows that must be understood", 299, []string{"Cache-Control: max-age=60, must-understand"}, 0, nil, false},
		{"one that is understood, against no-store", 200, []string{"Cache-Control: max-age=60, must-understand, no-store"}, 0, nil, true},
		{"206", 206, []string{"Cache-Control: max-age=60", "Content-Range: bytes 0-3/10"}, 0, nil, false},
		{"request max-age=0", 200, []string{"Cache-Control: max-age=60"}, time.Millisecond, []string{"Cache-Control: max-age=0"}, false},
		{"request max-age that suffices", 200, []string{"Cache-Control: max-age=60"}, 10 * time.Second, []string{"Cache-Control: max-age=20"}, true},
		{"request min-fresh", 200, []string{"Cache-Control: max-age=60"}, 10 * time.Second, []string{"Cache-Control: min-fresh=51"}, false},
		{"request max-stale", 200, []string{"Cache-Control: max-age=60", `ETag: "a"`}, 70 * time.Second, []string{"Cache-Control: max-stale=11"}, true},
		{"request max-stale, however much", 200, []string{"Cache-Control: max-age=60", `ETag: "a"`}, 7000 * time.Second, []string{"Cache-Control: max-stale"}, true},
		{"request max-stale against must-revalidate", 200, []string{"Cache-Control: max-age=60, must-revalidate", `ETag: "a"`}, 70 * time.Second, []string{"Cache-Control: max-stale=11"}, false},
		{"request no-cache", 200, []string{"Cache-Control: max-age=60"}, 0, []string{"Cache-Control: no-cache"}, false},
		{"request Pragma", 200, []string{"Cache-Control: max-age=60"}, 0, []string{"Pragma: no-cache"}, false},
		{"request Pragma beside Cache-Control", 200, []string{"Cache-Control: max-age=60"}, 0, []string{"Pragma: no-cache", "Cache-Control: max-age=50"}, true},
		{"answer Pragma means nothing", 200, []string{"Cache-Control: max-age=60", "Pragma: no-cache"}, 0, nil, true},
		{"If-Match is for the upstream", 200, []string{"Cache-Control: max-age=60", `ETag: "a"`}, 0, []string{`If-Match: "a"`}, false},
		{"Set-Cookie", 200, []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, 0, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(*http.Request) (*http.Response, error) { return reply(c.status, "body", c.answer...), nil })
				defer r.cache.Close()
				r.get("/a")
				time.Sleep(c.after)
				g := r.get("/a", c.again...)
				if reused := r.count() == 1; reused != c.reused {
					t.Errorf("reused: %v, %s", reused, g.cache())
				}
				if g.status != c.status || g.body != "body" {
					t.Errorf("%d %q", g.status, g.body)
				}
				if c.reused && (g.header.Get("X-Person") != "" || g.header.Get("Set-Cookie") != "" || g.header.Get("Age") == "") {
					t.Errorf("header %v", g.header)
				}
			})
		})
	}
}

func TestWhatTheRouteSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Policy
		answer []string
		after  time.Duration
		how    string
	}{
		{"a default lifetime", Policy{DefaultTTL: time.Minute}, nil, 59 * time.Second, "hit; ttl=1"},
		{"that is over", Policy{DefaultTTL: time.Minute}, nil, 61 * time.Second, "fwd=uri-miss"},
		{"not against the answer's own word", Policy{DefaultTTL: time.Minute}, []string{"Cache-Control: max-age=1"}, 2 * time.Second, "fwd=uri-miss"},
		{"heuristics", Policy{Heuristics: true}, []string{"Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"}, 2 * time.Hour, "hit"},
		{"heuristics off", Policy{}, []string{"Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"}, 0, "fwd=stale"},
		{"stale while revalidate", Policy{StaleWhileRevalidate: time.Minute}, []string{"Cache-Control: max-age=10"}, 60 * time.Second, "hit; ttl=-50"},
		{"stale while revalidate, over", Policy{StaleWhileRevalidate: time.Minute}, []string{"Cache-Control: max-age=10"}, 71 * time.Second, "fwd=uri-miss"},
		{"the answer's own window first", Policy{StaleWhileRevalidate: time.Hour}, []string{"Cache-Control: max-age=10, stale-while-revalidate=5"}, 20 * time.Second, "fwd="},
		{"must-revalidate forbids it", Policy{StaleWhileRevalidate: time.Hour}, []string{"Cache-Control: max-age=10, must-revalidate"}, 20 * time.Second, "fwd="},
		{"only when silent, and it speaks", Policy{StaleWhileRevalidate: time.Hour, WhenSilent: true}, []string{"Cache-Control: max-age=10"}, 20 * time.Second, "fwd="},
		{"only when silent, and it is", Policy{DefaultTTL: time.Second, StaleWhileRevalidate: time.Hour, WhenSilent: true}, nil, 20 * time.Second, "hit; ttl=-19"},
		{"a body that is too large", Policy{MaxBody: 3}, []string{"Cache-Control: max-age=60"}, 0, "fwd=uri-miss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, always("body", c.answer...))
				defer r.cache.Close()
				if c.policy.MaxBody == 0 {
					c.policy.MaxBody = 1000
				}
				r.policy = c.policy
				r.get("/a")
				time.Sleep(c.after)
				mustGet(t, r.get("/a"), 200, "body", c.how)
			})
		})
	}
}

func TestARefreshInTheBackgroundServesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRig(t, func(*http.Request) (*http.Response, error) {
			n++
			return reply(200, fmt.Sprint(n), "Cache-Control: max-age=10, stale-while-revalidate=60"), nil
		})
		defer r.cache.Close()
		mustGet(t, r.get("/a"), 200, "1", "fwd=uri-miss; stored")
		time.Sleep(20 * time.Second)
		mustGet(t, r.get("/a", "Range: bytes=0-0", `If-None-Match: "x"`), 206, "1", "hit; ttl=-10")
		synctest.Wait()
		if got := r.last().Header; len(got) != 0 {
			t.Errorf("the refresh was sent with %v", got)
		}
		mustGet(t, r.get("/a"), 200, "2", "hit; ttl=10")
	})
}

func TestARefreshEndsWithTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if n++; n > 1 {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return reply(200, "1", "Cache-Control: max-age=1, stale-while-revalidate=60"), nil
		})
		r.get("/a")
		time.Sleep(2 * time.Second)
		for range 3 {
			mustGet(t, r.get("/a"), 200, "1", "hit; ttl=-1")
		}
		synctest.Wait()
		if n != 2 {
			t.Errorf("%d requests for one refresh", n-1)
		}
		r.cache.Close() // hangs if the refresh does not end
	})
}

func TestAnAnswerInsteadOfAFailure(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  string
		failure func() (*http.Response, error)
		after   time.Duration
		again   []string
		status  int
	}{
		{"an error", "max-age=1, stale-if-error=60", func() (*http.Response, error) { return nil, errDown }, 10 * time.Second, nil, 200},
		{"503", "max-age=1, stale-if-error=60", func() (*http.Response, error) { return reply(503, "sorry"), nil }, 10 * time.Second, nil, 200},
		{"not 501", "max-age=1, stale-if-error=60", func() (*http.Response, error) { return reply(501, "sorry"), nil }, 10 * time.Second, nil, 501},
		{"not after its time", "max-age=1, stale-if-error=60", func() (*http.Response, error) { return nil, errDown }, 62 * time.Second, nil, 502},
		{"not unsaid", "max-age=1", func() (*http.Response, error) { return nil, errDown }, 10 * time.Second, nil, 502},
		{"not against must-revalidate", "max-age=1, stale-if-error=60, must-revalidate", func() (*http.Response, error) { return nil, errDown }, 10 * time.Second, nil, 502},
		{"not to who wants it from the upstream", "max-age=1, stale-if-error=60", func() (*http.Response, error) { return nil, errDown }, 10 * time.Second, []string{"Cache-Control: no-cache"}, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := false
				r := newRig(t, func(*http.Request) (*http.Response, error) {
					if down {
						return c.failure()
					}
					return reply(200, "body", `ETag: "a"`, "Cache-Control: "+c.answer), nil
				})
				defer r.cache.Close()
				r.get("/a")
				down = true
				time.Sleep(c.after)
				g := r.get("/a", c.again...)
				if g.status != c.status || c.status == 200 && (g.body != "body" || !strings.Contains(g.cache(), "stale-if-error")) {
					t.Errorf("%d %q %s", g.status, g.body, g.cache())
				}
			})
		})
	}
}

func TestValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("If-None-Match") != "" {
				return reply(304, "", "Cache-Control: max-age=5", "X-New: 2", "Content-Length: 99", "Connection: x-hop", "X-Hop: 1"), nil
			}
			return reply(200, "body", "Cache-Control: max-age=1", `ETag: "a"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT", "X-New: 1", "X-Old: 1", "Content-Length: 4"), nil
		})
		defer r.cache.Close()
		r.get("/a")
		time.Sleep(2 * time.Second)
		g := r.get("/a")
		mustGet(t, g, 200, "body", "fwd=stale; fwd-status=304; stored")
		if h := r.last().Header; h.Get("If-None-Match") != `"a"` || h.Get("If-Modified-Since") != "Fri, 31 Dec 1999 00:00:00 GMT" {
			t.Errorf("asked with %v", h)
		}
		if h := g.header; h.Get("X-New") != "2" || h.Get("X-Old") != "1" || h.Get("Content-Length") != "4" || h.Get("X-Hop") != "" || h.Get("Etag") != `"a"` {
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
		{"another tag counts before the date", []string{`If-None-Match: "b"`, "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"}, 200},
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
	t.Run("are asked about along with the stored one", func(t *testing.T) {
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.Header.Get("If-None-Match"), `"b"`) {
				return reply(304, "", `ETag: "b"`), nil
			}
			return reply(200, "body", "Cache-Control: no-cache", `ETag: "a"`), nil
		})
		r.get("/a")
		g := r.get("/a", `If-None-Match: "b"`)
		if sent := r.last().Header.Get("If-None-Match"); g.status != 304 || g.header.Get("Etag") != `"b"` || sent != `"a", "b"` {
			t.Errorf("%d %v, asked with %s", g.status, g.header, sent)
		}
	})
}

func TestParts(t *testing.T) {
	for _, c := range []struct {
		name   string
		again  []string
		status int
		body   string
		of     string
	}{
		{"the beginning", []string{"Range: bytes=0-3"}, 206, "0123", "bytes 0-3/10"},
		{"the rest", []string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"the end", []string{"Range: bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{"more than there is", []string{"Range: bytes=5-99"}, 206, "56789", "bytes 5-9/10"},
		{"an end longer than all", []string{"Range: bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		{"beyond", []string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{"none of the end", []string{"Range: bytes=-0"}, 416, "", "bytes */10"},
		{"backwards", []string{"Range: bytes=5-3"}, 200, "0123456789", ""},
		{"several", []string{"Range: bytes=0-1,3-4"}, 200, "0123456789", ""},
		{"another unit", []string{"Range: items=0-1"}, 200, "0123456789", ""},
		{"too large a number", []string{"Range: bytes=99999999999999999999-"}, 200, "0123456789", ""},
		{"of the tag", []string{"Range: bytes=0-3", `If-Range: "a"`}, 206, "0123", "bytes 0-3/10"},
		{"of another tag", []string{"Range: bytes=0-3", `If-Range: "b"`}, 200, "0123456789", ""},
		{"of a weak tag", []string{"Range: bytes=0-3", `If-Range: W/"a"`}, 200, "0123456789", ""},
		{"of the date", []string{"Range: bytes=0-3", "If-Range: Fri, 31 Dec 1999 00:00:00 GMT"}, 206, "0123", "bytes 0-3/10"},
		{"of a later date", []string{"Range: bytes=0-3", "If-Range: Sat, 01 Jan 2000 00:00:00 GMT"}, 200, "0123456789", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("0123456789", "Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT"))
			r.get("/a")
			g := r.get("/a", c.again...)
			if g.status != c.status || g.body != c.body || g.header.Get("Content-Range") != c.of || r.count() != 1 {
				t.Errorf("%d %q %v", g.status, g.body, g.header)
			}
		})
	}
}

func TestHEADIsAnsweredFromGET(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60", "Content-Length: 4"))
	r.get("/a")
	if g := r.do(asked{method: "HEAD", path: "/a"}); g.status != 200 || g.body != "" || g.header.Get("Content-Length") != "4" || r.count() != 1 {
		t.Errorf("%d %q %v", g.status, g.body, g.header)
	}
	r.do(asked{method: "HEAD", path: "/b"})
	if r.get("/b"); r.count() != 3 {
		t.Error("GET was answered from HEAD")
	}
}

func TestHEADTellsThatGETIsOutOfDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tag := `"a"`
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			body := "body"
			if req.Method == "HEAD" {
				body = ""
			}
			return reply(200, body, "Cache-Control: max-age=10, stale-while-revalidate=100", "ETag: "+tag), nil
		})
		defer r.cache.Close()
		r.get("/a")
		time.Sleep(5 * time.Second)
		r.do(asked{method: "HEAD", path: "/a", header: fieldsOf([]string{"Cache-Control: no-cache"})})
		time.Sleep(7 * time.Second)
		mustGet(t, r.get("/a"), 200, "body", "hit; ttl=3") // the HEAD made it as new
		tag = `"b"`
		r.do(asked{method: "HEAD", path: "/a", header: fieldsOf([]string{"Cache-Control: no-cache"})})
		mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss")
	})
}

func TestOnlyIfCached(t *testing.T) {
	r := newRig(t, always("body", "Cache-Control: max-age=60"))
	if g := r.get("/a", "Cache-Control: only-if-cached"); g.status != 504 || r.count() != 0 {
		t.Errorf("%d after %d requests", g.status, r.count())
	}
	r.get("/a")
	mustGet(t, r.get("/a", "Cache-Control: only-if-cached"), 200, "body", "hit")
}

func TestVariants(t *testing.T) {
	r := newRig(t, func(req *http.Request) (*http.Response, error) {
		return reply(200, strings.ToLower(req.Header.Get("Accept-Language")), "Cache-Control: max-age=60", "Vary: Accept-Language, X-Kind"), nil
	})
	for _, c := range []struct {
		fields []string
		sent   bool
	}{
		{[]string{"Accept-Language: nl"}, true},
		{[]string{"Accept-Language: nl"}, false},
		{[]string{"Accept-Language: NL"}, false},
		{[]string{"Accept-Language:  nl "}, false},
		{[]string{"Accept-Language: fr"}, true},
		{[]string{"Accept-Language: nl"}, false},
		{[]string{"Accept-Language: nl", "X-Kind: a"}, true},
		{[]string{"Accept-Language: nl", "X-Kind: A"}, true},
		{[]string{"Accept-Language: nl", "X-Kind: a"}, false},
		{nil, true},
	} {
		before := r.count()
		g := r.get("/a", c.fields...)
		if sent := r.count() > before; sent != c.sent {
			t.Errorf("%v: sent %v, %s", c.fields, sent, g.cache())
		}
	}
}

func TestOnlyAWholeIsStored(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	for _, c := range []struct {
		name   string
		answer func() *http.Response
		ctx    func() context.Context
	}{
		{"cut short", func() *http.Response {
			resp := reply(200, "", fresh)
			resp.ContentLength, resp.Body = 10, brokenBody{bytes.NewReader([]byte("body"))}
			return resp
		}, nil},
		{"larger than it may be, unannounced", func() *http.Response {
			resp := reply(200, "body that is too long", fresh)
			resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
			return resp
		}, nil},
		{"ended by the end of the connection", func() *http.Response {
			resp := reply(200, "body", fresh)
			resp.ContentLength = -1
			return resp
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(*http.Request) (*http.Response, error) { return c.answer(), nil })
			r.policy.MaxBody = 12
			r.get("/a")
			r.origin = func(*http.Request) (*http.Response, error) { return reply(200, "whole", fresh), nil }
			r.cache.Flush() // of the memory that such answers are not to be waited for
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
		ctx, cancel := context.WithCancel(context.Background())
		r := newRig(t, func(*http.Request) (*http.Response, error) {
			resp := reply(200, "", fresh)
			resp.ContentLength = 20
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("a body of "), cancelling{cancel}, strings.NewReader("some length")))
			return resp, nil
		})
		if g := r.do(asked{path: "/a", ctx: ctx}); !g.aborted {
			t.Errorf("%d %q", g.status, g.body)
		}
		r.origin = always("whole", fresh)
		mustGet(t, r.get("/a"), 200, "whole", "fwd=uri-miss; stored")
	})
}

// cancelling is a reader of nothing that ends the request.
type cancelling struct{ cancel func() }

func (c cancelling) Read([]byte) (int, error) { c.cancel(); return 0, io.EOF }

func TestWritesMakeVoid(t *testing.T) {
	fill := func(r *rig) {
		r.get("/a")
		r.get("/b?x=1")
		r.do(asked{path: "/a", who: other})
	}
	void := func(r *rig, path string, who int) bool {
		before := r.count()
		a := asked{path: path}
		if who == 2 {
			a.who = other
		}
		r.do(a)
		return r.count() > before
	}
	fresh := "Cache-Control: max-age=60"
	for _, c := range []struct {
		name                 string
		sharing              Sharing
		write                func(*http.Request) (*http.Response, error)
		ask                  asked
		voidA, voidB, voidA2 bool
	}{
		{"all of the enterprise's", SharedNever, always("done"), asked{method: "POST", path: "/a"}, true, true, false},
		{"whatever the path", SharedNever, always("done"), asked{method: "DELETE", path: "/elsewhere"}, true, true, false},
		{"even if refused", SharedNever, func(*http.Request) (*http.Response, error) { return reply(500, "no"), nil }, asked{method: "PATCH", path: "/a"}, true, true, false},
		{"even without an answer", SharedNever, func(*http.Request) (*http.Response, error) { return nil, errDown }, asked{method: "PUT", path: "/a"}, true, true, false},
		{"an opening is one", SharedNever, always("document"), asked{path: "/a/content", open: true}, true, true, false},
		{"401 voids as well", SharedNever, func(*http.Request) (*http.Response, error) { return reply(401, "no"), nil }, asked{path: "/c"}, true, true, false},
		{"403 voids as well", SharedNever, func(*http.Request) (*http.Response, error) { return reply(403, "no"), nil }, asked{path: "/c"}, true, true, false},
		{"404 does not", SharedNever, func(*http.Request) (*http.Response, error) { return reply(404, "no"), nil }, asked{path: "/c"}, false, false, false},
		{"404 voids its own", SharedNever, func(*http.Request) (*http.Response, error) { return reply(404, "no"), nil }, asked{path: "/a", header: fieldsOf([]string{"Cache-Control: no-cache"})}, true, false, false},
		{"of what is shared, the target alone", SharedAlways, always("done"), asked{method: "POST", path: "/a"}, true, false, false},
		{"of what is shared, Location", SharedAlways, always("done", "Location: /b?x=1"), asked{method: "POST", path: "/c"}, false, true, false},
		{"of what is shared, Content-Location", SharedAlways, always("done", "Content-Location: http://upstream.test/b?x=1"), asked{method: "POST", path: "/c"}, false, true, false},
		{"of what is shared, not another host's Location", SharedAlways, always("done", "Location: http://elsewhere.test/b?x=1"), asked{method: "POST", path: "/c"}, false, false, false},
		{"of what is shared, nothing if it failed", SharedAlways, func(*http.Request) (*http.Response, error) { return reply(500, "no"), nil }, asked{method: "POST", path: "/a"}, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", fresh))
			r.policy.Sharing = c.sharing
			fill(r)
			r.origin = c.write
			r.do(c.ask)
			r.origin = always("body", fresh)
			if a, b := void(r, "/a", 1), void(r, "/b?x=1", 1); a != c.voidA || b != c.voidB {
				t.Errorf("void: /a %v, /b %v", a, b)
			}
			if a2 := void(r, "/a", 2); a2 != c.voidA2 && c.sharing == SharedNever {
				t.Errorf("void: another's %v", a2)
			}
		})
	}
}

func TestAReadBegunBeforeAWriteStoresNothing(t *testing.T) {
	r := newRig(t, nil)
	reading, write := make(chan struct{}), make(chan struct{})
	r.origin = func(req *http.Request) (*http.Response, error) {
		if req.Method == "GET" {
			close(reading)
			<-write
			return reply(200, "old", "Cache-Control: max-age=60"), nil
		}
		return reply(204, ""), nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { mustGet(t, r.get("/a"), 200, "old", "fwd=uri-miss") })
	<-reading
	r.do(asked{method: "POST", path: "/a"})
	close(write)
	wg.Wait()
	r.origin = always("new", "Cache-Control: max-age=60")
	mustGet(t, r.get("/a"), 200, "new", "fwd=uri-miss; stored")
}

func TestPurges(t *testing.T) {
	for _, c := range []struct {
		name      string
		scope     Scope
		own, them bool
	}{
		{"an enterprise", ScopeOfEnterprise(example), true, false},
		{"a route", ScopeOfRoute("route"), true, true},
		{"another route", ScopeOfRoute("another"), false, false},
		{"everything", Everything, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, always("body", "Cache-Control: max-age=60"))
			r.get("/a")
			r.do(asked{path: "/a", who: other})
			if err := r.cache.Invalidate(t.Context(), c.scope); err != nil {
				t.Fatal(err)
			}
			if own, them := !r.get("/a").fromCache(), !r.do(asked{path: "/a", who: other}).fromCache(); own != c.own || them != c.them {
				t.Errorf("dropped: own %v, the other's %v", own, them)
			}
		})
	}
}

func TestARefreshHasARecordOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("body", "Cache-Control: max-age=1, stale-while-revalidate=60", `Etag: "1"`))
		r.get("/a")
		time.Sleep(2 * time.Second)
		g := r.get("/a")
		mustGet(t, g, 200, "body", "hit; ttl=-1")
		synctest.Wait()
		if len(r.beside) != 1 || r.beside[0].Cache != "fwd=stale; fwd-status=304; stored" || g.record.Cache != "hit; ttl=-1" {
			t.Errorf("%d records beside %+v", len(r.beside), g.record)
		}
		r.origin = func(*http.Request) (*http.Response, error) { return nil, errDown }
		time.Sleep(2 * time.Second)
		r.get("/a")
		synctest.Wait()
		if len(r.beside) != 2 || !errors.Is(r.beside[1].Cause, errDown) {
			t.Errorf("%d records beside", len(r.beside))
		}
		r.cache.Close()
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
			for _, sharing := range []Sharing{SharedNever, SharedAlways} {
				r.policy.Sharing = sharing
				path := fmt.Sprint("/", sharing)
				r.get(path, of.sent)
				if g := r.get(path); g.fromCache() != of.kept {
					t.Errorf("sharing %d: %s", sharing, g.cache())
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
				t.Errorf("%s with %v", g.cache(), g.header)
			}
		})
	}
}

func TestAnOddAge(t *testing.T) {
	for _, of := range []struct {
		age    []string
		left   string // by RFC 9111, section 5.1
		strict bool   // whether it may be given where Age has to be one number
	}{
		{[]string{"7"}, "ttl=53", true},
		{[]string{" 7 "}, "ttl=53", true},
		{[]string{"7, 9"}, "ttl=53", false},
		{[]string{"7", "9"}, "ttl=53", false},
		{[]string{"-7"}, "ttl=60", false},
		{[]string{"7.0"}, "ttl=60", false},
		{[]string{"7;a=b"}, "ttl=60", false},
		{[]string{""}, "ttl=60", false},
	} {
		t.Run(strings.Join(of.age, "|"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(*http.Request) (*http.Response, error) {
					resp := reply(200, "body", "Cache-Control: max-age=60")
					resp.Header["Age"] = of.age
					return resp, nil
				})
				r.get("/a")
				mustGet(t, r.get("/a"), 200, "body", "hit; "+of.left)
				r.policy.StrictAge = true
				if g := r.get("/a"); g.fromCache() != of.strict {
					t.Errorf("strictly: %s", g.cache())
				}
				r.cache.Close()
			})
		})
	}
}

func TestAPostThatSaysWhatAGetBrings(t *testing.T) {
	const lifetime = "Cache-Control: max-age=60"
	for _, of := range []struct {
		name   string
		status int
		fields []string
		kept   bool
	}{
		{"is kept", 200, []string{lifetime, "Content-Location: /a"}, true},
		{"is kept by its whole URL too", 200, []string{lifetime, "Content-Location: http://upstream.test/a"}, true},
		{"but not without a lifetime", 200, []string{"Content-Location: /a", `Etag: "1"`}, false},
		{"nor about another resource", 200, []string{lifetime, "Content-Location: /b"}, false},
		{"nor about none", 200, []string{lifetime}, false},
		{"nor if it created something", 201, []string{lifetime, "Content-Location: /a"}, false},
		{"nor against its will", 200, []string{lifetime + ", no-store", "Content-Location: /a"}, false},
	} {
		t.Run(of.name, func(t *testing.T) {
			r := newRig(t, func(req *http.Request) (*http.Response, error) {
				if req.Method == "POST" {
					return reply(of.status, "posted", of.fields...), nil
				}
				return reply(200, "got", lifetime), nil
			})
			r.get("/a")
			r.do(asked{method: "POST", path: "/a"})
			g := r.get("/a")
			if g.fromCache() != of.kept || (g.body == "posted") != of.kept {
				t.Errorf("%q, %s", g.body, g.cache())
			}
		})
	}
}

func TestAPostThatAnotherWriteOvertookIsNotKept(t *testing.T) {
	var r *rig
	r = newRig(t, func(req *http.Request) (*http.Response, error) {
		switch req.Method {
		case "POST": // the upstream has made its answer, and before it arrives
			r.do(asked{method: "PUT", path: "/a"})
			return reply(200, "posted", "Cache-Control: max-age=60", "Content-Location: /a"), nil
		case "PUT":
			return reply(204, ""), nil
		}
		return reply(200, "put", "Cache-Control: max-age=60"), nil
	})
	r.do(asked{method: "POST", path: "/a"})
	mustGet(t, r.get("/a"), 200, "put", "fwd=uri-miss; stored")
}

func TestWithoutMemoryTheStoreAnswers(t *testing.T) {
	a, b, _ := replicas(t, always("body", "Cache-Control: max-age=60"))
	for _, r := range []*rig{a, b} {
		r.cache.Resize(0)
	}
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
	saved(t, a)
	for _, r := range []*rig{a, b, a} {
		mustGet(t, r.get("/a"), 200, "body", "hit")
	}
	if n := a.cache.Stats().Resources + b.cache.Stats().Resources; n != 0 {
		t.Errorf("%d in memory", n)
	}
	b.do(asked{method: "PUT", path: "/a"})
	mustGet(t, a.get("/a"), 200, "body", "fwd=uri-miss; stored")
}

func TestAPartIsKeptForTheSameRange(t *testing.T) {
	r := newRig(t, func(req *http.Request) (*http.Response, error) {
		switch req.Header.Get("Range") {
		case "bytes=-5":
			return reply(206, "56789", "Cache-Control: max-age=60", "Content-Range: bytes 5-9/10", `Etag: "1"`), nil
		case "bytes=0-1,8-9":
			return reply(206, "--x...", "Cache-Control: max-age=60", "Content-Type: multipart/byteranges; boundary=x"), nil
		}
		return reply(200, "0123456789", "Cache-Control: max-age=60", `Etag: "1"`), nil
	})
	for _, of := range []struct {
		name   string
		fields []string
		status int
		body   string
		how    string
	}{
		{"it is stored", []string{"Range: bytes=-5"}, 206, "56789", "fwd=uri-miss; stored"},
		{"and given again", []string{"Range: bytes=-5"}, 206, "56789", "hit"},
		{"or said to be what the caller has", []string{"Range: bytes=-5", `If-None-Match: "1"`}, 304, "", "hit"},
		{"several are not", []string{"Range: bytes=0-1,8-9"}, 206, "--x...", "fwd=vary-miss"},
		{"and so not again", []string{"Range: bytes=0-1,8-9"}, 206, "--x...", "fwd=vary-miss"},
		{"under a condition it is another matter", []string{"Range: bytes=-5", `If-Range: "1"`}, 206, "56789", "fwd=vary-miss"},
		{"it is never given for the whole", nil, 200, "0123456789", "fwd=vary-miss; stored"},
		{"from which all ranges are", []string{"Range: bytes=1-2"}, 206, "12", "hit"},
	} {
		g := r.get("/a", of.fields...)
		if g.status != of.status || g.body != of.body || !strings.Contains(g.cache(), of.how) || strings.Contains(g.cache(), "stored") != strings.Contains(of.how, "stored") {
			t.Errorf("%s: %d %q %s", of.name, g.status, g.body, g.cache())
		}
	}
	if g := r.do(asked{method: "HEAD", path: "/b", header: fieldsOf([]string{"Range: bytes=-5"})}); g.fromCache() {
		t.Errorf("HEAD: %s", g.cache())
	}
}
