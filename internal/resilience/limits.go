package resilience

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Key names whose rate it is: that of a represented enterprise, or of a caller by the name of
// its rule. One of the two is set.
type Key struct {
	Enterprise enterprise.Number
	Caller     string
}

// shared is the name of the rate where replicas spend it together.
func (k Key) shared() string {
	if k.Caller != "" {
		return "caller " + k.Caller
	}
	return "enterprise " + k.Enterprise.String()
}

// maxLimits is how many keys Limits remember at most: some 40 MB if all of them are in use.
const maxLimits = 100_000

// Limits are the rates of enterprises and callers. They are spent by every request,
// also by one that the cache answers. They are safe for concurrent use.
type Limits struct {
	now    func() time.Time
	shared Shared
	// refused count what was refused, for the reasons in Refusals.
	refused struct{ enterprise, caller, concurrency atomic.Uint64 }

	mu sync.Mutex // never held while anybody waits
	// recent are the keys that were used last. When they are half of what is remembered, they
	// become older, and those that were older are forgotten unless they were used meanwhile.
	recent, older map[Key]*line
	// underWay are the calls of callers that may have so many at once, by the caller's name.
	underWay map[string]*queue
}

// Refusals are how many calls were refused since the rate of their enterprise or caller was
// used up, or since their caller had as many under way as it may.
type Refusals struct{ Enterprise, Caller, Concurrency uint64 }

// Refusals counts the calls that were refused so far.
func (l *Limits) Refusals() Refusals {
	return Refusals{l.refused.enterprise.Load(), l.refused.caller.Load(), l.refused.concurrency.Load()}
}

// NewLimits makes Limits that remember the 50,000 rates that were used last, and some others. A key
// that was forgotten begins anew with its whole burst and never with more. shared is where rates
// for all replicas are spent.
func NewLimits(shared Shared, now func() time.Time) *Limits {
	return &Limits{now: now, shared: shared, recent: make(map[Key]*line), underWay: make(map[string]*queue)}
}

// Take spends one call of the rate r of key; a rate that changed since the last
// time goes on from what was left. If there is nothing left, a batch call waits in line
// for as long as its pace allows. What it waited is noted in its record.
//
// The error is a *problem.Problem, 429 with limit, retryAfterSec and Retry-After, or
// the cause of ctx, if that was cancelled first. A refused call spends nothing. Take
// the enterprise's rate before the caller's: an enterprise beyond its own rate then
// uses up nothing of the others'.
func (l *Limits) Take(ctx context.Context, c *call.Call, key Key, r config.Rate) error {
	short, err := l.lineOf(key, r).spend(ctx, c)
	if err != nil || short == 0 {
		return err
	}
	whose, refused := "for this enterprise", &l.refused.enterprise
	if key.Caller != "" {
		whose, refused = "of this caller", &l.refused.caller
	}
	refused.Add(1)
	return tooMany(r.PerSecond, short, "There have been more calls "+whose+" than its rate allows. Nothing was sent. "+
		"Try again after the time in Retry-After; the platform team sets the rate.", ErrRate)
}

// lineOf finds or makes the rate of key, and makes sure that it is r.
func (l *Limits) lineOf(key Key, r config.Rate) *line {
	const part = 1 // all calls of a caller are of one class
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.recent[key]
	if known == nil {
		if known = l.older[key]; known == nil {
			known = newLine(l.shared, key.shared(), r, part, l.now)
		}
		if len(l.recent) >= maxLimits/2 {
			l.recent, l.older = make(map[Key]*line), l.recent
		}
		l.recent[key] = known
	}
	known.set(r)
	return known
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
	q := l.underWay[c.Caller]
	if q == nil || q.places.max != max {
		q = newQueue(max, maxPaced, 0, 1) // all of a caller's calls are of one class
		l.underWay[c.Caller] = q
	}
	l.mu.Unlock()
	start := l.now()
	place, _, err := q.enter(ctx, c, c.PaceLeft(start))
	c.Record.Phases.Limits += l.now().Sub(start)
	switch {
	case err != nil:
		return nil, err
	case place == nil:
		l.refused.concurrency.Add(1)
		// How long the caller's own calls take is not known; a moment later it may have room.
		return nil, problem.TooMany(max, time.Second, "This caller has as many calls under way as it may at once. "+
			"Nothing was sent. Wait for one of them to end; the platform team sets callers.concurrency.").Because(ErrConcurrency)
	}
	return func() { q.leave(place) }, nil
}
