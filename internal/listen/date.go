package listen

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is the value of the Date field, which is the same for a second.
type date struct{ now atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *date) text() string {
	now := time.Now()
	last := d.now.Load()
	if last == nil || last.second != now.Unix() {
		last = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.now.Store(last)
	}
	return last.text
}
