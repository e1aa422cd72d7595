package cache

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"time"

	"ebox-gateway/internal/exchange"
)

// maxLeaders is how often a request waits for another, each time because the one before
// went away, until it asks for itself.
const maxLeaders = 3

// reading is one GET or HEAD that a policy is about.
type reading struct {
	c      *Cache
	x      Exchange
	t      *Task
	q      query
	record *exchange.Record

	// found is room for what is in memory.
	found [2]*Entry
	// places are where an answer may be: the enterprise's own, the shared one, or both.
	places [2]place
	n      int
	// known says that something is stored under one of the keys.
	known bool
	// entry is what is stored and selected but cannot be given as it is; at is its place.
	entry *Entry
	at    *place
	// flight is the one that this request leads, if it leads one.
	flight *flight
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

func (rd *reading) serve(ctx context.Context) {
	c, p := rd.c, rd.t.Policy
	rd.arrived = c.o.Now()
	rd.open()
	if rd.q.demanding { // only the upstream can judge that
		rd.why = "fwd=request"
		rd.forward()
		return
	}
	pass := rd.look(rd.arrived)
	if rd.answered(rd.arrived, "hit") {
		return
	}
	if !pass && c.store() != nil {
		rd.lookFurther(ctx)
		if rd.answered(rd.arrived, "hit") {
			return
		}
	}
	if rd.q.cc.onlyIfCached {
		c.note(rd.x, "fwd=request; detail=only-if-cached")
		rd.x.Refuse()
		return
	}
	rd.why = "fwd=uri-miss"
	switch {
	case rd.entry != nil && rd.q.cc.noCache:
		rd.why = "fwd=request"
	case rd.entry != nil:
		if use, left := rd.entry.judge(&noDirectives, p, rd.arrived); use == usable && left > 0 {
			rd.why = "fwd=request"
		} else {
			rd.why = "fwd=stale"
		}
	case rd.known:
		rd.why = "fwd=vary-miss"
	}
	if !pass && rd.mayWait() && rd.waited(ctx) {
		return
	}
	rd.forward()
}

// open makes the keys and notes the epochs. Everything that comes back counts from here.
func (rd *reading) open() {
	p := rd.t.Partition
	if rd.t.Policy.Sharing != SharedAlways {
		rd.add(p.Key(rd.t.Target))
	}
	if rd.t.Policy.Sharing != SharedNever {
		rd.add(p.SharedByAll().Key(rd.t.Target))
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
		variants, passes := rd.c.memory.load(rd.found[:0], &at.key, at.mark, now)
		pass = pass || passes
		rd.consider(at, variants)
	}
	return pass && rd.entry == nil
}

func (rd *reading) consider(at *place, variants []*Entry) {
	for _, v := range variants {
		rd.known = rd.known || v.mark == at.mark
	}
	e := choose(variants, at.mark, rd.x.Field)
	if e != nil && e.Status == http.StatusPartialContent && rd.q.method != http.MethodGet {
		return // only GET knows of ranges
	}
	if e != nil && (rd.entry == nil || e.Received.After(rd.entry.Received)) {
		rd.entry, rd.at = e, at
	}
}

// lookFurther asks the second level, and takes what it gives into memory.
func (rd *reading) lookFurther(ctx context.Context) {
	c := rd.c
	store := c.store()
	for i := range rd.n {
		at := &rd.places[i]
		if c.owed.concerns(&at.key) {
			continue
		}
		variants, mark, err := store.Load(ctx, &at.key)
		if err != nil {
			c.counts.failures.Add(1)
			continue
		}
		at.second, at.store = mark, store
		now := c.o.Now()
		for _, e := range variants {
			e.mark = at.mark
			if keep := e.keep(rd.t.Policy) - max(now.Sub(e.Received), 0); keep > 0 {
				c.memory.store(&at.key, e, keep, now)
			}
		}
		rd.consider(at, variants)
	}
}

// answered answers from what is stored, if that is good enough as it is.
func (rd *reading) answered(now time.Time, how string) bool {
	if rd.entry == nil {
		return false
	}
	use, left := rd.entry.judge(&rd.q.cc, rd.t.Policy, now)
	if use == unusable {
		return false
	}
	if use == refreshing && rd.q.method == http.MethodGet {
		rd.refresh()
	}
	rd.c.counts.hits.Add(1)
	if left <= 0 {
		rd.c.counts.stale.Add(1)
	}
	rd.give(rd.entry, now, how, left)
	return true
}

// give answers with a stored entry.
func (rd *reading) give(e *Entry, now time.Time, how string, left time.Duration) {
	status := withTTL(how, left)
	rd.record.Cache = status
	resp, body := rd.response(e, false)
	rd.x.Answer(resp, body, &Extra{Status: Pseudonym + "; " + status, Age: ageValue(e.age(now))})
}

func withTTL(how string, left time.Duration) string {
	var buf [64]byte
	b := append(buf[:0], how...)
	b = append(b, "; ttl="...)
	return string(strconv.AppendInt(b, floorSeconds(left), 10))
}

func floorSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		s--
	}
	return s
}

func ageValue(age time.Duration) string {
	return strconv.FormatInt(min(int64(age/time.Second), int64(forever/time.Second)), 10)
}

// response makes the answer that an entry is to this request: whole, a part of it, or
// the word that the caller has it already. Its header may be the entry's own, which
// nobody may change. What no-cache names is left out of an answer that is not validated.
func (rd *reading) response(e *Entry, validated bool) (*http.Response, []byte) {
	resp := &http.Response{StatusCode: e.Status, Header: e.Header, ProtoMajor: e.ProtoMajor, ProtoMinor: e.ProtoMinor}
	if rd.q.conditional && e.notModified(rd.q.header) {
		resp.StatusCode, resp.Header = http.StatusNotModified, notModifiedHeader(e.Header)
		return resp, nil
	}
	var body []byte
	var contentRange string
	resp.StatusCode, body, contentRange = e.part(rd.q.method, rd.x.Field)
	without := e.facts.cc.noCacheFields
	if contentRange != "" || !validated && len(without) > 0 {
		resp.Header = maps.Clone(e.Header)
	}
	if contentRange != "" {
		resp.Header["Content-Range"] = []string{contentRange}
		resp.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
		if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			delete(resp.Header, "Content-Type")
			delete(resp.Header, "Content-Encoding")
		}
	}
	if !validated {
		for _, name := range without {
			delete(resp.Header, name)
		}
	}
	resp.ContentLength = int64(len(body))
	return resp, body
}

// notModifiedHeader keeps what a 304 carries (RFC 9110, section 15.4.5), and what
// identifies the answer.
func notModifiedHeader(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest":
		default:
			kept[name] = values
		}
	}
	return kept
}

// mayWait tells whether the answer to somebody else's request would do: the caller asks
// for the whole and for nothing newer than what comes.
func (rd *reading) mayWait() bool {
	q := &rd.q
	return q.method == http.MethodGet && !q.cc.noCache && !q.cc.noStore && q.cc.maxAge == absent && q.cc.minFresh == absent && !q.credentials &&
		(rd.entry != nil || !q.conditional && len(q.header["Range"]) == 0)
}

// waited waits for the answer to the same request of another caller, if there is one
// under way, and answers with it. If not, this request leads.
func (rd *reading) waited(ctx context.Context) bool {
	at := &rd.places[0]
	for range maxLeaders {
		f, leads := rd.c.flights.join(&at.key, at.mark)
		if leads {
			rd.flight = f
			// The flight before may have landed since this request looked.
			e := rd.meanwhile()
			if e == nil || !rd.giveCollapsed(e) {
				return false
			}
			rd.land(landed, e)
			return true
		}
		switch end, e := f.wait(ctx); {
		case end == abandoned:
		case end == landed && e.selected(rd.x.Field):
			return rd.giveCollapsed(e)
		default:
			return false
		}
	}
	return false
}

// meanwhile gives what has been stored since this request arrived, nil for nothing.
func (rd *reading) meanwhile() *Entry {
	for i := range rd.n {
		at := &rd.places[i]
		variants, _ := rd.c.memory.load(rd.found[:0], &at.key, at.mark, rd.arrived)
		if e := choose(variants, at.mark, rd.x.Field); e != nil && e != rd.entry && !e.Received.Before(rd.arrived) {
			return e
		}
	}
	return nil
}

// giveCollapsed answers with what another request has brought, if it may.
func (rd *reading) giveCollapsed(e *Entry) bool {
	now := rd.c.o.Now()
	use, left := e.judge(&rd.q.cc, rd.t.Policy, now)
	// This request was forwarded as one with the leader's (section 4). What came back
	// since it arrived answers it too, whatever becomes of the answer later.
	if use == unusable && e.Received.Before(rd.arrived) {
		return false
	}
	rd.c.counts.collapsed.Add(1)
	rd.give(e, now, rd.why+"; collapsed", left)
	return true
}
