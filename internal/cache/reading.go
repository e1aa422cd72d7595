package cache

import (
	"context"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/flight"
	"ebox-gateway/internal/problem"
)

// reading is one GET or HEAD that a policy is about.
type reading struct {
	c    *Cache
	x    *call.Call
	send call.Send
	q    query

	// places are where an answer may be: the enterprise's own, the shared one, or both. They lie in room.
	places []*place
	room   [2]place
	// known says that something is stored under one of the keys.
	known bool
	// passes says that the answers to it are known not to be storable: nobody waits for one.
	passes bool
	// entry is what is stored and selected but cannot be given as it is; at is its place.
	entry *Entry
	at    *place
	// flight is the one that this request leads, if it leads one.
	flight *flight.Flight[*Entry]
	// why is the reason for forwarding, as in Cache-Status.
	why string

	arrived, requested time.Time
}

// place is one key, with the marks under which the request began, in memory and in the second
// level: 0 if that was not asked, or gave none.
type place struct {
	key          Key
	mark, second Mark
}

// moveOn has what this request brings kept under the marks that follow its own invalidation.
func (at *place) moveOn() {
	at.mark++
	if at.second != 0 {
		at.second++
	}
}

func (rd *reading) do(ctx context.Context) (*call.Answer, error) {
	c := rd.c
	rd.arrived = c.o.Now()
	rd.open()
	if rd.q.demanding { // only the upstream can judge that
		rd.why = "fwd=request"
		c.counts.misses.Add(1)
		return rd.forward(ctx)
	}
	rd.look(rd.arrived)
	if a := rd.kept(rd.arrived); a != nil {
		return a, nil
	}
	if !rd.passes && c.store() != nil {
		rd.lookFurther(ctx)
		if a := rd.kept(rd.arrived); a != nil {
			return a, nil
		}
	}
	if rd.q.cc.onlyIfCached {
		rd.x.Record.Cache = "fwd=request; detail=only-if-cached"
		return &call.Answer{Cache: rd.x.Record.Cache}, problem.Timeout("Nothing that could answer this is stored, and "+
			"the request allows nothing else (only-if-cached). Leave that directive out to have the upstream asked.",
			problem.ProxyInternalResponse)
	}
	rd.why = rd.reason()
	if !rd.passes && rd.mayWait() {
		if a := rd.waited(ctx); a != nil {
			return a, nil
		}
	}
	c.counts.misses.Add(1)
	return rd.forward(ctx)
}

// reason says why the request is forwarded, as Cache-Status does.
func (rd *reading) reason() string {
	e := rd.entry
	switch {
	case e == nil && rd.known:
		return "fwd=vary-miss"
	case e == nil:
		return "fwd=uri-miss"
	case rd.q.cc.noCache, !e.facts.cc.noCache && e.lifetime(rd.x.Keep.Policy) > e.age(rd.arrived):
		return "fwd=request" // it would have been good enough for others
	}
	return "fwd=stale"
}

// open makes the keys and notes the epochs. Everything that comes back counts from here.
func (rd *reading) open() {
	add := func(p call.Partition) {
		at := &rd.room[len(rd.places)]
		at.key = KeyOf(p, rd.x.TargetAndQuery())
		at.mark = rd.c.epochs.mark(&at.key)
		rd.places = append(rd.places, at)
	}
	sharing := rd.x.Keep.Policy.Shared
	if sharing != config.SharedAlways {
		add(rd.x.Keep.Partition)
	}
	if sharing.Any() {
		add(rd.x.Keep.Partition.SharedByAll())
	}
}

// look finds what is in memory.
func (rd *reading) look(now time.Time) {
	for _, at := range rd.places {
		variants, passes := rd.c.memory.load(&at.key, at.mark, now)
		rd.passes = rd.passes || passes
		rd.consider(at, variants)
	}
	rd.passes = rd.passes && rd.entry == nil
}

func (rd *reading) consider(at *place, variants []*Entry) {
	for _, v := range variants {
		rd.known = rd.known || v.mark == at.mark
	}
	e := choose(variants, at.mark, rd.x)
	if e != nil && e.Status == http.StatusPartialContent && rd.x.Method != http.MethodGet {
		return // only GET knows of ranges
	}
	if e != nil && (rd.entry == nil || e.Received.After(rd.entry.Received)) {
		rd.entry, rd.at = e, at
	}
}

// loadSecond asks the second level for what it has of a place, and notes the mark there, under
// which what this request brings is kept.
func (rd *reading) loadSecond(ctx context.Context, at *place) []*Entry {
	store := rd.c.store()
	if store == nil {
		return nil
	}
	variants, mark, err := store.Load(ctx, &rd.x.Redis, &at.key)
	if err != nil {
		rd.c.counts.failures.Add(1)
		return nil
	}
	at.second = mark
	return variants
}

// lookFurther asks the second level, and takes what it gives into memory.
func (rd *reading) lookFurther(ctx context.Context) {
	for _, at := range rd.places {
		variants := rd.loadSecond(ctx, at)
		now := rd.c.o.Now()
		for _, e := range variants {
			e.mark = at.mark
			if keep := e.keep(rd.x.Keep.Policy) - max(now.Sub(e.Received), 0); keep > 0 {
				rd.c.memory.store(&at.key, e, keep, now)
			}
		}
		rd.consider(at, variants)
	}
}

// kept answers from what is stored, if that is good enough as it is; nil if not.
func (rd *reading) kept(now time.Time) *call.Answer {
	if rd.entry == nil {
		return nil
	}
	use, left := rd.entry.judge(&rd.q.cc, rd.x.Keep.Policy, now)
	if use == unusable {
		return nil
	}
	if use == refreshing && rd.x.Method == http.MethodGet {
		rd.refresh()
	}
	rd.c.counts.hits.Add(1)
	if left <= 0 {
		rd.c.counts.stale.Add(1)
	}
	return rd.answer(rd.entry, now, withTTL("hit", left))
}
