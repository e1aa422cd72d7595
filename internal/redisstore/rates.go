package redisstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
)

// Spec is what a rate of the cluster allows.
type Spec struct {
	// PerSecond is how many calls a second in the long run, more than 0; Burst how many
	// at once, at least 1.
	PerSecond float64
	Burst     int
	// BatchShare is the part of both that is open to batch calls; 0 does not tell them
	// from others.
	BatchShare float64
}

// Rate is one rate for all replicas, counted in Redis by the generic cell rate algorithm
// (GCRA) in one round trip for each call. Over any time t all replicas together admit no
// more than Burst + t × PerSecond calls.
//
// While Redis is away, or does not answer in time, each replica spends its share: both
// numbers divided by the replicas that there were at the last look. A call that Redis
// admits is taken from the share too, so that a Redis that comes and goes does not double
// the rate.
type Rate struct {
	store *Store
	name  string
	spec  Spec

	mu sync.Mutex // never held over the network
	// empty and emptyBatch are until when the bucket is known to hold nothing, for batch
	// calls and for others. Until then a refusal needs no round trip.
	empty, emptyBatch time.Time
	// share is what the replica spends by itself, batchShare what batch calls have of it,
	// for as many replicas as dividedBy says.
	share, batchShare *rate.Limiter
	dividedBy         int64
}

// Rate makes the replica's end of the rate that name names. The name does not show in
// Redis if there are encryption keys. A replica makes each of its rates once.
func (s *Store) Rate(name string, spec Spec) *Rate {
	spec.Burst = max(spec.Burst, 1)
	return &Rate{store: s, name: s.ring.names(forRate, []byte("rate\x00"+name))[0], spec: spec}
}

// Take spends a token if there is one, and otherwise tells how long it takes until there
// may be one. It waits for Redis as long as a allows, and no longer.
func (r *Rate) Take(ctx context.Context, a *call.Allowance, batch bool) time.Duration {
	batch = batch && r.spec.BatchShare > 0
	if wait := r.emptyFor(batch); wait > 0 {
		return wait
	}
	wait, err := r.spend(ctx, a, batch)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.store.o.Now()
	switch {
	case err != nil:
		return r.spendShare(now, batch)
	case wait == 0:
		r.divide(now)
		r.share.AllowN(now, 1)
	case batch:
		r.emptyBatch = now.Add(wait)
	default:
		r.empty = now.Add(wait)
	}
	return wait
}

// emptyFor tells for how long the bucket in Redis is known to hold nothing.
func (r *Rate) emptyFor(batch bool) time.Duration {
	if r.store.health.away() {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	until := r.empty
	if batch && r.emptyBatch.After(until) {
		until = r.emptyBatch
	}
	return max(until.Sub(r.store.o.Now()), 0)
}

// spendText admits a call by the bucket KEYS[1], in which a token comes every ARGV[1]
// microseconds and which holds ARGV[2]. It gives 0, or how many microseconds it takes
// until a call would be admitted.
//
// GCRA keeps one number, the time at which the bucket will be full again: each call moves
// it on by one token's time, from now if it has passed. A call is admitted if that keeps
// it within ARGV[2] tokens' time of now. A bucket that is full is not there at all, and
// Redis drops it by itself.
//
// ARGV[3] is the part of the rate that is open to batch calls, 0 to not tell them apart,
// and ARGV[4] says whether this is one. A batch call leaves the rest of the bucket to
// others, and is held to its part of the rate by a second such number.
const spendText = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local each, burst, part, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'

local function full(text, each, burst)
  local at = tonumber(text) or now
  return math.max(now, math.min(at, now + burst * each))
end

local value = redis.call('GET', KEYS[1]) or ''
local first, second = string.match(value, '^([%d.]+) ([%d.]+)$')
local at, batchAt = full(first, each, burst), now
local wait = at + each - burst * each - now
local batchEach, batchBurst = each, burst
if part > 0 then
  batchEach, batchBurst = each / part, math.max(1, math.floor(burst * part))
  batchAt = full(second, batchEach, batchBurst)
end
if batch then
  local reserve = math.min(burst * (1 - part), burst - 1)
  wait = math.max(wait + reserve * each, batchAt + batchEach - batchBurst * batchEach - now)
end
if wait >= 1 then
  return math.ceil(wait)
end
at = at + each
if batch then
  batchAt = batchAt + batchEach
end
local keep = math.ceil((math.max(at, batchAt) - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.2f %.2f', at, batchAt), 'PX', string.format('%.0f', keep))
return 0`

var spend = redis.NewScript(spendText)

// spend asks Redis for a token.
func (r *Rate) spend(ctx context.Context, a *call.Allowance, batch bool) (wait time.Duration, err error) {
	s := r.store
	err = s.ask(ctx, a, func(ctx context.Context) error {
		n, err := spend.Run(ctx, s.client, []string{r.name}, r.spec.args(batch)...).Int64()
		if err != nil {
			return s.discard(ctx, r.name, err)
		}
		if n < 0 {
			return fmt.Errorf("spending a rate: %w", errGarbage)
		}
		wait = time.Duration(n) * time.Microsecond
		return nil
	})
	return wait, err
}

func (s *Spec) args(batch bool) []any {
	flag := 0
	if batch {
		flag = 1
	}
	return []any{
		strconv.FormatFloat(1e6/s.PerSecond, 'f', -1, 64), s.Burst, strconv.FormatFloat(s.BatchShare, 'f', -1, 64), flag,
	}
}

// spendShare spends a token of the replica's own share, or tells how long it takes until
// there is one. r.mu is held.
func (r *Rate) spendShare(now time.Time, batch bool) time.Duration {
	r.divide(now)
	wait := missing(r.share, 1, now)
	if batch {
		burst := float64(r.share.Burst())
		reserve := min(burst*(1-r.spec.BatchShare), burst-1)
		wait = max(missing(r.share, 1+reserve, now), missing(r.batchShare, 1, now))
	}
	if wait > 0 {
		return wait
	}
	r.share.AllowN(now, 1)
	if batch {
		r.batchShare.AllowN(now, 1)
	}
	return 0
}

// divide makes the share that of the replicas that there are. r.mu is held.
func (r *Rate) divide(now time.Time) {
	n := r.store.replicas.Load()
	if n == 0 {
		n = int64(r.store.o.Replicas)
	}
	if n == r.dividedBy {
		return
	}
	resize := func(l **rate.Limiter, part float64) {
		limit, burst := rate.Limit(part*r.spec.PerSecond), max(1, int(part*float64(r.spec.Burst)))
		if *l == nil {
			*l = rate.NewLimiter(limit, burst)
			return
		}
		(*l).SetLimitAt(now, limit)
		(*l).SetBurstAt(now, burst)
	}
	resize(&r.share, 1/float64(n))
	resize(&r.batchShare, r.spec.BatchShare/float64(n))
	r.dividedBy = n
}

// missing is how long it takes until a limiter holds n tokens.
func missing(l *rate.Limiter, n float64, now time.Time) time.Duration {
	seconds := (n - l.TokensAt(now)) / float64(l.Limit())
	if seconds < 1e-9 { // the rounding of the library's own sums
		return 0
	}
	return time.Duration(math.Ceil(min(seconds, math.MaxInt32) * float64(time.Second)))
}
