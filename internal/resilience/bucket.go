package resilience

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
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

// bucket is what a rate is spent from.
type bucket interface {
	// take spends a token if there is one. Otherwise it returns how long it takes until
	// there may be one, at least a nanosecond. It does not wait for tokens.
	take(ctx context.Context, c *call.Call, batch bool) time.Duration
}

// ownBucket is the token bucket of one replica. Batch calls get a part of its rate and of its
// burst, and never take the rest of the burst.
type ownBucket struct {
	now func() time.Time

	mu    sync.Mutex
	whole *rate.Limiter
	// paced bounds batch calls further, and reserve is what they leave in the bucket; nil
	// and 0 if they may have all of it.
	paced   *rate.Limiter
	reserve float64
}

func newOwnBucket(r config.Rate, part float64, now func() time.Time) *ownBucket {
	burst := max(r.Burst, 1)
	b := &ownBucket{now: now, whole: rate.NewLimiter(rate.Limit(r.PerSecond), burst)}
	if part < 1 {
		b.paced = rate.NewLimiter(rate.Limit(r.PerSecond*part), batchShare(burst))
		b.reserve = min(float64(burst)*(1-part), float64(burst-1))
	}
	return b
}

// set changes the rate; what was left of the old one is left of the new.
func (b *ownBucket) set(r config.Rate, part float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, next := b.now(), newOwnBucket(r, part, b.now)
	b.reserve = next.reserve
	b.whole.SetLimitAt(now, next.whole.Limit())
	b.whole.SetBurstAt(now, next.whole.Burst())
	if b.paced != nil {
		b.paced.SetLimitAt(now, next.paced.Limit())
		b.paced.SetBurstAt(now, next.paced.Burst())
	}
}

func (b *ownBucket) take(_ context.Context, _ *call.Call, batch bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if !batch || b.paced == nil {
		if b.whole.AllowN(now, 1) {
			return 0
		}
		return max(shortage(b.whole, 1, now), 1)
	}
	if short := max(shortage(b.whole, 1+b.reserve, now), shortage(b.paced, 1, now)); short > 0 {
		return short
	}
	b.paced.AllowN(now, 1)
	b.whole.AllowN(now, 1)
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

// sharedBucket is a replica's end of a rate for all replicas. While they cannot agree, it
// spends its share: rate and burst divided by the replicas. What all of them have let pass
// counts against the share too, so that an agreement that comes and goes does not double the
// rate.
type sharedBucket struct {
	in   Shared
	name string
	rate config.Rate
	part float64
	now  func() time.Time

	mu sync.Mutex // never held while Shared is asked
	// empty is until when no call, and batchEmpty until when no batch call, would find a
	// token: a refusal until then asks nobody.
	empty, batchEmpty time.Time
	share             *ownBucket
	replicas          int
}

func (b *sharedBucket) take(ctx context.Context, c *call.Call, batch bool) time.Duration {
	batch = batch && b.part < 1
	if wait := b.knownEmpty(batch); wait > 0 {
		return wait
	}
	wait, err := b.in.Spend(ctx, &c.Redis, b.name, b.rate, b.part, batch)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.divide()
	switch {
	case err != nil:
		return b.share.take(ctx, c, batch)
	case wait == 0:
		b.share.take(ctx, c, false)
	case batch:
		b.batchEmpty = b.now().Add(wait)
	default:
		b.empty = b.now().Add(wait)
	}
	return wait
}

func (b *sharedBucket) knownEmpty(batch bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := b.empty
	if batch && b.batchEmpty.After(until) {
		until = b.batchEmpty
	}
	return max(until.Sub(b.now()), 0)
}

// divide makes the share that of as many replicas as there are. b.mu is held.
func (b *sharedBucket) divide() {
	n := b.in.Replicas()
	if n == b.replicas {
		return
	}
	share := config.Rate{PerSecond: b.rate.PerSecond / float64(n), Burst: b.rate.Burst / n}
	if b.share == nil {
		b.share = newOwnBucket(share, b.part, b.now)
	} else {
		b.share.set(share, b.part)
	}
	b.replicas = n
}
