package replicas

import (
	"context"
	"ebox-gateway/internal/call"
	"encoding/base64"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Replicas know of each other by places that they hold in Redis. A place is a lease: who
// does not renew it is taken to be on its own, admitting its share of each rate by
// itself, and what is left of the rates is counted in Redis.
//
// Nobody has to be told at once, since the rates are counted by a clock of their own,
// kept beside the places: it goes on by the time that passes, less the shares of those
// on their own. A share begins in the moment in which a place is over, on the replica and
// in Redis; so that at no time the shares and the clock together are more than the whole.
const (
	// renewing is how often a place is renewed, leasing how long it lasts.
	renewing = 500 * time.Millisecond
	leasing  = 3 * renewing
	// forgetting is how long a replica that left without a word keeps its share. It may
	// have died, or be cut off from Redis alone and still admit calls.
	forgetting = 2 * time.Minute
)

// muster renews the place of ARGV[1] in KEYS[1] for ARGV[2] microseconds, or gives it up
// if that is 0. ARGV[3] is the latest rate clock that the replica knows, 0 for none, and
// ARGV[4] after how many microseconds a replica is forgotten. It gives the time, the rate
// clock, the clock's birth, its speed and the replica's share in millionths, and how many
// replicas there are and how many of them are on their own.
//
// A place is "until share". A newcomer gets what the others leave of the whole, which is
// its part when all of them have renewed their places once. If Redis has lost the places,
// the first to return, with the share ARGV[5] that it had, knows what the others had: that
// is apart, under "lost", until each has come back for its own.
const musterText = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local clock, at, birth
local places, known, apart = {}, 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name, value = all[i], all[i + 1]
  if name == 'clock' then
    local c, a, b = string.match(value, '^(%d+) (%d+) (%-?%d+)$')
    clock, at, birth = tonumber(c), tonumber(a), tonumber(b)
  else
    local u, s = string.match(value, '^(%d+) ([%d.]+)$')
    u, s = tonumber(u), tonumber(s)
    if not u or not s or u + ARGV[4] < now then
      redis.call('HDEL', KEYS[1], name)
    else
      places[name] = {u, s}
    end
  end
end
if clock then
  if now > at then
    local passed = now - at
    for name, p in pairs(places) do
      passed = passed - math.max(now - math.max(at, p[1]), 0) * p[2]
    end
    clock, at = clock + math.max(passed, 0), now
  end
  clock = math.max(clock, tonumber(ARGV[3]))
else
  clock, at, birth = now, now, now
  if ARGV[3] == '0' then birth = now - 3600000000 end
end
local self, others, speed = ARGV[1], 0, 1
local lost, had = places.lost, tonumber(ARGV[5])
if birth == now and had > 0 then
  lost = {now, 1 - had}
elseif lost and not places[self] then
  lost[2] = lost[2] - had
end
if lost then
  places.lost = lost
  if lost[2] < 0.001 then
    places.lost = nil
    redis.call('HDEL', KEYS[1], 'lost')
  else
    redis.call('HSET', KEYS[1], 'lost', string.format('%.0f %.6f', lost[1], lost[2]))
  end
end
for name, p in pairs(places) do
  if name ~= self then
    known, others = known + 1, others + p[2]
    if p[1] <= now then apart, speed = apart + 1, speed - p[2] end
  end
end
local share = 0
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], self)
else
  known = known + 1
  share = math.max(math.min(1 / known, 1 - others), 0)
  redis.call('HSET', KEYS[1], self, string.format('%.0f %.6f', now + ARGV[2], share))
end
redis.call('HSET', KEYS[1], 'clock', string.format('%.0f %.0f %.0f', clock, at, birth))
redis.call('PEXPIRE', KEYS[1], 86400000)
return {now, clock, birth, math.floor(math.max(speed, 0) * 1000000), math.floor(share * 1000000), known, apart}`

var muster = redis.NewScript(musterText)

// reading is what a replica learned when it renewed its place.
type reading struct {
	// at is Redis's time and clock the rate clock, birth where that began: all in
	// microseconds.
	at, clock, birth int64
	// speed is how much of the rates is counted in Redis, share this replica's part.
	speed, share float64
	// known are the replicas, apart those among them that are on their own.
	known, apart int
	// era is how often Redis had been away.
	era uint64
}

// members is a replica's view of the others.
type members struct {
	ledger ledger
	now    func() time.Time
	// assumed is how many replicas there are, as long as Redis has not said.
	assumed int
	last    atomic.Pointer[reading]

	mu sync.Mutex
	// until is when the place is over, or was. Before it, alone is how long the replica
	// was on its own.
	until time.Time
	alone time.Duration
	// lapsed says that the place could not be renewed the last time.
	lapsed bool
}

// ledger is Redis as the rates see it. An error means that it is away.
type ledger interface {
	// muster renews the place, or gives it up if lease is 0; last is the reading before.
	muster(ctx context.Context, lease time.Duration, last reading) (reading, error)
	// take asks for tokens.
	take(ctx context.Context, a *call.Allowance, ask *ask) (grant, error)
	// era tells how often Redis has been away, and whether it is.
	era() (era uint64, away bool)
}

func newMembers(l ledger, assumed int, now func() time.Time) *members {
	return &members{ledger: l, now: now, assumed: max(assumed, 1), until: now()}
}

// renew renews the place. One that may have been renewed without our being told is held
// to be: counted as ours by Redis, it must not count as a share of our own as well.
func (m *members) renew(ctx context.Context) error {
	era, away := m.ledger.era()
	if away {
		return errAway
	}
	var last reading
	if known := m.last.Load(); known != nil {
		last = *known
	}
	r, err := m.ledger.muster(ctx, leasing, last)
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		r.era = era
		m.last.Store(&r)
	}
	if err == nil || !m.lapsed {
		m.alone += max(now.Sub(m.until), 0)
		m.until = now.Add(leasing)
	}
	m.lapsed = err != nil
	return err
}

// joined gives the last reading while the place counts, and Redis can be asked. A Redis
// that was away since then may be another one, which knows no clock yet.
func (m *members) joined(now time.Time) *reading {
	last := m.last.Load()
	if last == nil {
		return nil
	}
	if era, away := m.ledger.era(); away || era != last.era {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lapsed || !now.Before(m.until) {
		return nil
	}
	return last
}

// apart gives how long the replica has been on its own in all, how long its place still
// counts, and its share.
func (m *members) apart(now time.Time) (alone, left time.Duration, share float64) {
	share = 1 / float64(m.assumed)
	if last := m.last.Load(); last != nil {
		share = max(last.share, 0.01) // a newcomer's may be none, and nobody waits for ever
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.alone + max(now.Sub(m.until), 0), max(m.until.Sub(now), 0), share
}

// mustering renews this replica's place until ctx is done, and then gives it up.
func (r *Redis) mustering(ctx context.Context) {
	tick := time.NewTicker(renewing)
	defer tick.Stop()
	for {
		_ = r.members.renew(ctx) // the probe finds out what is wrong
		select {
		case <-ctx.Done():
			_, _ = r.muster(context.WithoutCancel(ctx), 0, reading{})
			return
		case <-tick.C:
		}
	}
}

// era implements ledger.
func (r *Redis) era() (uint64, bool) { return r.circuit.opened.Load(), !r.circuit.closed() }

// muster implements ledger. No request waits for it, so that it has more time than one.
func (r *Redis) muster(ctx context.Context, lease time.Duration, last reading) (reading, error) {
	var got reading
	err := r.attempt(ctx, false, saving*r.patience, func(ctx context.Context) error {
		numbers, err := muster.Run(ctx, r.client, []string{r.prefix + "replicas"},
			musterArgs(base64.RawURLEncoding.EncodeToString(r.self[:]), lease, last)...).Int64Slice()
		if err != nil {
			return r.discard(ctx, r.prefix+"replicas", err)
		}
		got, err = readingOf(numbers)
		return err
	})
	return got, err
}

func musterArgs(self string, lease time.Duration, last reading) []any {
	return []any{self, lease.Microseconds(), last.clock, forgetting.Microseconds(),
		strconv.FormatFloat(last.share, 'f', 6, 64)}
}

func readingOf(n []int64) (reading, error) {
	if len(n) != 7 {
		return reading{}, fmt.Errorf("counting the replicas: %w", errGarbage)
	}
	return reading{at: n[0], clock: n[1], birth: n[2], speed: float64(n[3]) / 1e6, share: float64(n[4]) / 1e6,
		known: int(n[5]), apart: int(n[6])}, nil
}
