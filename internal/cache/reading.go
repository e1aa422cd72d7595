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

	// places are where an answer may be: the enterprise's own, the shared one, or both.
	places [2]place
	n      int
	// known says that something is stored under one of the keys.
	known bool
	// entry is what is stored and selected but cannot be given as it is; at is its place.
	entry *Entry
	at    *place
	// flight is the one that this request leads, if it leads one.
	flight *flight.Flight[*Entry]
	// posted says that this is a POST, whose answer may answer a GET.
	posted bool
	// why is the reason for forwarding, as in Cache-Status.
	why string

	arrived, requested time.Time
}

// place is one key, with the marks under which the request began.
type place struct {
	key  Key
	mark Mark
	// store is the second level, once it has given its mark: what is stored there later
	// goes to the same one, since another counts otherwise. Nil if it was not asked.
	store  Store
	second Mark
}

func (rd *reading) do(ctx context.Context) (*call.Answer, error) {
	c := rd.c
	rd.arrived = c.o.Now()
	rd.open()
	if rd.q.demanding { // only the upstream can judge that
		rd.why = "fwd=request"
		return rd.forward(ctx)
	}
	pass := rd.look(rd.arrived)
	if a := rd.kept(rd.arrived); a != nil {
		return a, nil
	}
	if !pass && c.store() != nil {
		rd.lookFurther(ctx)
		if a := rd.kept(rd.arrived); a != nil {
			return a, nil
		}
	}
	if rd.q.cc.onlyIfCached {
		rd.x.Record.Cache = "fwd=request; detail=only-if-cached"
		return &call.Answer{Cache: rd.x.Record.Cache}, errNothingKept()
	}
	rd.why = rd.reason()
	if !pass && rd.mayWait() {
		if a := rd.waited(ctx); a != nil {
			return a, nil
		}
	}
	return rd.forward(ctx)
}

// reason tells why the request is forwarded, as Cache-Status does.
func (rd *reading) reason() string {
	switch {
	case rd.entry == nil && rd.known:
		return "fwd=vary-miss"
	case rd.entry == nil:
		return "fwd=uri-miss"
	case rd.q.cc.noCache:
		return "fwd=request"
	}
	if use, left := rd.entry.judge(&noDirectives, rd.x.Keep.Policy, rd.arrived); use == usable && left > 0 {
		return "fwd=request" // it would have been good enough for others
	}
	return "fwd=stale"
}

// errNothingKept is the answer to a request that allows nothing but what is kept.
func errNothingKept() error {
	return problem.Timeout("Nothing that could answer this is stored, and the request allows nothing "+
		"else (only-if-cached). "+
		"Leave that directive out to have the upstream asked.", problem.ProxyInternalResponse)
}

// open makes the keys and notes the epochs. Everything that comes back counts from here.
func (rd *reading) open() {
	p, target := rd.x.Keep.Partition, rd.x.TargetAndQuery()
	if rd.x.Keep.Policy.Shared != config.SharedAlways {
		rd.add(KeyOf(p, target))
	}
	if rd.x.Keep.Policy.Shared.Any() {
		rd.add(KeyOf(p.SharedByAll(), target))
	}
}

func (rd *reading) add(k Key) {
	rd.places[rd.n] = place{key: k}
	rd.places[rd.n].mark = rd.c.epochs.mark(&k)
	rd.n++
}

// look finds what is in memory; pass tells that its answers cannot be stored.
func (rd *reading) look(now time.Time) (pass bool) {
	for i := range rd.n {
		at := &rd.places[i]
		variants, passes := rd.c.memory.load(&at.key, at.mark, now)
		pass = pass || passes
		rd.consider(at, variants)
	}
	return pass && rd.entry == nil
}

func (rd *reading) consider(at *place, variants []*Entry) {
	for _, v := range variants {
		rd.known = rd.known || v.mark == at.mark
	}
	e := choose(variants, at.mark, rd.field)
	if e != nil && e.Status == http.StatusPartialContent && rd.q.method != http.MethodGet {
		return // only GET knows of ranges
	}
	if e != nil && (rd.entry == nil || e.Received.After(rd.entry.Received)) {
		rd.entry, rd.at = e, at
	}
}

// loadSecond asks the second level for what it has of a place, and notes the mark there: that which counts for what this
// request brings.
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
	at.second, at.store = mark, store
	return variants
}

// lookFurther asks the second level, and takes what it gives into memory.
func (rd *reading) lookFurther(ctx context.Context) {
	for i := range rd.n {
		at := &rd.places[i]
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
	if use == refreshing && rd.q.method == http.MethodGet {
		rd.refresh()
	}
	rd.c.counts.hits.Add(1)
	if left <= 0 {
		rd.c.counts.stale.Add(1)
	}
	return rd.answer(rd.entry, now, withTTL("hit", left), false)
}
