package ebox

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the image that the gateway runs in has no time zones of its own

	"ebox-gateway/internal/jsonscan"
)

// Brussels is where the federation's days begin and end.
var Brussels = sync.OnceValue(func() *time.Location {
	l, err := time.LoadLocation("Europe/Brussels")
	if err != nil { // not with time/tzdata; if so, an hour off in summer beats a panic
		return time.FixedZone("CET", 3600)
	}
	return l
})

// Window is a stretch of time, of maintenance for one: from Start up to but without End.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Date reads a date as the federation's servers write it in JSON: raw is the value.
// day is true for a date without a time, which is then midnight of that day in zone.
//
//	"2026-11-28"                              a day; with or without an offset behind it
//	"2026-11-28T09:26:00.5+01:00"             RFC 3339, and its offset as +0100, +01 or Z
//	"2026-11-28T09:26"                        without an offset it is in zone
//	"2026-11-28T09:26:00[Europe/Brussels]"    the zone counts where there is no offset
//	[2026,11,28], [2026,11,28,9,26,0,500]     as Java's servers write it: a day, or a time in zone, to nanoseconds
//	1764321960, 1764321960.5, 1764321960000   seconds, or milliseconds, since 1970
//
// ok is false for anything else.
func Date(raw []byte, zone *time.Location) (t time.Time, day, ok bool) {
	if len(raw) == 0 {
		return time.Time{}, false, false
	}
	switch c := raw[0]; {
	case c == '"':
		return dateText(jsonscan.Text(raw), zone)
	case c == '[':
		return dateArray(raw, zone)
	case c >= '1' && c <= '9':
		t, ok = dateNumber(string(raw))
		return t, false, ok
	}
	return time.Time{}, false, false
}

func dateText(s string, zone *time.Location) (t time.Time, day, ok bool) {
	if before, name, bracketed := strings.Cut(strings.TrimSuffix(s, "]"), "["); bracketed && strings.HasSuffix(s, "]") {
		s = before
		switch name {
		case "Europe/Brussels":
			zone = Brussels()
		case "UTC", "Z", "GMT", "Etc/UTC":
			zone = time.UTC
		default: // the offset has to be enough
			zone = nil
		}
	}
	for _, layout := range [...]string{time.DateOnly, "2006-01-02Z07:00", "2006-01-02Z0700"} {
		// an offset says where it was written, not which day is meant
		if d, err := time.Parse(layout, s); err == nil && zone != nil {
			return time.Date(d.Year(), d.Month(), d.Day(), 0, 0, 0, 0, zone), true, true
		}
	}
	// A fraction behind the seconds is read with each.
	for _, layout := range [...]string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04Z07:00", "2006-01-02T15:04Z0700",
		"2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05",
	} {
		if zone == nil && !strings.Contains(layout, "Z07") {
			break // none of those that are left says an offset
		}
		if t, err := time.ParseInLocation(layout, s, cmp.Or(zone, time.UTC)); err == nil {
			return t, false, true
		}
	}
	return time.Time{}, false, false
}

func dateArray(raw []byte, zone *time.Location) (t time.Time, day, ok bool) {
	var list []int
	if json.Unmarshal(raw, &list) != nil || len(list) < 3 || len(list) == 4 || len(list) > 7 || slices.Min(list) < 0 {
		return time.Time{}, false, false
	}
	part := [7]int(append(list, 0, 0, 0, 0)[:7])
	t = time.Date(part[0], time.Month(part[1]), part[2], part[3], part[4], part[5], part[6], zone)
	// time.Date takes the 30th of February for the 2nd of March.
	ok = part[0] > 0 && part[0] <= 9999 && t.Month() == time.Month(part[1]) && t.Day() == part[2] && part[3] < 24 &&
		part[4] < 60 && part[5] < 60 && part[6] < 1e9
	return t, len(list) == 3, ok
}

// dateNumber reads seconds, or milliseconds where seconds would be beyond the year 5000.
func dateNumber(s string) (time.Time, bool) {
	const mostSeconds = 1e11
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" || n > 1e15 {
		return time.Time{}, false
	}
	if n >= mostSeconds {
		return time.UnixMilli(n), true
	}
	nanos, err := strconv.Atoi((fraction + "000000000")[:9])
	return time.Unix(n, int64(nanos)), err == nil
}
