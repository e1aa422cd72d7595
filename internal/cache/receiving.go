package cache

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

// forward sends the request, as a question whether what is stored still holds if there
// is something, and answers with what comes back.
func (rd *reading) forward(ctx context.Context) (*call.Answer, error) {
	rd.c.counts.misses.Add(1)
	rd.x.Record.Cache = rd.why
	returned := false
	defer func() {
		if !returned { // a panic on the way
			rd.land(nil, errAbandoned)
		}
	}()
	var question *call.Question
	if rd.asks() {
		question = rd.entry.question(rd.q.header)
	}
	rd.requested = rd.c.o.Now()
	resp, err := rd.send(ctx, rd.x, question)
	a, err := rd.receive(ctx, resp, err)
	returned = true
	return a, err
}

// asks reports whether the upstream is asked about what is stored.
func (rd *reading) asks() bool {
	return rd.entry != nil && rd.q.method == http.MethodGet && !rd.q.demanding && rd.entry.validator()
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
	if err != nil {
		if ctx.Err() != nil {
			rd.land(nil, errAbandoned)
			return with(rd.why, nil, err)
		}
		rd.land(nil, errUnshared)
		if rd.entry != nil && rd.c.failing(err) && rd.entry.excuses(&rd.q.cc, rd.x.Keep.Policy, now) {
			return rd.excused(now), nil
		}
		return with(rd.why, nil, err)
	}
	if resp.StatusCode == http.StatusNotModified && rd.asks() && rd.entry.confirms(resp.Header, rd.q.header) {
		return rd.confirmed(ctx, resp, now), nil
	}
	if failure(resp.StatusCode) && rd.entry != nil && rd.entry.excuses(&rd.q.cc, rd.x.Keep.Policy, now) {
		resp.Body.Close()
		rd.land(nil, errUnshared)
		return rd.excused(now), nil
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

// failing tells an upstream that cannot serve from one that will not: a client that the
// Authorization Server refuses has no right to what it got before.
func (c *Cache) failing(err error) bool {
	var refusal problem.Reporter
	if errors.As(err, &refusal) {
		return refusal.Problem().Type != problem.ClientRefused("", "", "").Type
	}
	return !c.o.Classify(err).Cancelled
}

// failure tells the statuses for which stale-if-error is (RFC 5861, section 4).
func failure(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// excused answers with what is stored, past its lifetime, because the upstream fails.
func (rd *reading) excused(now time.Time) *call.Answer {
	rd.c.counts.stale.Add(1)
	left := rd.entry.lifetime(rd.x.Keep.Policy) - rd.entry.age(now)
	return rd.answer(rd.entry, now, withTTL("hit", left)+"; detail=stale-if-error", false)
}

// confirmed answers with what is stored: the upstream says that it still holds.
func (rd *reading) confirmed(ctx context.Context, answer *http.Response, now time.Time) *call.Answer {
	answer.Body.Close()
	c := rd.c
	c.counts.validated.Add(1)
	e := rd.entry.freshened(answer.Header, rd.x.Keep.Policy, rd.requested, now)
	status := rd.why + "; fwd-status=304"
	if rd.mayKeep(e, answer.Header) {
		e.mark = rd.at.mark
		kept := e.forOthers()
		rd.save(rd.at, kept, now)
		status += "; stored"
		rd.land(kept, nil)
	} else {
		if !rd.q.passed { // what is said to one caller's credentials changes nothing for others
			c.invalidate(ctx, rd.x, rd.at.key.Resource())
		}
		rd.land(nil, errUnshared)
	}
	return rd.answer(e, now, status, true)
}

// mayKeep reports whether an entry that the upstream has confirmed may stay where it is,
// with what answer has brought. What was brought to one enterprise goes to others only if
// it says itself that it may.
func (rd *reading) mayKeep(e *Entry, answer http.Header) bool {
	if rd.at.key.shared && rd.x.Keep.Policy.Shared != config.SharedAlways &&
		!parseCacheControl(answer["Cache-Control"]).public {
		return false
	}
	return e.mayBeStored(&rd.q) && e.keep(rd.x.Keep.Policy) > 0
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
		for i := range rd.n {
			at := &rd.places[i]
			c.invalidate(ctx, rd.x, at.key.Resource())
			// This answer itself is what holds now, unless more has happened than this.
			at.mark++
			at.second++
		}
	}
}

// keep arranges that the answer is stored once it is there whole; false if it cannot be.
func (rd *reading) keep(ctx context.Context, resp *http.Response, now time.Time) bool {
	c := rd.c
	if rd.q.method == http.MethodHead {
		rd.compareHead(ctx, resp, now)
		return false
	}
	var at *place
	e := newEntry(&rd.q, resp, rd.field, rd.x.Keep.Policy, rd.requested, now)
	if e != nil {
		at = rd.placeFor(e)
	}
	if at == nil {
		rd.land(nil, errUnshared)
		if rd.wouldNever(resp) {
			if rd.entry != nil { // what was stored is not what there is
				c.invalidate(ctx, rd.x, rd.at.key.Resource())
				rd.places[0].mark = c.epochs.mark(&rd.places[0].key)
			}
			c.memory.pass(&rd.places[0].key, rd.places[0].mark, now.Add(passTime))
		}
		return false
	}
	e.mark = at.mark
	saved := *at
	end := func(whole []byte, failed bool) {
		switch {
		case whole == nil && failed && ctx.Err() == nil:
			rd.land(nil, errUnshared)
		case whole == nil:
			rd.land(nil, errAbandoned)
		default:
			e.Body = whole
			e.Header["Content-Length"] = []string{strconv.Itoa(len(whole))}
			rd.save(&saved, e, c.o.Now())
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

// placeFor chooses where an entry goes, nil for nowhere. What may not be shared never
// goes to a place that is, whatever places there are: a refresh knows only one.
func (rd *reading) placeFor(e *Entry) *place {
	shared := e.sharable(&rd.q, rd.x.Keep.Policy.Shared)
	for i := range rd.n {
		if at := &rd.places[i]; at.key.shared == shared {
			return at
		}
	}
	return nil
}

// wouldNever reports whether the next answer can be expected to be as unfit for storing
// as this one, so that nobody should wait for it: it was whole and the request plain.
func (rd *reading) wouldNever(resp *http.Response) bool {
	q := &rd.q
	return q.method == http.MethodGet && !q.cc.noStore && !q.demanding && !q.conditional && !q.credentials && !rd.posted &&
		len(q.header["Range"]) == 0 && resp.StatusCode < 500
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
	if e := rd.entry.freshened(resp.Header, rd.x.Keep.Policy, rd.requested, now); rd.mayKeep(e, resp.Header) {
		e.mark = rd.at.mark
		rd.save(rd.at, e.forOthers(), now)
	}
}

// save stores an entry in memory at once and in the second level beside the request.
func (rd *reading) save(at *place, e *Entry, now time.Time) {
	c := rd.c
	keep := e.keep(rd.x.Keep.Policy) - max(now.Sub(e.Received), 0)
	if keep <= 0 {
		return
	}
	if here := c.memory.store(&at.key, e, keep, now); !here && (c.memory.limit.Load() > 0 || at.store == nil) {
		return
	}
	c.counts.stored.Add(1)
	if at.store == nil {
		return
	}
	store, key, begun := at.store, at.key, at.second
	c.aside(c.saves, func() {
		ctx, cancel := context.WithTimeout(c.ctx, saveTime)
		defer cancel()
		if err := store.Save(ctx, &key, e, begun, keep); err != nil {
			c.counts.failures.Add(1)
		}
	})
}
