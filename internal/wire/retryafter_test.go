package wire_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"ebox-gateway/internal/wire"
)

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                     0,
		"0":                    0,
		" 120 ":                2 * time.Minute,
		"-1":                   0,
		"1.5":                  0,
		"soon":                 0,
		"99999999999999999999": (1<<31 - 1) * time.Second,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := wire.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "1.5", "99999999999999999999", "Sat, 01 Jan 2000 00:00:02 GMT",
		"Saturday, 01-Jan-00 00:00:02 GMT", "soon"} {
		f.Add(seed)
	}
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		got := wire.RetryAfter(http.Header{"Retry-After": {text}}, now)
		if got < 0 {
			t.Fatalf("%q is %s", text, got)
		}
		if seconds, err := strconv.ParseUint(text, 10, 63); err == nil &&
			got < time.Duration(min(seconds, 1<<31-1))*time.Second {
			t.Fatalf("%q is %s, shorter than was asked", text, got)
		}
	})
}
