package cache

import (
	"bytes"
	"context"
	"io"
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
	e := choose(variants, at.mark, rd.x.Field)
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
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		delete(resp.Header, "Content-Type")
		delete(resp.Header, "Content-Encoding")
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
			return false
		}
		end, e := f.wait(ctx)
		switch {
		case end == abandoned:
			continue
		case end != landed || !e.selected(rd.x.Field):
			return false
		}
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
	return false
}

// forward sends the request, as a question whether what is stored still holds if there
// is something, and answers with what comes back.
func (rd *reading) forward() {
	c := rd.c
	c.counts.misses.Add(1)
	c.note(rd.x, rd.why)
	defer func() { rd.land(abandoned, nil) }()
	var prepare func(http.Header)
	if rd.asks() {
		prepare = rd.ask
	}
	rd.requested = c.o.Now()
	rd.x.Forward(prepare, rd.receive)
}

// asks tells whether the upstream is asked about what is stored.
func (rd *reading) asks() bool {
	return rd.entry != nil && rd.q.method == http.MethodGet && !rd.q.demanding && rd.entry.validator()
}

func (rd *reading) ask(h http.Header) { rd.entry.ask(h, rd.q.header) }

func (rd *reading) land(end ending, e *Entry) {
	if rd.flight != nil {
		rd.c.flights.land(&rd.places[0].key, rd.flight, end, e)
	}
}

// receive makes of the upstream's answer, or of its failure, what the caller gets.
func (rd *reading) receive(resp *http.Response, err error) (*http.Response, error) {
	now := rd.c.o.Now()
	ctx := rd.x.Request().Context()
	if rd.flight != nil && (err == nil || ctx.Err() == nil) {
		rd.flight.hasHeader()
	}
	if err != nil {
		if ctx.Err() != nil {
			rd.land(abandoned, nil)
			return nil, err
		}
		rd.land(unshared, nil)
		if rd.entry != nil && rd.x.Failing(err) && rd.entry.excuses(&rd.q.cc, rd.t.Policy, now) {
			return rd.excused(now), nil
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified && rd.asks() && rd.entry.confirms(resp.Header, rd.q.header) {
		return rd.confirmed(resp, now), nil
	}
	if failure(resp.StatusCode) && rd.entry != nil && rd.entry.excuses(&rd.q.cc, rd.t.Policy, now) {
		resp.Body.Close()
		rd.land(unshared, nil)
		return rd.excused(now), nil
	}
	rd.invalidate(resp)
	status := rd.why
	if stored := rd.keep(resp, now); stored {
		status += "; stored"
	}
	if rd.record.Tries > 0 && rd.entry != nil {
		status += "; fwd-status=" + strconv.Itoa(resp.StatusCode)
	}
	rd.record.Cache = status
	addStatus(resp, status)
	return resp, nil
}

// failure tells the statuses for which stale-if-error is (RFC 5861, section 4).
func failure(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

func unconditional(h http.Header) {
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
		delete(h, name)
	}
}

// excused answers with what is stored, past its lifetime, because the upstream fails.
func (rd *reading) excused(now time.Time) *http.Response {
	rd.c.counts.stale.Add(1)
	left := rd.entry.lifetime(rd.t.Policy) - rd.entry.age(now)
	return rd.instead(rd.entry, now, withTTL("hit", left)+"; detail=stale-if-error", false)
}

// instead makes the answer to a request that was forwarded from an entry.
func (rd *reading) instead(e *Entry, now time.Time, status string, validated bool) *http.Response {
	rd.record.Cache = status
	resp, body := rd.response(e, validated)
	resp.Header = maps.Clone(resp.Header)
	resp.Header["Age"] = []string{ageValue(e.age(now))}
	addStatus(resp, status)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// confirmed answers with what is stored: the upstream says that it still holds.
func (rd *reading) confirmed(answer *http.Response, now time.Time) *http.Response {
	answer.Body.Close()
	c := rd.c
	c.counts.validated.Add(1)
	e := rd.entry.freshened(answer.Header, rd.requested, now)
	status := rd.why + "; fwd-status=304"
	if rd.mayKeep(e, answer.Header) {
		e.mark = rd.at.mark
		rd.save(rd.at, e, now)
		status += "; stored"
		rd.land(landed, e)
	} else {
		c.invalidate(rd.x.Request().Context(), rd.at.key.Resource())
		rd.land(unshared, nil)
	}
	return rd.instead(e, now, status, true)
}

// mayKeep tells whether an entry that the upstream has confirmed may stay where it is,
// with what answer has brought. What was brought to one enterprise goes to others only if
// it says itself that it may.
func (rd *reading) mayKeep(e *Entry, answer http.Header) bool {
	if rd.at.key.shared && rd.t.Policy.Sharing != SharedAlways && !parseCacheControl(answer["Cache-Control"]).public {
		return false
	}
	return e.mayBeStored() && e.keep(rd.t.Policy) > 0
}

// invalidate makes void what the answer says is no more.
func (rd *reading) invalidate(resp *http.Response) {
	c := rd.c
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		c.refused(rd.x, rd.t, resp)
	case http.StatusNotFound, http.StatusGone:
		if !rd.known {
			return
		}
		for i := range rd.n {
			at := &rd.places[i]
			c.invalidate(rd.x.Request().Context(), at.key.Resource())
			// This answer itself is what holds now, unless more has happened than this.
			at.mark++
			at.second++
		}
	}
}

// keep arranges that the answer is stored once it is there whole; false if it cannot be.
func (rd *reading) keep(resp *http.Response, now time.Time) bool {
	c := rd.c
	if rd.q.method == http.MethodHead {
		rd.compareHead(resp, now)
		return false
	}
	var at *place
	e := newEntry(&rd.q, resp, rd.x.Field, rd.t.Policy, rd.requested, now)
	if e != nil {
		at = rd.placeFor(e)
	}
	if at == nil {
		rd.land(unshared, nil)
		if rd.wouldNever(resp) {
			if rd.entry != nil { // what was stored is not what there is
				c.invalidate(rd.x.Request().Context(), rd.at.key.Resource())
				rd.places[0].mark = c.epochs.mark(&rd.places[0].key)
			}
			c.memory.pass(&rd.places[0].key, rd.places[0].mark, now.Add(passTime), now)
		}
		return false
	}
	e.mark = at.mark
	saved, ctx := *at, rd.x.Request().Context()
	end := func(whole []byte, failed bool) {
		switch {
		case whole == nil && failed && ctx.Err() == nil:
			rd.land(unshared, nil)
		case whole == nil:
			rd.land(abandoned, nil)
		default:
			e.Body = whole
			e.Header["Content-Length"] = []string{strconv.Itoa(len(whole))}
			rd.save(&saved, e, c.o.Now())
			rd.land(landed, e)
		}
	}
	if resp.Body == http.NoBody || resp.StatusCode == http.StatusNoContent {
		end([]byte{}, false)
		return true
	}
	resp.Body = newRecorder(resp.Body, resp.ContentLength, rd.t.Policy.MaxBody, end)
	return true
}

// placeFor chooses where an entry goes, nil for nowhere. What may not be shared never
// goes to a place that is, whatever places there are: a refresh knows only one.
func (rd *reading) placeFor(e *Entry) *place {
	shared := e.sharable(&rd.q, rd.t.Policy.Sharing)
	for i := range rd.n {
		if at := &rd.places[i]; at.key.shared == shared {
			return at
		}
	}
	return nil
}

// wouldNever tells whether the next answer can be expected to be as unfit for storing
// as this one, so that nobody should wait for it: it was whole and the request plain.
func (rd *reading) wouldNever(resp *http.Response) bool {
	q := &rd.q
	return q.method == http.MethodGet && !q.cc.noStore && !q.demanding && !q.conditional && !q.credentials &&
		len(q.header["Range"]) == 0 && resp.StatusCode < 500
}

// compareHead has a HEAD say whether what GET got still holds (section 4.3.5).
func (rd *reading) compareHead(resp *http.Response, now time.Time) {
	if rd.entry == nil || resp.StatusCode != http.StatusOK {
		return
	}
	if !rd.entry.sameAs(resp) {
		rd.c.invalidate(rd.x.Request().Context(), rd.at.key.Resource())
		return
	}
	if e := rd.entry.freshened(resp.Header, rd.requested, now); rd.mayKeep(e, resp.Header) {
		e.mark = rd.at.mark
		rd.save(rd.at, e, now)
	}
}

// save stores an entry in memory at once and in the second level beside the request.
func (rd *reading) save(at *place, e *Entry, now time.Time) {
	c := rd.c
	keep := e.keep(rd.t.Policy) - max(now.Sub(e.Received), 0)
	if keep <= 0 || !c.memory.store(&at.key, e, keep, now) {
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
