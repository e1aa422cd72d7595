package cache

import (
	"context"
	"io"
	"net/http"

	"ebox-gateway/internal/exchange"
)

// refresh asks in the background whether what is given past its lifetime still holds
// (RFC 5861, section 3), unless somebody is asking already. It never runs for openings,
// which are never stored.
func (rd *reading) refresh() {
	c, at := rd.c, rd.at
	f, leads := c.flights.join(&at.key, at.mark)
	if !leads {
		return
	}
	later := &reading{
		c: c, t: rd.t, flight: f, entry: rd.entry, known: true, n: 1, why: "fwd=stale",
		q: query{method: http.MethodGet, cc: noDirectives, header: http.Header{}, credentials: rd.q.credentials, passed: rd.q.passed},
	}
	later.places[0] = *at
	later.at = &later.places[0]
	again, x := rd.x.Again(), rd.x
	later.record = again.Record
	begun := c.aside(c.refreshes, func() {
		ctx, cancel := context.WithTimeout(c.ctx, refreshTime)
		defer cancel()
		defer again.End()
		later.fetch(ctx, x, again.Send)
	})
	if !begun {
		c.flights.land(&at.key, f, unshared, nil)
	}
}

// fetch asks and stores what comes.
func (rd *reading) fetch(ctx context.Context, x Exchange, send func(context.Context, func(http.Header)) (*http.Response, error)) {
	defer func() { rd.land(abandoned, nil) }()
	b := &backstage{Exchange: x, ctx: exchange.With(ctx, rd.record)}
	rd.x = b
	if store := rd.c.store(); store != nil && rd.at.store == nil && !rd.c.owed.concerns(&rd.at.key) {
		if _, mark, err := store.Load(ctx, &rd.at.key); err == nil {
			rd.at.second, rd.at.store = mark, store
		}
	}
	rd.requested = rd.c.o.Now()
	resp, err := send(ctx, func(h http.Header) {
		unconditional(h)
		if rd.entry.validator() {
			rd.entry.ask(h, nil)
		}
	})
	resp, err = rd.receive(resp, err)
	if err != nil {
		rd.record.Cache, rd.record.Cause = rd.why, err
		rd.c.o.Log.Debug("refreshing a stored answer failed", "error", err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // an error shows to the recorder
	resp.Body.Close()
}

// backstage is the exchange of a refresh: nobody is there to be answered.
type backstage struct {
	Exchange
	ctx context.Context
}

func (b *backstage) Request() *http.Request { return b.Exchange.Request().WithContext(b.ctx) }
func (b *backstage) Note(string)            {}

// Field gives the fields that the refreshed variant was selected by; a part is never
// asked for.
func (b *backstage) Field(name string) []string {
	if name == "Range" || name == "If-Range" {
		return nil
	}
	return b.Exchange.Field(name)
}
