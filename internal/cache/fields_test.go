// Inside, since the parsers have no name outside.

package cache

import (
	"net/http"
	"testing"
	"time"
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

// RFC 9111, section 5.1: of several the first counts, and what is no number is ignored.
func TestAges(t *testing.T) {
	for field, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 7 ": 7 * time.Second, "7, 9": 7 * time.Second, "-7": 0, "7.0": 0, "7;a=b": 0, "": 0,
	} {
		if got := ageOf(field); got != want {
			t.Errorf("%q is %s", field, got)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(`max-age="60", no-cache="a,b", private`, `W/"a", "b,c"`, "bytes=0-5", "a , b", "60",
		"Thursday, 18-Aug-50 02:01:18 GMT")
	f.Add(`max-age=="`, `"`, "bytes=-", `"a,b", c`, "-1", "Thu Aug  8 02:01:18 2050")
	f.Fuzz(func(t *testing.T, cc, tags, ranges, list, number, date string) {
		d := parseCacheControl([]string{cc})
		for _, v := range []time.Duration{d.maxAge, d.sMaxAge, d.staleWhile, d.staleIfError, d.minFresh, d.maxStale} {
			if v != absent && (v < 0 || v > forever) {
				t.Fatalf("%q: %s", cc, v)
			}
		}
		matchesAny([]string{tags}, `"a"`)
		if s, asked, ok := rangeOf([]string{ranges}, 10); asked && ok && (s.from < 0 || s.from >= s.to || s.to > 10) {
			t.Fatalf("%q: %v", ranges, s)
		}
		once := normalised("Accept", []string{list})
		if twice := normalised("Accept", []string{once}); twice != once {
			t.Fatalf("%q: %q, then %q", list, once, twice)
		}
		if n, ok := parseSeconds(number); ok && (n < 0 || n > forever) {
			t.Fatalf("%q: %s", number, n)
		}
		if got, ok := httpDate(date); ok && got.Year() < 10000 {
			if again, ok := httpDate(got.UTC().Format(http.TimeFormat)); !ok || !again.Equal(got) {
				t.Fatalf("%q is %v, which is %v", date, got, again)
			}
		}
	})
}
