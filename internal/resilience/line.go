package resilience

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

// Shared is where all replicas spend a rate together. It is safe for concurrent use.
type Shared interface {
	// Spend spends a token of the rate that name names, or else returns how long it takes
	// until there may be one: another replica may be quicker. A batch call gets no more than
	// batchPart of the rate and leaves the rest of the burst to others. An error means that
	// the replicas cannot agree. Spend waits as long for an answer as the allowance says, and
	// never for tokens.
	Spend(ctx context.Context, a *call.Allowance, name string, r config.Rate, batchPart float64,
		batch bool) (time.Duration, error)
	// Replicas is how many replicas there are, at least 1.
	Replicas() int
}

// line is a rate with a queue in front of it for batch calls, which wait for their tokens.
//
// Nobody reserves. A reservation that is cancelled while later ones stand is lost,
// so that refusals under load would use up the rate; and a hundred callers that wait long
// with reservations would leave one that cannot wait nothing for as long as they all
// wait. Instead the queue has one place: who has it looks for a token, and the others wait
// for their turn. Of a rate for all replicas, the heads of their queues compete.
type line struct {
	in   Shared // where a rate for all replicas is spent
	name string // of it there
	part float64
	now  func() time.Time

	mu    sync.Mutex // never held while anybody waits, or Shared is asked
	rate  config.Rate
	queue *queue    // nil until a batch call comes
	due   time.Time // when there is a token for its head
	// whole is the token bucket of this replica. paced bounds batch calls further, and reserve is what they leave
	// in the bucket.
	whole, paced *rate.Limiter
	reserve      float64
	replicas     int // among which the rate is divided
	// empty is until when no call, and batchEmpty until when no batch call, would find a
	// token where all replicas spend: a refusal until then asks nobody.
	empty, batchEmpty time.Time
}

// newLine makes the rate r. in is where it is spent if it is one for all replicas; batch calls may have part of it.
func newLine(in Shared, name string, r config.Rate, part float64, now func() time.Time) *line {
	full := func() *rate.Limiter { return rate.NewLimiter(0, r.Burst) }
	l := &line{in: in, name: name, part: part, now: now, whole: full(), paced: full()}
	l.set(r)
	return l
}

// set changes the rate; what was left of the old one is left of the new.
func (l *line) set(r config.Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == r {
		return
	}
	l.rate = r
	l.empty, l.batchEmpty = time.Time{}, time.Time{}
	l.divide()
}

func (l *line) ofAll() bool { return l.rate.Scope == config.ClusterRate }

// divide makes the bucket that of one of the replicas. l.mu is held.
func (l *line) divide() {
	l.replicas = 1
	if l.ofAll() {
		l.replicas = l.in.Replicas()
	}
	perSecond, burst := l.rate.PerSecond/float64(l.replicas), max(l.rate.Burst/l.replicas, 1)
	l.whole.SetLimitAt(l.now(), rate.Limit(perSecond))
	l.whole.SetBurstAt(l.now(), burst)
	l.paced.SetLimitAt(l.now(), rate.Limit(perSecond*l.part))
	l.paced.SetBurstAt(l.now(), batchShare(burst, l.part))
	l.reserve = min(float64(burst)*(1-l.part), float64(burst-1))
}

// spend spends a token for c, and notes what c waited. 0 means that it is spent; otherwise it
// is how long it takes until there may be one. A batch call waits for at most as long as its
// pace allows. The error is the cause of a ctx that was cancelled.
func (l *line) spend(ctx context.Context, c *call.Call) (short time.Duration, err error) {
	if !c.Batch {
		return l.take(ctx, c, false), nil
	}
	start := l.now()
	short, err = l.await(ctx, c, start, c.PaceLeft(start))
	c.Record.Phases.Limits += l.now().Sub(start)
	return short, err
}

// await spends a token in the order of the queue.
func (l *line) await(ctx context.Context, c *call.Call, start time.Time, pace time.Duration) (time.Duration, error) {
	if turn := l.turn(); turn > pace { // whoever cannot be served in time is refused at once
		return turn, nil
	}
	place, _, err := l.queue.enter(ctx, c, pace)
	if place == nil {
		return max(l.turn(), 1), err
	}
	defer l.queue.leave(place)
	for until := start.Add(pace); ; {
		short := l.take(ctx, c, true)
		now := l.now()
		if short <= 0 || now.Add(short).After(until) {
			return short, nil
		}
		due := now.Add(short)
		l.mu.Lock()
		l.due = due
		l.mu.Unlock()
		select {
		case <-time.After(short):
		case <-ctx.Done():
			return due.Sub(l.now()), cancelled(ctx)
		}
	}
}

// turn is how long it takes at least until it is the turn of one who comes now.
func (l *line) turn() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue == nil {
		l.queue = newQueue(1, math.MaxInt32, 0, 1)
	}
	before := l.queue.length()
	if before == 0 {
		return 0
	}
	each := min(float64(time.Second)/(l.rate.PerSecond*l.part), math.MaxInt32*float64(time.Second))
	return max(l.due.Sub(l.now()), 0) + time.Duration(min(float64(before)*each, math.MaxInt64/2))
}

// take spends a token if there is one. Otherwise it returns how long it takes until there may be one, at least
// a nanosecond. It does not wait for tokens.
//
// While the replicas cannot agree on a rate of them all, each spends its share: rate and burst divided by the
// replicas. What all of them have let pass counts against the share too, so that an agreement that comes and
// goes does not double the rate.
func (l *line) take(ctx context.Context, c *call.Call, batch bool) time.Duration {
	batch = batch && l.part < 1
	l.mu.Lock()
	if !l.ofAll() {
		defer l.mu.Unlock()
		return l.takeOwn(batch)
	}
	empty := &l.empty
	if batch {
		empty = &l.batchEmpty
	}
	r, wait := l.rate, empty.Sub(l.now())
	l.mu.Unlock()
	if wait > 0 {
		return wait
	}
	wait, err := l.in.Spend(ctx, &c.Redis, l.name, r, l.part, batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ofAll() && l.in.Replicas() != l.replicas {
		l.divide()
	}
	switch {
	case err != nil:
		return l.takeOwn(batch)
	case wait == 0:
		l.takeOwn(false)
	default:
		*empty = l.now().Add(wait)
	}
	return wait
}

// takeOwn is take from the bucket of this replica. l.mu is held.
func (l *line) takeOwn(batch bool) time.Duration {
	now := l.now()
	want, short := 1.0, time.Duration(0)
	if batch {
		want, short = want+l.reserve, shortage(l.paced, 1, now)
	}
	if short = max(short, shortage(l.whole, want, now)); short > 0 {
		return short
	}
	l.whole.ReserveN(now, 1)
	if batch {
		l.paced.ReserveN(now, 1)
	}
	return 0
}

// shortage is how long it takes until limiter holds want tokens.
func shortage(limiter *rate.Limiter, want float64, now time.Time) time.Duration {
	missing := want - limiter.TokensAt(now)
	// Under a nanosecond's worth is the rounding of the library's own sums.
	if missing <= 1e-9*float64(limiter.Limit()) {
		return 0
	}
	return time.Duration(math.Ceil(min(missing/float64(limiter.Limit()), math.MaxInt32) * float64(time.Second)))
}

// cancelled is the cause of a ctx that was cancelled, as that of a caller who went away; nil for one whose
// time is over: its call is refused like any other.
func cancelled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	return nil
}

// tooMany is the refusal: 429 with the limit in calls a second, rounded up.
func tooMany(perSecond float64, wait time.Duration, detail string, cause error) error {
	return problem.TooMany(int(math.Ceil(min(perSecond, math.MaxInt32))), wait, detail).Because(cause)
}
