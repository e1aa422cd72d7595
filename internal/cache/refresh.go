package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"
)

// refresh asks in the background whether what is given past its lifetime still holds
// (RFC 5861, section 3), unless somebody is asking already. It never runs for openings,
// which are never stored.
func (rd *reading) refresh() {
	c, at := rd.c, rd.at
	f, leads := c.join(at)
	if !leads {
		return
	}
	x := rd.x.Beside(time.Now())
	later := &reading{
		c: c, x: x, send: rd.send, flight: f, entry: rd.entry, known: true, n: 1, why: "fwd=stale",
		q: query{method: http.MethodGet, cc: noDirectives, header: http.Header{}, credentials: rd.q.credentials,
			passed: rd.q.passed},
	}
	later.places[0] = *at
	later.at = &later.places[0]
	begun := c.aside(c.refreshes, func() {
		ctx, cancel := context.WithTimeout(c.ctx, refreshTime)
		defer cancel()
		later.fetch(ctx)
	})
	if !begun {
		f.Land(nil, errUnshared)
	}
}

// fetch asks and stores what comes.
func (rd *reading) fetch(ctx context.Context) {
	c := rd.c
	defer func() {
		if fault := recover(); fault != nil { // nobody above this does, and it would end the program
			err := fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
			rd.x.Record.Cache, rd.x.Record.Cause = rd.why, err
			c.o.Log.Error("refreshing a stored answer panicked", "error", err)
		}
		rd.land(nil, errAbandoned)
		rd.x.Record.Phases.Total = time.Since(rd.x.Start)
		c.o.Done(rd.x.Record)
	}()
	if rd.at.store == nil {
		rd.loadSecond(ctx, rd.at)
	}
	rd.requested = c.o.Now()
	resp, err := rd.send(ctx, rd.x, rd.entry.question(nil))
	a, err := rd.receive(ctx, resp, err)
	if err != nil {
		rd.x.Record.Cache, rd.x.Record.Cause = rd.why, err
		c.o.Log.Debug("refreshing a stored answer failed", "error", err)
		return
	}
	defer a.Close()
	if a.Body != nil {
		_, _ = io.Copy(io.Discard, a.Body) // an error shows to what keeps it
	}
}
