package resilience

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

// line is a rate with a line in front of it for batch calls, which wait for their tokens.
//
// Nobody reserves. A reservation that is cancelled while later ones stand is lost,
// so that refusals under load would use up the rate; and a hundred patient callers
// with reservations would leave an impatient one nothing for as long as they all
// wait. Instead the head of the line alone looks for a token, and the others wait
// for their turn. Of a rate for all replicas, the heads of their lines compete.
type line struct {
	bucket
	now func() time.Time
	// head holds one, the head of the line; Go serves its senders in order.
	head chan struct{}

	mu      sync.Mutex // never held while anybody waits
	each    time.Duration
	waiting int       // the head included
	due     time.Time // when there is a token for the head
}

// newLine makes the rate r. in is where it is spent if it is one for all replicas, nil for
// nowhere; batch calls may have part of it.
func newLine(in Shared, name string, r config.Rate, part float64, now func() time.Time) *line {
	l := &line{now: now, head: make(chan struct{}, 1), each: eachOf(r, part)}
	if r.Scope == config.ClusterRate && in != nil {
		l.bucket = &sharedBucket{in: in, name: name, rate: r, part: part, now: now}
	} else {
		l.bucket = newOwnBucket(r, part, now)
	}
	return l
}

// eachOf is how long one token takes that is open to batch calls.
func eachOf(r config.Rate, part float64) time.Duration {
	return time.Duration(min(float64(time.Second)/(r.PerSecond*part), math.MaxInt64/2))
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
		turn = max(l.due.Sub(now), 0) + time.Duration(l.waiting)*l.each
	}
	l.waiting++
	return turn
}

// turn is how long another one would have to wait in place of the last one in the line.
func (l *line) turn() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.due.Sub(l.now())+time.Duration(l.waiting-1)*l.each, 1)
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
}

// set changes the rate of a line whose bucket is this replica's own.
func (l *line) set(own *ownBucket, r config.Rate, part float64) {
	own.set(r, part)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each = eachOf(r, part)
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
