package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

// forward sends the request, as a question whether what is stored still holds if there
// is something, and answers with what comes back.
func (rd *reading) forward(ctx context.Context) (*call.Answer, error) {
	rd.x.Record.Cache = rd.why
	returned := false
	defer func() {
		if !returned { // a panic on the way
			rd.land(nil, errAbandoned)
		}
	}()
	var question *call.Question
	if rd.asks() {
		question = rd.entry.question()
	}
	rd.requested = rd.c.o.Now()
	resp, err := rd.send(ctx, rd.x, question)
	a, err := rd.receive(ctx, resp, err)
	returned = true
	return a, err
}

// asks reports whether the upstream is asked about what is stored.
func (rd *reading) asks() bool {
	return rd.entry != nil && rd.x.Method == http.MethodGet && !rd.q.demanding && rd.entry.validator()
}

// land ends the flight that this request leads, if it leads one.
func (rd *reading) land(e *Entry, err error) {
	if rd.flight != nil {
		rd.flight.Land(e, err)
	}
}

// receive makes of the upstream's answer, or of its failure, what the caller gets.
func (rd *reading) receive(ctx context.Context, resp *http.Response, err error) (*call.Answer, error) {
	now := rd.c.o.Now()
	if rd.flight != nil && (err == nil || ctx.Err() == nil) {
		rd.flight.Begin()
	}
	if err != nil && ctx.Err() != nil {
		rd.land(nil, errAbandoned)
		return with(rd.why, nil, err)
	}
	// Statuses for which stale-if-error is (RFC 5861, section 4), and failures of the way there.
	failing := err != nil && rd.c.failing(err) ||
		err == nil && slices.Contains([]int{500, 502, 503, 504}, resp.StatusCode)
	if e, p := rd.entry, rd.x.Keep.Policy; failing && e != nil && e.excuses(&rd.q.cc, p, now) {
		if err == nil {
			resp.Body.Close()
		}
		rd.land(nil, errUnshared)
		rd.c.counts.stale.Add(1)
		return rd.answer(e, now, withTTL("hit", e.lifetime(p)-e.age(now))+"; detail=stale-if-error"), nil
	}
	if err != nil {
		rd.land(nil, errUnshared)
		return with(rd.why, nil, err)
	}
	if resp.StatusCode == http.StatusNotModified && rd.asks() {
		return rd.confirmed(ctx, resp, now), nil
	}
	rd.invalidate(ctx, resp.StatusCode)
	status := rd.why
	if stored := rd.keep(ctx, resp, now); stored {
		status += "; stored"
	}
	if rd.entry != nil {
		status += "; fwd-status=" + strconv.Itoa(resp.StatusCode)
	}
	rd.x.Record.Cache = status
	return with(status, resp, nil)
}

// failing reports whether an error is that of an upstream that cannot serve. One that refuses is
// none: a client that the Authorization Server refuses has no right to what it got before.
func (c *Cache) failing(err error) bool {
	var refusal problem.Reporter
	if errors.As(err, &refusal) {
		return refusal.Problem().Type != problem.ClientRefused("", "", "").Type
	}
	return !c.o.Classify(err).Cancelled
}

// confirmed answers with what is stored: the upstream says that it still holds.
func (rd *reading) confirmed(ctx context.Context, answer *http.Response, now time.Time) *call.Answer {
	answer.Body.Close()
	rd.c.counts.validated.Add(1)
	status := rd.why + "; fwd-status=304"
	e, kept := rd.renew(answer, now)
	if kept {
		status += "; stored"
		rd.land(e, nil)
	} else {
		if !rd.q.passed { // what is said to one caller's credentials changes nothing for others
			rd.c.invalidate(ctx, rd.x, rd.at.key.Resource())
		}
		rd.land(nil, errUnshared)
	}
	return rd.answer(e, now, status)
}

// renew gives what is stored with what answer says anew, and stores it if it may stay where it
// is. What was brought to one enterprise goes to others only if it says itself that it may.
func (rd *reading) renew(answer *http.Response, now time.Time) (e *Entry, kept bool) {
	p := rd.x.Keep.Policy
	e = rd.entry.freshened(answer.Header, p, rd.requested, now)
	if rd.at.key.shared && p.Shared != config.SharedAlways && !parseCacheControl(answer.Header["Cache-Control"]).public ||
		!e.mayBeStored(&rd.q) || e.keep(p) <= 0 {
		return e, false
	}
	rd.save(rd.at, e, now)
	return e, true
}

// invalidate makes void what the answer says is no more.
func (rd *reading) invalidate(ctx context.Context, status int) {
	c := rd.c
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		c.refused(ctx, rd.x, status)
	case http.StatusNotFound, http.StatusGone:
		if !rd.known {
			return
		}
		for _, at := range rd.places {
			c.invalidate(ctx, rd.x, at.key.Resource())
			// This answer itself is what holds now, unless more has happened than this.
			at.moveOn()
		}
	}
}

// keep arranges that the answer is stored once it is there whole; false if it cannot be.
func (rd *reading) keep(ctx context.Context, resp *http.Response, now time.Time) bool {
	c := rd.c
	if rd.x.Method == http.MethodHead {
		rd.compareHead(ctx, resp, now)
		return false
	}
	var at *place
	e := rd.newEntry(resp, now)
	if e != nil {
		// What may not be shared never goes to a place that is, whatever places there are: a
		// refresh knows only one.
		shared := e.sharable(&rd.q, rd.x.Keep.Policy.Shared)
		for _, each := range rd.places {
			if each.key.shared == shared {
				at = each
			}
		}
	}
	if at == nil {
		rd.land(nil, errUnshared)
		if rd.wouldNever(resp) {
			if rd.entry != nil { // what was stored is not what there is
				c.invalidate(ctx, rd.x, rd.at.key.Resource())
			}
			if !rd.passes { // or that is in memory, and is asked anew after passTime
				key := &rd.places[0].key
				c.memory.pass(key, c.epochs.mark(key), now.Add(passTime))
			}
		}
		return false
	}
	end := func(whole []byte, failed bool) {
		switch {
		case whole == nil && failed && ctx.Err() == nil:
			rd.land(nil, errUnshared)
		case whole == nil:
			rd.land(nil, errAbandoned)
		default:
			e.Body = whole
			e.Header["Content-Length"] = []string{strconv.Itoa(len(whole))}
			rd.save(at, e, c.o.Now())
			rd.land(e, nil)
		}
	}
	if resp.Body == http.NoBody || resp.StatusCode == http.StatusNoContent {
		end([]byte{}, false)
		return true
	}
	call.Watch(resp, int64(rd.x.Keep.Policy.MaxBody), rd.x.Memory, end)
	return true
}

// wouldNever reports whether the next answer can be expected to be as unfit for storing
// as this one, so that nobody should wait for it: it was whole and the request plain.
func (rd *reading) wouldNever(resp *http.Response) bool {
	q := &rd.q
	return rd.x.Method == http.MethodGet && !q.cc.noStore && !q.demanding && !q.conditional && !q.credentials &&
		len(rd.x.Header["Range"]) == 0 && resp.StatusCode < 500
}

// compareHead has a HEAD say whether what GET got still holds (section 4.3.5).
func (rd *reading) compareHead(ctx context.Context, resp *http.Response, now time.Time) {
	if rd.entry == nil || resp.StatusCode != http.StatusOK {
		return
	}
	if !rd.entry.sameAs(resp) {
		rd.c.invalidate(ctx, rd.x, rd.at.key.Resource())
		return
	}
	rd.renew(resp, now)
}

// save stores an entry in memory at once and in the second level beside the request.
func (rd *reading) save(at *place, e *Entry, now time.Time) {
	c := rd.c
	e.mark = at.mark
	keep := e.keep(rd.x.Keep.Policy) - max(now.Sub(e.Received), 0)
	if keep <= 0 {
		return
	}
	if here := c.memory.store(&at.key, e, keep, now); !here && (c.memory.limit.Load() > 0 || at.second == 0) {
		return
	}
	c.counts.stored.Add(1)
	store, key, begun := c.store(), at.key, at.second
	if store == nil || begun == 0 {
		return
	}
	c.aside(c.saves, func() {
		ctx, cancel := context.WithTimeout(c.ctx, saveTime)
		defer cancel()
		if err := store.Save(ctx, &key, e, begun, keep); err != nil {
			c.counts.failures.Add(1)
		}
	})
}
