package cache

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
)

func TestDates(t *testing.T) {
	then := time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC)
	for _, s := range []string{
		"Thu, 18 Aug 2050 02:01:18 GMT", "THU, 18 aug 2050 02:01:18 gMT", "Thursday, 18-Aug-50 02:01:18 GMT",
		"thursday, 18-AUG-50 02:01:18 gmt",
		"Thu Aug 18 02:01:18 2050",
		"Sun, 18 Aug 2050 02:01:18 GMT", "Sun Aug 18 02:01:18 2050", // nobody checks which day it was
	} {
		if got, ok := httpDate(s); !ok || !got.Equal(then) {
			t.Errorf("%q is %v", s, got)
		}
	}
	if got, ok := httpDate("Mon Aug  8 02:01:18 2050"); !ok || got.Day() != 8 {
		t.Errorf("a day of one digit: %v", got)
	}
	for _, s := range []string{
		"", "0", "foo", "GMT", ", GMT", "Thu, 18 Aug 2050 02:01:18 UTC", "Thu, 18 Aug 2050 02:01:18 AEST",
		"Thu, 18 Aug 50 02:01:18 GMT",
		"Thu 18 Aug 2050 02:01:18 GMT", "Thu, 18  Aug  2050 02:01:18 GMT", "Thu, 18-Aug-2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02.01.18 GMT",
		"Thu, 18 Aug 2050 2:01:18 GMT", "Thu, 18 Aug 2050  2:01:18 GMT", "Thu, 18  Aug 2050 2:01:18 GMT",
		"Thu, 8 Aug 2050 02:01:18 GMT",
		"Thursday, 18-Aug-2050 02:01:18 GMT", "Thursday, 18-Aug-50 2:01:18 GMT", "Thu Aug 8 02:01:18 2050",
		"Thu, 32 Aug 2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02:01:18 +0000",
	} {
		if got, ok := httpDate(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func FuzzDates(f *testing.F) {
	f.Add("Thu, 18 Aug 2050 02:01:18 GMT")
	f.Add("Thursday, 18-Aug-50 02:01:18 GMT")
	f.Add("Thu Aug  8 02:01:18 2050")
	f.Fuzz(func(t *testing.T, s string) {
		// What is a date here is one to everybody else, but for its case.
		if got, ok := httpDate(s); ok {
			if again, ok := httpDate(got.UTC().Format(http.TimeFormat)); got.Year() < 10000 && (!ok || !again.Equal(got)) {
				t.Errorf("%q is %v, which is %v", s, got, again)
			}
		}
	})
}

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
