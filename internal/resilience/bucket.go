package resilience

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// bucket is a token bucket with a line in front of it for calls that may wait.
//
// Nobody reserves. A reservation that is cancelled while later ones stand is lost,
// so that refusals under load would eat up the rate; and a hundred patient callers
// with reservations would leave an impatient one nothing for as long as they all
// wait. Instead the head of the line alone looks for a token, and the others wait
// for their turn. What a refusal says about time is read off the bucket.
type bucket struct {
	whole *rate.Limiter
	// paced bounds those in the line further, and reserve is what they leave in
	// the bucket; nil and 0 if the line may have all of it.
	paced   *rate.Limiter
	reserve float64

	mu      sync.Mutex // of those in the line; never held while anybody waits
	waiting int
	line    chan struct{} // holds one, the head; Go serves its senders in order
}

func newBucket(r Rate) *bucket {
	return &bucket{whole: rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1))}
}

// newSharedBucket makes a bucket whose line gets seven tenths of the rate and of
// the burst and never takes the last three tenths.
func newSharedBucket(r Rate) *bucket {
	b := newBucket(r)
	burst := max(r.Burst, 1)
	b.paced = rate.NewLimiter(rate.Limit(r.PerSecond*batchPart), batchShare(burst))
	b.reserve = min(float64(burst)*(1-batchPart), float64(burst-1))
	return b
}

// set changes the rate of a bucket that is not shared.
func (b *bucket) set(r Rate, now time.Time) {
	b.whole.SetLimitAt(now, rate.Limit(r.PerSecond))
	b.whole.SetBurstAt(now, max(r.Burst, 1))
}

// shortage is how long it takes until limiter holds want tokens.
func shortage(limiter *rate.Limiter, want float64, now time.Time) time.Duration {
	missing := want - limiter.TokensAt(now)
	// Under a nanosecond's worth is the rounding of the library's own sums.
	if missing <= 1e-9*float64(limiter.Limit()) {
		return 0
	}
	seconds := missing / float64(limiter.Limit())
	if seconds > math.MaxInt32 {
		return math.MaxInt32 * time.Second
	}
	return time.Duration(math.Ceil(seconds * float64(time.Second)))
}

// take spends a token if there is one. Otherwise it returns how long it takes until
// there is, at least a nanosecond.
func (b *bucket) take(_ context.Context, _ *call.Call, now time.Time) (short time.Duration) {
	if b.whole.AllowN(now, 1) {
		return 0
	}
	return max(shortage(b.whole, 1, now), 1)
}

// await spends a token in the order of the line, waiting for at most pace. It
// returns how long it would still take if that is not enough: 0 means that the
// token is spent. The error is the cause of a ctx that was cancelled.
func (b *bucket) await(ctx context.Context, _ *call.Call, now func() time.Time,
	pace time.Duration) (time.Duration, error) {
	start := now()
	short, waits := b.join(start, pace)
	if !waits {
		return short, nil
	}
	select {
	case b.line <- struct{}{}:
	default:
		timer := time.NewTimer(pace)
		defer timer.Stop()
		select {
		case b.line <- struct{}{}:
		case <-timer.C:
			return b.leave(now()), nil
		case <-ctx.Done():
			return b.givenUp(ctx, now())
		}
	}
	defer func() { <-b.line }()
	return b.head(ctx, now, start.Add(pace))
}

// join takes a token if nobody waits for it, or a place in the line if its turn
// comes within pace. Whoever cannot be served in time is told at once.
func (b *bucket) join(now time.Time, pace time.Duration) (short time.Duration, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == 0 && b.takeInLine(now) {
		return 0, false
	}
	if short = max(b.shortageOf(b.waiting+1, now), 1); short > pace {
		return short, false
	}
	b.waiting++
	if b.line == nil {
		b.line = make(chan struct{}, 1)
	}
	return short, true
}

// head is the head of the line.
func (b *bucket) head(ctx context.Context, now func() time.Time, until time.Time) (time.Duration, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return b.givenUp(ctx, now())
		}
		t := now()
		short := b.advance(t)
		if short == 0 {
			return 0, nil
		}
		if t.Add(short).After(until) {
			return b.leave(t), nil
		}
		timer.Reset(short)
	}
}

// advance takes a token for the head of the line, or says how long it takes.
func (b *bucket) advance(now time.Time) (short time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.takeInLine(now) {
		b.waiting--
		return 0
	}
	return max(b.shortageOf(1, now), 1)
}

func (b *bucket) takeInLine(now time.Time) bool {
	if b.shortageOf(1, now) > 0 || !b.whole.AllowN(now, 1) {
		return false
	}
	if b.paced != nil {
		b.paced.AllowN(now, 1)
	}
	return true
}

// leave gives up a place in the line and says how long another would have to wait.
func (b *bucket) leave(now time.Time) (short time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting--
	return max(b.shortageOf(b.waiting+1, now), 1)
}

// shortageOf is how long it takes until the line can have n tokens.
func (b *bucket) shortageOf(n int, now time.Time) time.Duration {
	short := shortage(b.whole, float64(n)+b.reserve, now)
	if b.paced != nil {
		short = max(short, shortage(b.paced, float64(n), now))
	}
	return short
}

// givenUp is for a ctx that has ended: a caller who went away gets its cause, one
// whose time is over a refusal like any other. Both leave the line.
func (b *bucket) givenUp(ctx context.Context, now time.Time) (time.Duration, error) {
	short := b.leave(now)
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, context.Cause(ctx)
	}
	return short, nil
}

// tooMany is the refusal: 429 with the limit in calls a second, rounded up.
func tooMany(perSecond float64, wait time.Duration, detail string, cause error) error {
	return problem.TooMany(int(math.Ceil(min(perSecond, math.MaxInt32))), wait, detail).Because(cause)
}
