package directory

import (
	"encoding/json"
	"errors"
	"time"

	"ebox-gateway/internal/ebox"
)

// edge says which end of a day a date stands for.
type edge int

const (
	startOfDay edge = 0
	endOfDay   edge = 1 // the midnight that ends it, exclusive
)

// earliest and latest stand for dates beyond them, which neither JSON (RFC 3339) nor HTTP can write.
var (
	earliest = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// moment reads a date, which is a day in Brussels, or a date-time, which means that very
// moment; without a zone it is Brussels time (see ebox.Date for the forms). An absent or
// empty member is the zero time; the result is in UTC.
func moment(raw json.RawMessage, of edge) (time.Time, error) {
	if absent(raw) || string(raw) == `""` {
		return time.Time{}, nil
	}
	t, day, ok := ebox.Date(raw, ebox.Brussels())
	if !ok {
		return time.Time{}, errors.New("is neither a date nor a date-time")
	}
	if day { // not 24 hours later: two days a year have 23 or 25
		t = t.AddDate(0, 0, int(of))
	}
	switch t = t.UTC(); {
	case t.Before(earliest):
		return earliest, nil
	case t.After(latest):
		return latest, nil
	}
	return t, nil
}
