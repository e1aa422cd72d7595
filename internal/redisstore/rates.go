package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

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

// Spend spends a token of the rate that name names, in one round trip, or else returns how
// long it takes until there may be one. Over any time t all replicas together get no more than
// r.Burst + t × r.PerSecond. A batch call gets batchPart of both; with 1 it is like any other.
// The name does not show in Redis if there are encryption keys.
func (s *Store) Spend(
	ctx context.Context, a *call.Allowance, name string, r config.Rate, batchPart float64, batch bool,
) (wait time.Duration, err error) {
	at := s.rateName(name)
	err = s.ask(ctx, a, func(ctx context.Context) error {
		n, err := spend.Run(ctx, s.client, []string{at}, spendArgs(r, batchPart, batch)...).Int64()
		if err != nil {
			return s.discard(ctx, at, err)
		}
		wait, err = waitOf(n, r, batchPart)
		return err
	})
	return wait, err
}

// waitOf is the wait that the script gave in microseconds. It is never longer than an empty
// bucket takes to fill: whoever can write to Redis may say what it likes.
func waitOf(n int64, r config.Rate, batchPart float64) (time.Duration, error) {
	most := float64(max(r.Burst, 1)) / (r.PerSecond * batchPart)
	if n < 0 || float64(n) > most*1e6+1 {
		return 0, fmt.Errorf("spending a rate: %w", errGarbage)
	}
	return time.Duration(n) * time.Microsecond, nil
}

func (s *Store) rateName(name string) string {
	return s.ring.names(forRate, []byte("rate\x00"+name))[0]
}

func spendArgs(r config.Rate, batchPart float64, batch bool) []any {
	if batchPart == 1 {
		batchPart, batch = 0, false
	}
	each := strconv.FormatFloat(1e6/r.PerSecond, 'f', -1, 64)
	return []any{each, max(r.Burst, 1), strconv.FormatFloat(batchPart, 'f', -1, 64), batch}
}

// Replicas is how many replicas share rates: as many as there were at the last look, or
// Options.Replicas if Redis was never reached.
func (s *Store) Replicas() int {
	if n := s.replicas.Load(); n > 0 {
		return int(n)
	}
	return s.o.Replicas
}
