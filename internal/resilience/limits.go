package resilience

import (
	"container/list"
	"context"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Kind says whose rate a Key stands for.
type Kind uint8

// The kinds of rates in front of everything.
const (
	// ByEnterprise is the rate of a represented enterprise.
	ByEnterprise Kind = iota + 1
	// ByClient is the rate of an OAuth client's own e-Box; Name is the client's.
	ByClient
	// ByCaller is the rate of a caller rule; Name is the rule's.
	ByCaller
)

// Key names one rate.
type Key struct {
	Kind       Kind
	Enterprise enterprise.Number
	Name       string
}

// defaultMax is how many keys Limits remember unless told otherwise: some 40 MB if
// all of them are in use.
const defaultMax = 100_000

// Limits are the rates of enterprises and callers. They are spent by every request,
// also by one that the cache answers. They are safe for concurrent use.
type Limits struct {
	max   int
	now   func() time.Time
	joint func(Key, Rate) Joint // nil if every rate is this replica's own

	mu      sync.Mutex // never held while anybody waits
	entries map[Key]*list.Element
	recent  list.List // of *limit, the last used in front
	// underWay are the calls of callers that may have so many at once, by the caller's name.
	underWay map[string]*bulkhead
}

type limit struct {
	key  Key
	rate Rate
	pacer
}

// NewLimits makes Limits that remember the rates of the max keys that were used
// last, 100,000 if max is not positive; now tells the time, time.Now if nil. A key
// that was forgotten begins anew with its whole burst and never with more.
func NewLimits(max int, now func() time.Time) *Limits {
	if max <= 0 {
		max = defaultMax
	}
	if now == nil {
		now = time.Now
	}
	return &Limits{max: max, now: now, entries: make(map[Key]*list.Element), underWay: make(map[string]*bulkhead)}
}

// Take spends one call of the rate r of key; a rate that changed since the last
// time goes on from what was left. If there is nothing left, a batch call waits in line
// for as long as its pace allows. What it waited is noted in its record.
//
// The error is a *problem.Problem, 429 with limit, retryAfterSec and Retry-After, or
// the cause of ctx, if that was cancelled first. A refused call spends nothing. Take
// the enterprise's rate before the caller's: an enterprise beyond its own rate then
// uses up nothing of the others'.
func (l *Limits) Take(ctx context.Context, c *call.Call, key Key, r Rate) error {
	if r.PerSecond <= 0 {
		return nil
	}
	start := l.now()
	b := l.pacerOf(key, r, start)
	var short time.Duration
	if !c.Batch {
		short = b.take(ctx, c, start)
	} else {
		var err error
		short, err = b.await(ctx, c, l.now, c.PaceLeft(start))
		c.Record.Phases.Limits += l.now().Sub(start)
		if err != nil {
			return err
		}
	}
	if short == 0 {
		return nil
	}
	return tooMany(r.PerSecond, short, refusal(key.Kind), ErrRate)
}

// maxPaced is how many batch calls of one caller wait at most for others of its to end.
const maxPaced = 1000

// Enter lets a call of c.Caller in if that has fewer than max calls under way; leave ends
// it. A batch call waits for as long as its pace allows. What it waited is noted in its
// record. Beyond a max that was changed, calls from before are not counted.
//
// The error is a *problem.Problem, 429 with limit, retryAfterSec and Retry-After, or the
// cause of ctx, if that was cancelled first.
func (l *Limits) Enter(ctx context.Context, c *call.Call, max int) (leave func(), err error) {
	l.mu.Lock()
	h := l.underWay[c.Caller]
	if h == nil || h.places.max != max {
		h = newBulkhead(Settings{Max: max, Queue: maxPaced})
		h.places.batch, h.queue.batch = max, maxPaced // all of them are of one class
		l.underWay[c.Caller] = h
	}
	l.mu.Unlock()
	start := l.now()
	place, _, err := h.enter(ctx, c, c.PaceLeft(start))
	c.Record.Phases.Limits += l.now().Sub(start)
	switch {
	case err != nil:
		return nil, err
	case place == nil:
		// How long the caller's own calls take is not known; a moment later it may have room.
		return nil, problem.TooMany(max, time.Second, "This caller has as many calls under way as it may at once. "+
			"Nothing was sent. Wait for one of them to end; the platform team sets callers.concurrency.").Because(ErrConcurrency)
	}
	return func() { h.leave(place) }, nil
}

func refusal(k Kind) string {
	const then = " Nothing was sent. Try again after the time in Retry-After; the platform team sets the rate."
	switch k {
	case ByEnterprise:
		return "There have been more calls for this enterprise than its rate allows." + then
	case ByCaller:
		return "There have been more calls of this caller than its rate allows." + then
	}
	return "There have been more calls than the rate allows." + then
}

// Share makes joint give what rates of the whole cluster are spent from. It is called
// before the first Take.
func (l *Limits) Share(joint func(Key, Rate) Joint) { l.joint = joint }

// pacerOf finds or makes what the rate of key is spent from, and makes sure that it is r.
func (l *Limits) pacerOf(key Key, r Rate, now time.Time) pacer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		l.recent.MoveToFront(e)
		known := e.Value.(*limit)
		if known.rate != r {
			if own, ok := known.pacer.(*bucket); ok && !r.Cluster {
				own.set(r, now)
			} else {
				known.pacer = l.newPacer(key, r)
			}
			known.rate = r
		}
		return known.pacer
	}
	if l.recent.Len() >= l.max {
		oldest := l.recent.Remove(l.recent.Back()).(*limit)
		delete(l.entries, oldest.key)
	}
	fresh := &limit{key: key, rate: r, pacer: l.newPacer(key, r)}
	l.entries[key] = l.recent.PushFront(fresh)
	return fresh.pacer
}

func (l *Limits) newPacer(key Key, r Rate) pacer {
	if r.Cluster && l.joint != nil {
		return newJointLine(l.joint(key, r), r.PerSecond)
	}
	return newBucket(r)
}

// Len is how many keys are remembered.
func (l *Limits) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recent.Len()
}
