package ebox_test

import (
	"encoding/json"
	"testing"
	"time"

	"ebox-gateway/internal/ebox"
)

func TestDatesAsServersWriteThem(t *testing.T) {
	brussels := ebox.Brussels()
	const moment, inBrussels, midnight = "2026-07-28T09:26:00Z", "2026-07-28T07:26:00Z", "2026-07-27T22:00:00Z"
	for _, c := range []struct {
		raw, want string
		day       bool
	}{
		{`"2026-07-28"`, midnight, true},
		{`"2026-07-28Z"`, midnight, true},
		{`"2026-07-28+02:00"`, midnight, true},
		{`"2026-07-28T09:26:00Z"`, moment, false},
		{`"2026-07-28T11:26:00+02:00"`, moment, false},
		{`"2026-07-28T11:26:00+0200"`, moment, false},
		{`"2026-07-28T11:26:00+02"`, moment, false},
		{`"2026-07-28T11:26+02:00"`, moment, false},
		{`"2026-07-28T11:26:00.000000+02:00[Europe/Brussels]"`, moment, false},
		{`"2026-07-28T11:26:00[Europe/Brussels]"`, moment, false},
		{`"2026-07-28T09:26:00[UTC]"`, moment, false},
		{`"2026-07-28T18:26:00+09:00[Asia/Tokyo]"`, moment, false},
		{`"2026-07-28T09:26:00"`, inBrussels, false},
		{`"2026-07-28T09:26"`, inBrussels, false},
		{`"2026-07-28 09:26:00"`, inBrussels, false},
		{`"2026-07-28T09:26:00.123456789Z"`, "2026-07-28T09:26:00.123456789Z", false},
		{`[2026,7,28]`, midnight, true},
		{`[2026, 7, 28, 9, 26]`, inBrussels, false},
		{`[2026,7,28,9,26,0]`, inBrussels, false},
		{`[2026,7,28,9,26,0,500]`, "2026-07-28T07:26:00.0000005Z", false},
		{`1785230760`, moment, false},
		{`1785230760.500000000`, "2026-07-28T09:26:00.5Z", false},
		{`1785230760000`, moment, false},
	} {
		got, day, ok := ebox.Date([]byte(c.raw), brussels)
		if !ok || day != c.day || got.UTC().Format(time.RFC3339Nano) != c.want {
			t.Errorf("%s: %s, day %t, %t; want %s", c.raw, got.UTC().Format(time.RFC3339Nano), day, ok, c.want)
		}
	}
	for _, raw := range []string{
		"", `""`, `"soon"`, "null", "true", "{}", "[]", "[2026,7]", "[2026,7,28,9]", "[2026,2,30]", "[2026,13,1]", "[0,1,1]",
		"[2026,7,28,25,0]", `[2026,7,"28"]`, "[2026,7,28,1,1,1,1,1]",
		"0", "-5", "1e9", "1785230760.5e3", "99999999999999999999", `"2026-07-28T09:26:00[Nowhere]"`,
		`"2026-07-28T09:26:00[]"`, `"2026-07-28[Asia/Tokyo]"`, `"2026-07-28]"`, `"28/07/2026"`, `"2026-02-30"`,
	} {
		if got, _, ok := ebox.Date([]byte(raw), time.UTC); ok {
			t.Errorf("%s is %s", raw, got)
		}
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{`"2026-07-28T11:26:00+02:00[Europe/Brussels]"`, "[2026,7,28,9,26,0,500]", "1785230760.5",
		`"]["`, "[[1]]", `"2026-07-28[../../etc/passwd]"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || raw[0] == ' ' || raw[0] == '\t' || raw[0] == '\n' || raw[0] == '\r' {
			return
		}
		if got, day, ok := ebox.Date(raw, time.UTC); ok && day && got.Hour() != 0 {
			t.Fatalf("%s is the day %s", raw, got)
		}
	})
}
