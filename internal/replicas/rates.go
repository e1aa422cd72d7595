package replicas

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

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

// Rate is one rate for all replicas: a token bucket in Redis, spent in one round trip.
//
// A replica asks for as many tokens at once as calls wait for them, and for up to fifty
// milliseconds' worth of its share ahead if it has been asked for that many lately. While
// the bucket is empty, refusals ask nobody. While Redis is away, or the replica's place
// is over, it spends its own share.
//
// Over any minute all replicas together admit no more than 1.1 times PerSecond, and the
// burst.
type Rate struct {
	ledger  ledger
	members *members
	name    string
	spec    Spec
	now     func() time.Time

	mu sync.Mutex // never held over the network
	// ahead are tokens that were fetched and are not spent.
	ahead int
	// empty and emptyBatch are until when the bucket is known to hold nothing.
	empty, emptyBatch time.Time
	// asking is the call that is under way, wanting how many calls want tokens.
	asking  *asking
	wanting int
	demand  demand
	share   share
}

// asking is a call to Redis that others wait for as well.
type asking struct {
	done chan struct{}
	err  error // valid once done is closed
}

// Rate makes the replica's end of the rate that name names. The name does not show in
// Redis if there are encryption keys. A replica makes each of its rates once.
func (r *Redis) Rate(name string, spec Spec) *Rate {
	return newRate(r, r.members, r.ring.names(forRate, []byte("rate\x00"+name))[0], spec, r.now)
}

func newRate(l ledger, m *members, name string, spec Spec, now func() time.Time) *Rate {
	spec.Burst = max(spec.Burst, 1)
	return &Rate{ledger: l, members: m, name: name, spec: spec, now: now}
}

// Take spends a token if there is one, and otherwise tells how long it takes until there
// may be one. It waits for Redis as long as a allows, and no longer.
func (r *Rate) Take(ctx context.Context, a *call.Allowance, batch bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanting++
	defer func() { r.wanting-- }()
	r.demand.count(r.now())
	batch = batch && r.spec.BatchShare > 0
	for {
		now := r.now()
		if r.ahead > 0 && !batch { // what a batch call may have, Redis knows alone
			r.ahead--
			return 0
		}
		place := r.members.joined(now)
		if place == nil {
			return r.share.take(&r.spec, r.members, now, batch)
		}
		if empty := r.emptyUntil(batch); now.Before(empty) {
			return empty.Sub(now)
		}
		var spent bool
		var err error
		if r.asking != nil {
			err = r.follow(ctx, a)
		} else {
			spent, err = r.ask(ctx, a, place, batch)
		}
		if err != nil {
			return r.share.take(&r.spec, r.members, r.now(), batch)
		}
		if spent {
			return 0
		}
	}
}

func (r *Rate) emptyUntil(batch bool) time.Time {
	if batch && r.emptyBatch.After(r.empty) {
		return r.emptyBatch
	}
	return r.empty
}

// follow waits for the call that is under way. r.mu is held before and after.
func (r *Rate) follow(ctx context.Context, allowance *call.Allowance) error {
	a := r.asking
	r.mu.Unlock()
	defer r.mu.Lock()
	began := time.Now()
	defer func() { allowance.Spend(time.Since(began)) }()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done(): // its own end is found elsewhere; here it is no reason to refuse
		return ctx.Err()
	}
}

// ask asks Redis for tokens, and spends one of them. r.mu is held before and after.
func (r *Rate) ask(ctx context.Context, allowance *call.Allowance, place *reading, batch bool) (spent bool, err error) {
	q := &ask{name: r.name, spec: &r.spec, place: place, batch: batch, want: 1}
	if !batch {
		q.want = r.wanting + r.demand.ahead(r.spec.PerSecond*place.share)
	}
	a := &asking{done: make(chan struct{})}
	r.asking = a
	r.mu.Unlock()
	got, err := r.ledger.take(context.WithoutCancel(ctx), allowance, q) // others wait for it too
	r.mu.Lock()
	r.asking = nil
	if !errors.Is(err, errSpent) { // which is this request's affair: another one asks
		a.err = err
	}
	close(a.done)
	switch {
	case err != nil:
		return false, err
	case got.tokens > 0:
		r.ahead += got.tokens - 1
		return true, nil
	case batch:
		r.emptyBatch = r.now().Add(got.wait)
	default:
		r.empty = r.now().Add(got.wait)
	}
	return false, nil
}

// demand counts calls in steps, to guess how many come next.
type demand struct {
	begun       time.Time
	calls, last int
}

// step is how much is fetched ahead, as time.
const step = 50 * time.Millisecond

func (d *demand) count(now time.Time) {
	if passed := now.Sub(d.begun); passed >= step {
		d.last = d.calls
		if passed >= 2*step {
			d.last = 0
		}
		d.begun, d.calls = now, 0
	}
	d.calls++
}

// ahead is how many tokens to fetch ahead, at a share of the rate.
func (d *demand) ahead(perSecond float64) int { return min(d.last, int(perSecond*step.Seconds())) }

// ask is what is asked for.
type ask struct {
	name  string
	spec  *Spec
	place *reading
	batch bool
	want  int
}

// grant is what was given: tokens, or the time until there is one.
type grant struct {
	tokens int
	wait   time.Duration
}

// take spends up to ARGV[3] tokens of the bucket KEYS[1], which gets ARGV[1] a second and
// holds ARGV[2]. ARGV[4] is the part that is open to batch calls, 0 for all of it, and
// ARGV[5] says whether this is one. ARGV[6] to [9] are the rate clock, Redis's time then,
// its speed in millionths and its birth. It gives the tokens and, if there are none,
// how many microseconds it takes until there is one.
//
// The value is "clock level paced". A bucket that is not there is full, but not if the
// clock was begun anew by replicas that had one: what it held was lost with the old one.
const takeText = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, burst, want, part, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local speed, birth = ARGV[8] / 1000000, tonumber(ARGV[9])
local clock = ARGV[6] + math.floor(math.max(math.min(now - ARGV[7], 1500000), 0) * speed)
local pacedBurst = math.max(1, math.floor(burst * part))
local level, paced = burst, pacedBurst
local value = redis.call('GET', KEYS[1])
local c, l, p
if value then
  c, l, p = string.match(value, '^(%d+) ([%d.]+) ([%d.]+)$')
  c, l, p = tonumber(c), tonumber(l), tonumber(p)
end
if c and l and p then
  local last = c
  if last > clock + 60000000 then last = clock end
  local passed = math.max(clock - last, 0) / 1000000
  clock = math.max(clock, last)
  level, paced = math.min(burst, l + passed * rate), math.min(pacedBurst, p + passed * rate * part)
else
  local passed = (clock - birth) / 1000000
  level, paced = math.min(burst, passed * rate), math.min(pacedBurst, passed * rate * part)
end
local near = 0.000001
local given, missing = 0, 0
if batch and part > 0 then
  local reserve = math.min(burst * (1 - part), burst - 1)
  missing = math.max(1 + reserve - level, (1 - paced) / part)
  if missing <= near then
    given, paced = 1, math.max(paced - 1, 0)
  end
else
  missing = 1 - level
  if missing <= near then
    given = math.min(want, math.floor(level + near))
  end
end
level = math.max(level - given, 0)
redis.call('SET', KEYS[1], string.format('%.0f %.9f %.9f', clock, level, paced), 'PX', math.ceil(60000 + math.min(10 * burst / rate, 86400) * 1000))
if given > 0 then
  return {given, 0}
end
return {0, math.ceil(math.min(missing / rate / math.max(speed, 0.000001), 3600) * 1000000)}`

var spend = redis.NewScript(takeText)

// take implements ledger.
func (r *Redis) take(ctx context.Context, a *call.Allowance, q *ask) (got grant, err error) {
	err = r.call(ctx, a, func(ctx context.Context) error {
		numbers, err := spend.Run(ctx, r.client, []string{q.name}, q.args()...).Int64Slice()
		if err != nil {
			return r.discard(ctx, q.name, err)
		}
		got, err = grantOf(numbers)
		return err
	})
	return got, err
}

func (q *ask) args() []any {
	batch := 0
	if q.batch {
		batch = 1
	}
	return []any{
		strconv.FormatFloat(q.spec.PerSecond, 'f', -1, 64), q.spec.Burst, q.want, strconv.FormatFloat(q.spec.BatchShare,
			'f', -1, 64), batch,
		q.place.clock, q.place.at, int64(q.place.speed * 1e6), q.place.birth,
	}
}

func grantOf(n []int64) (grant, error) {
	if len(n) != 2 || n[0] < 0 || n[1] < 0 {
		return grant{}, fmt.Errorf("spending a rate: %w", errGarbage)
	}
	return grant{tokens: int(n[0]), wait: max(time.Duration(n[1])*time.Microsecond, time.Millisecond)}, nil
}
