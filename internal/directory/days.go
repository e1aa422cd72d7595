package directory

import (
	"encoding/json"
	"errors"
	"sync"
	"time"
	_ "time/tzdata" // the image that the gateway runs in has no time zones of its own
)

// brussels is where the registry's days begin and end.
var brussels = sync.OnceValue(func() *time.Location {
	l, err := time.LoadLocation("Europe/Brussels")
	if err != nil { // not with time/tzdata; if so, an hour off in summer beats a panic
		return time.FixedZone("CET", 3600)
	}
	return l
})

// edge says which end of a day a date stands for.
type edge int

const (
	startOfDay edge = 0
	endOfDay   edge = 1 // the midnight that ends it, exclusive
)

// moment reads a date (RFC 3339 full-date), a day in Brussels, or a date-time,
// which means that very moment. A date-time without a zone is Brussels time. An
// absent or empty member is the zero time; the result is in UTC.
func moment(raw json.RawMessage, of edge) (time.Time, error) {
	s, err := text(raw)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		// Not 24 hours later: two days a year have 23 or 25.
		return time.Date(day.Year(), day.Month(), day.Day()+int(of), 0, 0, 0, 0, brussels()).UTC(), nil
	}
	for _, layout := range [...]string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04",
	} {
		if t, err := time.ParseInLocation(layout, s, brussels()); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("is neither a date nor a date-time")
}
