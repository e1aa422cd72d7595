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

// line is a rate with a line in front of it for batch calls, which wait for their tokens.
//
// Nobody reserves. A reservation that is cancelled while later ones stand is lost,
// so that refusals under load would use up the rate; and a hundred patient callers
// with reservations would leave an impatient one nothing for as long as they all
// wait. Instead the head of the line alone looks for a token, and the others wait
// for their turn. Of a rate for all replicas, the heads of their lines compete.
type line struct {
	in   Shared // where a rate for all replicas is spent; nil for nowhere
	name string // of it there
	part float64
	now  func() time.Time
	// head holds one, the head of the line; Go serves its senders in order.
	head chan struct{}

	mu   sync.Mutex // never held while anybody waits, or Shared is asked
	rate config.Rate
	// whole is the token bucket of this replica. paced bounds batch calls further, and reserve is what they leave
	// in the bucket; nil and 0 if they may have all of it.
	whole, paced *rate.Limiter
	reserve      float64
	replicas     int // among which the rate is divided
	// empty is until when no call, and batchEmpty until when no batch call, would find a
	// token where all replicas spend: a refusal until then asks nobody.
	empty, batchEmpty time.Time
	waiting           int       // batch calls, the head included
	due               time.Time // when there is a token for the head
}

// newLine makes the rate r. in is where it is spent if it is one for all replicas; batch calls may have part of it.
func newLine(in Shared, name string, r config.Rate, part float64, now func() time.Time) *line {
	l := &line{in: in, name: name, part: part, now: now, head: make(chan struct{}, 1)}
	l.set(r)
	return l
}

// set changes the rate; what was left of the old one is left of the new.
func (l *line) set(r config.Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = r
	l.empty, l.batchEmpty = time.Time{}, time.Time{}
	l.divide(1)
	if l.ofAll() {
		l.divide(l.in.Replicas())
	}
}

func (l *line) ofAll() bool { return l.in != nil && l.rate.Scope == config.ClusterRate }

// divide makes the bucket that of one of n replicas. l.mu is held.
func (l *line) divide(n int) {
	l.replicas = n
	burst := max(l.rate.Burst/n, 1)
	adjust := func(bucket **rate.Limiter, part float64, burst int) {
		limit := rate.Limit(l.rate.PerSecond / float64(n) * part)
		if *bucket == nil {
			*bucket = rate.NewLimiter(limit, burst)
			return
		}
		(*bucket).SetLimitAt(l.now(), limit)
		(*bucket).SetBurstAt(l.now(), burst)
	}
	adjust(&l.whole, 1, burst)
	if l.part < 1 {
		adjust(&l.paced, l.part, batchShare(burst))
		l.reserve = min(float64(burst)*(1-l.part), float64(burst-1))
	}
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

// await spends a token in the order of the line.
func (l *line) await(ctx context.Context, c *call.Call, start time.Time, pace time.Duration) (time.Duration, error) {
	turn := l.join(start)
	defer l.leave()
	if turn > pace { // whoever cannot be served in time is told at once
		return turn, nil
	}
	timer := time.NewTimer(pace)
	defer timer.Stop()
	select {
	case l.head <- struct{}{}:
	default:
		select {
		case l.head <- struct{}{}:
		case <-timer.C:
			return l.turn(), nil
		case <-ctx.Done():
			return givenUp(ctx, l.turn())
		}
	}
	defer func() { <-l.head }()
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
		timer.Reset(short)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return givenUp(ctx, due.Sub(l.now()))
		}
	}
}

// join takes a place in the line and tells how long it takes at least until its turn.
func (l *line) join(now time.Time) (turn time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting > 0 {
		turn = max(l.due.Sub(now), 0) + time.Duration(l.waiting)*l.each()
	}
	l.waiting++
	return turn
}

// turn is how long another one would have to wait in place of the last one in the line.
func (l *line) turn() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.due.Sub(l.now())+time.Duration(l.waiting-1)*l.each(), 1)
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
}

// each is how long one token takes that is open to batch calls. l.mu is held.
func (l *line) each() time.Duration {
	return time.Duration(min(float64(time.Second)/(l.rate.PerSecond*l.part), math.MaxInt64/2))
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
		wait := l.takeOwn(batch)
		l.mu.Unlock()
		return wait
	}
	empty, r := l.empty, l.rate
	if batch && l.batchEmpty.After(empty) {
		empty = l.batchEmpty
	}
	l.mu.Unlock()
	if wait := empty.Sub(l.now()); wait > 0 {
		return wait
	}
	wait, err := l.in.Spend(ctx, &c.Redis, l.name, r, l.part, batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.in.Replicas(); l.ofAll() && n != l.replicas {
		l.divide(n)
	}
	switch {
	case err != nil:
		return l.takeOwn(batch)
	case wait == 0:
		l.takeOwn(false)
	case batch:
		l.batchEmpty = l.now().Add(wait)
	default:
		l.empty = l.now().Add(wait)
	}
	return wait
}

// takeOwn is take from the bucket of this replica. l.mu is held.
func (l *line) takeOwn(batch bool) time.Duration {
	now := l.now()
	if !batch {
		if l.whole.AllowN(now, 1) {
			return 0
		}
		return max(shortage(l.whole, 1, now), 1)
	}
	if short := max(shortage(l.whole, 1+l.reserve, now), shortage(l.paced, 1, now)); short > 0 {
		return short
	}
	l.paced.AllowN(now, 1)
	l.whole.AllowN(now, 1)
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

// givenUp is for a ctx that has ended: a caller who went away gets its cause, one
// whose time is over a refusal like any other.
func givenUp(ctx context.Context, short time.Duration) (time.Duration, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, context.Cause(ctx)
	}
	return short, nil
}

// tooMany is the refusal: 429 with the limit in calls a second, rounded up.
func tooMany(perSecond float64, wait time.Duration, detail string, cause error) error {
	return problem.TooMany(int(math.Ceil(min(perSecond, math.MaxInt32))), wait, detail).Because(cause)
}
