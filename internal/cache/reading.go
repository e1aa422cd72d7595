package cache

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

// maxLeaders is how often a request waits for another, each time because the one before
// went away, until it asks for itself.
const maxLeaders = 3

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

func (rd *reading) do(ctx context.Context) (*call.Answer, error) {
	c, p := rd.c, rd.x.Keep.Policy
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
	if !pass && rd.mayWait() {
		if a := rd.waited(ctx); a != nil {
			return a, nil
		}
	}
	return rd.forward(ctx)
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

// noteSecond notes the mark that a place has in the second level before the request is sent.
func (rd *reading) noteSecond(ctx context.Context, at *place) {
	store := rd.c.store()
	if store == nil {
		return
	}
	if _, mark, err := store.Load(ctx, &rd.x.Redis, &at.key); err == nil {
		at.second, at.store = mark, store
	}
}

// lookFurther asks the second level, and takes what it gives into memory.
func (rd *reading) lookFurther(ctx context.Context) {
	c := rd.c
	store := c.store()
	for i := range rd.n {
		at := &rd.places[i]
		variants, mark, err := store.Load(ctx, &rd.x.Redis, &at.key)
		if err != nil {
			c.counts.failures.Add(1)
			continue
		}
		at.second, at.store = mark, store
		now := c.o.Now()
		for _, e := range variants {
			e.mark = at.mark
			if keep := e.keep(rd.x.Keep.Policy) - max(now.Sub(e.Received), 0); keep > 0 {
				c.memory.store(&at.key, e, keep, now)
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

// answer makes the answer that an entry is to this request: whole, a part of it, or the
// word that the caller has it already. Its header may be the entry's own, which nobody
// may change. What no-cache names is left out of an answer that is not validated.
func (rd *reading) answer(e *Entry, now time.Time, how string, validated bool) *call.Answer {
	rd.x.Record.Cache = how
	a := &call.Answer{
		Header: e.Header, ProtoMajor: e.ProtoMajor, ProtoMinor: e.ProtoMinor, Cache: how, Age: ageValue(e.age(now)),
	}
	if rd.q.conditional && e.notModified(rd.q.header) {
		a.Status, a.Header = http.StatusNotModified, notModifiedHeader(e.Header)
		return a
	}
	status, body, contentRange := e.part(rd.q.method, rd.field)
	a.Status, a.Body, a.Length = status, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	without := e.facts.cc.noCacheFields
	if contentRange != "" || !validated && len(without) > 0 {
		a.Header = maps.Clone(e.Header)
	}
	if contentRange != "" {
		a.Header["Content-Range"] = []string{contentRange}
		a.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
		if status == http.StatusRequestedRangeNotSatisfiable {
			delete(a.Header, "Content-Type")
			delete(a.Header, "Content-Encoding")
		}
	}
	if !validated {
		for _, name := range without {
			delete(a.Header, name)
		}
	}
	return a
}

// field gives a field of the request as the upstream gets it. What is asked in the
// background never asks for a part.
func (rd *reading) field(name string) []string {
	if rd.x.Background && (name == "Range" || name == "If-Range") {
		return nil
	}
	return rd.x.Field(name)
}

// notModifiedHeader keeps what a 304 carries (RFC 9110, section 15.4.5), and what
// identifies the answer.
func notModifiedHeader(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range", "Content-Md5",
			"Digest", "Content-Digest", "Repr-Digest":
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
	return q.method == http.MethodGet && !q.cc.noCache && !q.cc.noStore && q.cc.maxAge == absent &&
		q.cc.minFresh == absent && !q.credentials &&
		(rd.entry != nil || !q.conditional && len(q.header["Range"]) == 0)
}

// waited waits for the answer to the same request of another caller, if there is one
// under way, and answers with it. If not, it is nil and this request leads, or asks for
// itself; what it waited comes off its own header time-out.
func (rd *reading) waited(ctx context.Context) *call.Answer {
	at, began := &rd.places[0], time.Now()
	defer func() { rd.x.Waited = time.Since(began) }()
	for range maxLeaders {
		f, leads := rd.c.flights.join(&at.key, at.mark)
		if leads {
			rd.flight = f
			// The flight before may have landed since this request looked.
			e := rd.meanwhile()
			if e == nil {
				return nil
			}
			a := rd.collapsed(e)
			if a != nil {
				rd.land(landed, e)
			}
			return a
		}
		switch end, e := f.wait(ctx, began); {
		case end == abandoned:
		case end == landed && e.selected(rd.field):
			return rd.collapsed(e)
		default:
			return nil
		}
	}
	return nil
}

// meanwhile gives what has been stored since this request arrived, nil for nothing.
func (rd *reading) meanwhile() *Entry {
	for i := range rd.n {
		at := &rd.places[i]
		variants, _ := rd.c.memory.load(&at.key, at.mark, rd.arrived)
		if e := choose(variants, at.mark, rd.field); e != nil && e != rd.entry && !e.Received.Before(rd.arrived) {
			return e
		}
	}
	return nil
}

// collapsed answers with what another request has brought, if it may; nil if not.
func (rd *reading) collapsed(e *Entry) *call.Answer {
	now := rd.c.o.Now()
	use, left := e.judge(&rd.q.cc, rd.x.Keep.Policy, now)
	// This request was forwarded as one with the leader's (section 4). What came back
	// since it arrived answers it too, whatever becomes of the answer later.
	if use == unusable && e.Received.Before(rd.arrived) {
		return nil
	}
	rd.c.counts.collapsed.Add(1)
	return rd.answer(e, now, withTTL(rd.why+"; collapsed", left), false)
}
