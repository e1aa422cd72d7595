package cache_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
)

// RFC 9111, section 5.1: of several the first counts, and what is no number is ignored.
func TestAnOddAge(t *testing.T) {
	type row struct {
		age  []string
		left string
	}
	testkit.Table(t, map[string]row{
		"a number":             {[]string{"7"}, "ttl=53"},
		"blanks around it":     {[]string{" 7 "}, "ttl=53"},
		"two in a line":        {[]string{"7, 9"}, "ttl=53"},
		"two lines":            {[]string{"7", "9"}, "ttl=53"},
		"less than nothing":    {[]string{"-7"}, "ttl=60"},
		"a fraction":           {[]string{"7.0"}, "ttl=60"},
		"one with a parameter": {[]string{"7;a=b"}, "ttl=60"},
		"nothing":              {[]string{""}, "ttl=60"},
	}, func(t *testing.T, of row) {
		r := newRig(t, func(*http.Request) (*http.Response, error) {
			resp := reply(200, "body", "Cache-Control: max-age=60")
			resp.Header["Age"] = of.age
			return resp, nil
		})
		r.get("/a")
		mustGet(t, r.get("/a"), 200, "body", "hit; "+of.left)
	})
}

// Sums of durations beyond 292 years would come out negative: an answer that says it was made in
// the year 1, as some servers do, would be fresh again once its lifetime is over.
func TestAnAnswerFromLongAgoIsNeverFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, always("body", "Date: Mon, 01 Jan 0001 00:00:00 GMT", "Cache-Control: max-age=60", `ETag: "a"`))
		defer r.cache.Close()
		r.get("/a")
		for range 2 {
			time.Sleep(2 * time.Minute)
			g := r.get("/a")
			mustGet(t, g, 200, "body", "fwd=stale; fwd-status=304")
			if age := g.header.Get("Age"); strings.HasPrefix(age, "-") {
				t.Errorf("its age is %s", age)
			}
		}
	})
}

func TestAnAnswerThatNeverExpiresIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, more := range []string{`ETag: "a"`, "Cache-Control: stale-if-error=60"} {
			r := newRig(t, always("body", "Expires: Fri, 31 Dec 9999 23:59:59 GMT", more))
			r.get("/a")
			time.Sleep(time.Minute)
			mustGet(t, r.get("/a"), 200, "body", "hit; ttl=")
			r.cache.Close()
		}
	})
}
