package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/redistest"
)

// bucket runs the script of rates by a clock of its own, so that hours pass in a moment.
type bucket struct {
	t      *testing.T
	script *redis.Script
	server *redistest.Server
	spec   Spec
	now    time.Time
}

func newBucket(t *testing.T, spec Spec) *bucket {
	const clock = "redis.call('TIME')"
	if !strings.Contains(spendText, clock) {
		t.Fatal("the script does not ask for the time")
	}
	script := redis.NewScript(strings.Replace(spendText, clock, "{ARGV[5], ARGV[6]}", 1))
	return &bucket{t, script, redistest.Start(t), spec, time.Unix(1_800_000_000, 0)}
}

// take spends a token, or tells how long it takes until there is one.
func (b *bucket) take(batch bool) time.Duration {
	b.t.Helper()
	args := append(b.spec.args(batch), b.now.Unix(), b.now.Nanosecond()/1000)
	n, err := b.script.Run(b.t.Context(), b.server.Client(), []string{"bucket"}, args...).Int64()
	if err != nil {
		b.t.Fatal(err)
	}
	return time.Duration(n) * time.Microsecond
}

// burst counts how many calls pass at once.
func (b *bucket) burst(batch bool) (n int) {
	for b.take(batch) == 0 {
		n++
	}
	return n
}

func TestNoMoreCallsPassThanTheRateAndTheBurst(t *testing.T) {
	b := newBucket(t, Spec{PerSecond: 7, Burst: 20})
	began, random, admitted := b.now, rand.New(rand.NewPCG(1, 2)), 0
	for b.now.Sub(began) < 10*time.Minute {
		if wait := b.take(false); wait == 0 {
			admitted++
		} else if random.IntN(2) == 0 { // some come when they are told to, others when they like
			b.now = b.now.Add(wait)
		}
		b.now = b.now.Add(time.Duration(random.IntN(150)) * time.Millisecond)
		if most := 20 + 7*b.now.Sub(began).Seconds(); float64(admitted) > most+0.01 {
			t.Fatalf("%d calls after %s", admitted, b.now.Sub(began))
		}
	}
	if least := 0.95 * 7 * 600; float64(admitted) < least {
		t.Errorf("%d calls in ten minutes, and %v were allowed", admitted, least)
	}
}

func TestACallThatComesWhenItIsToldToPasses(t *testing.T) {
	b := newBucket(t, Spec{PerSecond: 3, Burst: 4})
	if n := b.burst(false); n != 4 {
		t.Fatalf("a burst of %d", n)
	}
	for range 100 {
		wait := b.take(false)
		if wait <= 0 || wait > 334*time.Millisecond {
			t.Fatalf("%s to wait for a token of three a second", wait)
		}
		b.now = b.now.Add(wait)
		if again := b.take(false); again != 0 {
			t.Fatalf("after %s it is %s more", wait, again)
		}
	}
	b.now = b.now.Add(time.Hour)
	if n := b.burst(false); n != 4 {
		t.Errorf("a burst of %d after an hour", n)
	}
}

func TestBatchCallsLeaveOthersTheirPart(t *testing.T) {
	b := newBucket(t, Spec{PerSecond: 10, Burst: 10, BatchShare: 0.7})
	if n := b.burst(true); n != 7 {
		t.Errorf("a burst of %d batch calls", n)
	}
	if n := b.burst(false); n != 3 {
		t.Errorf("%d are left to the others", n)
	}
	admitted := 0
	for range 1000 { // for a hundred seconds, with nobody else there
		b.now = b.now.Add(100 * time.Millisecond)
		if b.take(true) == 0 {
			admitted++
		}
	}
	if admitted < 680 || admitted > 700 {
		t.Errorf("%d batch calls of a thousand", admitted)
	}
}

// A failover may lead to a server whose clock is behind, a change of the configuration to
// another rate; and whoever may write to Redis can write anything.
func TestABucketIsNeverEmptierThanItCanBe(t *testing.T) {
	b := newBucket(t, Spec{PerSecond: 10, Burst: 10})
	b.burst(false)
	for name, change := range map[string]func(){
		"the clock goes back": func() { b.now = b.now.Add(-time.Hour) },
		"far ahead":           func() { b.server.Do("SET", "bucket", "9000000000000000.00 9000000000000000.00") },
	} {
		change()
		if wait := b.take(false); wait > 101*time.Millisecond {
			t.Errorf("%s: %s to wait", name, wait)
		}
	}
	for _, garbage := range []string{"garbage", "1 . .", ". .", "", "nan nan", "-1 -1"} {
		b.server.Do("SET", "bucket", garbage)
		if n := b.burst(false); n != 10 {
			t.Errorf("%q: a burst of %d", garbage, n)
		}
	}
}

// awaitTogether waits until replicas know of each other.
func awaitTogether(t testing.TB, list ...*Store) {
	t.Helper()
	redistest.Eventually(t, "the replicas to know of each other", func() error {
		for _, r := range list {
			if n := r.Status().Replicas; n != len(list) {
				return fmt.Errorf("one knows of %d", n)
			}
		}
		return nil
	})
}

// scripts counts the scripts that a server has run.
func scripts(server *redistest.Server) (n int) {
	for line := range strings.Lines(server.Do("INFO", "commandstats").(string)) {
		for _, command := range []string{"eval", "evalsha"} {
			if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
				var calls int
				_, _ = fmt.Sscanf(rest, "%d", &calls)
				n += calls
			}
		}
	}
	return n
}

func TestARateIsOneForAllReplicasInOneRoundTripACall(t *testing.T) {
	server := redistest.Start(t)
	spec := Spec{PerSecond: 0.001, Burst: 60}
	var rates []*Rate
	for range 3 {
		rates = append(rates, idle(t, single(server)).Rate("enterprise "+number.String(), spec))
	}
	rates[0].Take(t.Context(), nil, false) // which brings the script there
	before := scripts(server)
	var admitted atomic.Int64
	var all sync.WaitGroup
	for i := range 99 {
		all.Go(func() {
			if rates[i%3].Take(context.Background(), nil, false) == 0 {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n != 59 {
		t.Errorf("%d of 59 were admitted", n)
	}
	if n := scripts(server) - before; n > 99 {
		t.Errorf("99 calls took %d round trips", n)
	}
	for _, r := range rates {
		r.Take(t.Context(), nil, false)
	}
	before = scripts(server)
	for i := range 1000 {
		if wait := rates[i%3].Take(t.Context(), nil, false); wait < 16*time.Minute {
			t.Fatalf("%s to wait", wait)
		}
	}
	if n := scripts(server) - before; n != 0 {
		t.Errorf("a thousand refusals by an empty bucket took %d round trips", n)
	}
	all2 := string(server.Everything())
	if !strings.Contains(all2, "ebox:gcra:{") || strings.Contains(all2, number.String()) ||
		strings.Contains(all2, "206731645") {
		t.Errorf("Redis shows whose rate it is: %s", all2)
	}
	for _, name := range server.Keys() {
		if server.Do("TTL", name).(int64) < 0 {
			t.Errorf("%s never ends", name)
		}
	}
}

func TestABucketOfAnotherTypeIsBegunAnew(t *testing.T) {
	server := redistest.Start(t)
	r := idle(t, single(server)).Rate("a", Spec{PerSecond: 0.001, Burst: 2})
	server.Do("LPUSH", r.name, "x")
	r.Take(t.Context(), nil, false) // of its own share, since Redis had no answer
	if wait := r.Take(t.Context(), nil, false); wait != 0 || server.Do("TYPE", r.name) != "string" {
		t.Errorf("%s to wait", wait)
	}
}

func TestWithoutRedisEachReplicaSpendsItsShare(t *testing.T) {
	server := redistest.Start(t)
	var clock atomic.Int64
	clock.Store(1_800_000_000_000)
	at := func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(clock.Load()) } }
	first, second := replica(t, single(server), at), replica(t, single(server), at)
	awaitTogether(t, first, second)
	spec := Spec{PerSecond: 100, Burst: 40, BatchShare: 0.7}
	rates := []*Rate{first.Rate("a", spec), second.Rate("a", spec)}
	burst := func(batch bool) (n int) {
		for _, r := range rates {
			for r.Take(t.Context(), nil, batch) == 0 {
				n++
			}
		}
		return n
	}
	if rates[0].Take(t.Context(), nil, false) != 0 {
		t.Fatal("Redis refuses the first call")
	}
	// What one replica has spent in Redis it has not left for the time without.
	for _, r := range []*Store{first, second} {
		r.health.note(away, errors.New("away, for all this test cares"))
	}
	server.Stop()
	if n := burst(false); n != 39 {
		t.Errorf("a burst of %d without Redis", n)
	}
	admitted := 0
	for range 100 {
		clock.Add(10)
		admitted += burst(false)
	}
	if admitted < 98 || admitted > 100 {
		t.Errorf("%d calls in a second of a hundred", admitted)
	}
	clock.Add(int64(time.Minute / time.Millisecond))
	if n, rest := burst(true), burst(false); n != 28 || rest != 12 {
		t.Errorf("%d batch calls, and %d were left for others", n, rest)
	}
	// A replica that has never reached Redis goes by the configuration.
	stranger := idle(t, single(server), at, func(o *Options) { o.Replicas = 5 }).Rate("a", Spec{PerSecond: 5, Burst: 5})
	if wait := stranger.Take(t.Context(), nil, false); wait != 0 {
		t.Errorf("%s to wait for the first call", wait)
	}
	if wait := stranger.Take(t.Context(), nil, false); wait < 900*time.Millisecond || wait > time.Second {
		t.Errorf("%s to wait for a fifth of five a second", wait)
	}
}

func TestAReplicaThatStopsCountsNoMore(t *testing.T) {
	server := redistest.Start(t)
	stays, stops := replica(t, single(server)), idle(t, single(server))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { stops.Run(ctx) })
	awaitTogether(t, stays, stops)
	// One that left without a word, a stranger, and somebody who spoils it all.
	server.Do("HSET", stays.members, "dead", 1, "garbage", "x")
	awaitTogether(t, stays, stops)
	cancel()
	running.Wait()
	awaitTogether(t, stays)
	server.Do("DEL", stays.members)
	server.Do("LPUSH", stays.members, "x")
	redistest.Eventually(t, "the replicas to be counted anew", func() error {
		if kind := server.Do("TYPE", stays.members); kind != "hash" {
			return fmt.Errorf("%v", kind)
		}
		return nil
	})
	awaitUp(t, stays)
}

func TestARequestHasFiftyMillisecondsForRedisAltogether(t *testing.T) {
	r := idle(t, single(redistest.Start(t)), withTimeout(0))
	c := call.New()
	given := func() time.Duration {
		var limit time.Duration
		began := time.Now()
		err := r.ask(t.Context(), &c.Redis, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			limit = deadline.Sub(began)
			return nil
		})
		if errors.Is(err, errSpent) {
			return 0
		}
		return limit
	}
	const slack = time.Second // between two looks at the clock, on a busy machine
	if limit := given(); limit < defaultTimeout || limit > defaultTimeout+slack {
		t.Errorf("the first call may take %s", limit)
	}
	c.Redis.Spend(budget - 5*time.Millisecond - c.Redis.Spent())
	if limit := given(); limit < 4*time.Millisecond || limit > 5*time.Millisecond+slack {
		t.Errorf("with 5 ms left a call may take %s", limit)
	}
	c.Redis.Spend(budget)
	if limit := given(); limit != 0 {
		t.Errorf("with nothing left a call may take %s", limit)
	}
	if s := r.Status(); s.State != StateUp {
		t.Errorf("%+v", s)
	}
}

func TestARedisThatIsAlwaysSlowIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	slow := delay(t, server.Addr, 20*time.Millisecond)
	r := replica(t, Address{Hosts: []string{slow.addr}}, withTimeout(0), withKeys())
	redistest.Eventually(t, "Redis to be left alone", func() error {
		spent := new(call.Allowance)
		for i := range 4 {
			_, _, _ = r.Answers().Load(t.Context(), spent, sharedKey(fmt.Sprint("/referenceData/", i)))
		}
		if s := r.Status(); s.State != StateAway || s.Opened == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	slow.set(0)
	awaitUp(t, r)
}
