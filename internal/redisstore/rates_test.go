package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// bucket runs the script of rates by a clock of its own, so that hours pass in a moment; nor
// does a bucket end by Redis's clock.
type bucket struct {
	t      *testing.T
	script string
	server *redistest.Server
	rate   config.Rate
	part   float64
	now    time.Time
}

func newBucket(t *testing.T, r config.Rate, part float64) *bucket {
	script := spendText
	for real, ours := range map[string]string{"redis.call('TIME')": "{ARGV[5], ARGV[6]}", ", 'PX', string": ") --"} {
		if !strings.Contains(script, real) {
			t.Fatalf("the script does not say %s", real)
		}
		script = strings.Replace(script, real, ours, 1)
	}
	return &bucket{t, script, redistest.Start(t), r, part, time.Unix(1_800_000_000, 0)}
}

// take spends a token, or returns how long it takes until there is one.
func (b *bucket) take(batch bool) time.Duration {
	b.t.Helper()
	args := append(spendArgs(b.rate, b.part, batch), b.now.Unix(), b.now.Nanosecond()/1000)
	n := b.server.Do(append([]any{"EVAL", b.script, 1, "bucket"}, args...)...)
	return time.Duration(n.(int64)) * time.Microsecond
}

// burst checks how many calls pass at once.
func (b *bucket) burst(when string, batch bool, want int) {
	b.t.Helper()
	n := 0
	for b.take(batch) == 0 {
		n++
	}
	if n != want {
		b.t.Errorf("%s: a burst of %d, want %d", when, n, want)
	}
}

func TestNoMoreCallsPassThanTheRateAndTheBurst(t *testing.T) {
	b := newBucket(t, config.Rate{PerSecond: 7, Burst: 20}, 1)
	began, random, admitted := b.now, rand.New(rand.NewPCG(1, 2)), 0
	for b.now.Sub(began) < 10*time.Minute {
		if wait := b.take(false); wait == 0 {
			admitted++
		} else if random.IntN(2) == 0 { // some come when they are told to, others when they like
			b.now = b.now.Add(wait)
			if again := b.take(false); again != 0 {
				t.Fatalf("after %s it is %s more", wait, again)
			}
			admitted++
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

func TestBatchCallsLeaveOthersTheirPart(t *testing.T) {
	b := newBucket(t, config.Rate{PerSecond: 10, Burst: 10}, 0.7)
	b.burst("of batch", true, 7)
	b.burst("of the others", false, 3)
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
	b := newBucket(t, config.Rate{PerSecond: 10, Burst: 10}, 1)
	b.burst("at first", false, 10)
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
		b.burst(garbage, false, 10)
	}
}

// awaitTogether waits until replicas know of each other.
func awaitTogether(t testing.TB, list ...*Store) {
	t.Helper()
	testkit.Await(t, "the replicas to know of each other", func() error {
		for _, r := range list {
			if n := r.Status().Replicas; n < len(list) {
				return fmt.Errorf("one knows of %d", n)
			}
		}
		return nil
	})
}

// rate is one that no call of a test waits for.
func rate(burst int) config.Rate { return config.Rate{PerSecond: 0.001, Burst: burst} }

func TestARateIsOneForAllReplicas(t *testing.T) {
	server := redistest.Start(t)
	replicas := []*Store{idle(t, single(server)), idle(t, single(server)), idle(t, single(server))}
	spend := func(i int) bool {
		wait, err := replicas[i%3].Spend(context.Background(), nil, "enterprise "+number.String(), rate(60), 1, false)
		if err != nil || wait > 1000*time.Second {
			t.Errorf("%s to wait, %v", wait, err)
		}
		return wait == 0
	}
	var admitted atomic.Int64
	var all sync.WaitGroup
	for i := range 99 {
		all.Go(func() {
			if spend(i) {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n != 60 {
		t.Errorf("%d of 60 were admitted", n)
	}
	for _, name := range server.Keys() {
		if server.Do("TTL", name).(int64) < 0 {
			t.Errorf("%s never ends", name)
		}
	}
}

func TestAWaitThatNoBucketCanAskForIsNotUsed(t *testing.T) {
	r := config.Rate{PerSecond: 2, Burst: 10}
	for n, want := range map[int64]bool{0: true, 1: true, 5e6: true, 5e6 + 10: false, -1: false, math.MaxInt64: false} {
		wait, err := waitOf(n, r, 1)
		if (err == nil) != want || want && wait != time.Duration(n)*time.Microsecond {
			t.Errorf("%d: %s, %v", n, wait, err)
		}
	}
	if _, err := waitOf(6e6, r, 0.7); err != nil {
		t.Errorf("for batch calls: %v", err)
	}
}

func TestWithoutRedisARateIsAnErrorAndTheReplicasAreKnown(t *testing.T) {
	server := redistest.Start(t)
	first, second := replica(t, single(server)), replica(t, single(server))
	awaitTogether(t, first, second)
	server.Stop()
	testkit.Await(t, "Redis to be away", func() error {
		if _, err := first.Spend(t.Context(), nil, "a", rate(1), 1, false); !errors.Is(err, errAway) {
			return fmt.Errorf("the error is %w", err)
		}
		return nil
	})
	if n := first.Replicas(); n != 2 {
		t.Errorf("%d replicas share a rate", n)
	}
	// A replica that has never reached Redis goes by the configuration.
	if n := idle(t, single(server), func(o *Options) { o.Replicas = 5 }).Replicas(); n != 5 {
		t.Errorf("%d replicas share a rate, it is said", n)
	}
}

// counts has a replica look, and checks how many it then counts.
func counts(t *testing.T, r *Store, want int) {
	t.Helper()
	testkit.Must(t, r.look(t.Context()))
	if n := r.Replicas(); n != want {
		t.Fatalf("%d replicas share a rate, not %d", n, want)
	}
}

func TestReplicasThatStopCountNoMore(t *testing.T) {
	server, stays := fresh(t)
	stops := idle(t, single(server))
	counts(t, stays, 1)
	counts(t, stops, 2)
	counts(t, stays, 2)
	server.Do("FLUSHALL")
	counts(t, stays, 2) // the other one has not looked yet
	counts(t, stops, 2)
	counts(t, stays, 2)
	// Two that left without a word, a stranger, and somebody who spoils it all.
	server.Do("HSET", stays.members, "stopped", "1 ", stops.id, "1 ", "garbage", "x")
	for range fewerAfter {
		counts(t, stays, 2)
	}
	counts(t, stays, 1)
	server.Do("DEL", stays.members)
	server.Do("LPUSH", stays.members, "x")
	if err := stays.look(t.Context()); err == nil {
		t.Error("a list was taken for the members")
	}
	counts(t, stays, 1)
}

func TestARequestHasFiftyMillisecondsForRedisAltogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := idle(t, config.RedisAddress{Hosts: []string{"127.0.0.1:1"}}, withTimeout(short))
		c := call.New()
		given := func(want time.Duration) {
			t.Helper()
			var limit time.Duration
			err := r.ask(t.Context(), &c.Redis, func(ctx context.Context) error {
				deadline, _ := ctx.Deadline()
				limit = time.Until(deadline)
				return nil
			})
			if limit != want || errors.Is(err, errSpent) != (want == 0) {
				t.Errorf("a call may take %s, not %s: %v", limit, want, err)
			}
		}
		given(short)
		c.Redis.Spend(budget - 5*time.Millisecond)
		given(5 * time.Millisecond)
		c.Redis.Spend(5 * time.Millisecond)
		given(0)
		if s := r.Status(); s.State != StateUp {
			t.Errorf("%+v", s)
		}
	})
}

func TestARedisThatIsAlwaysSlowIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	slow := delay(t, server.Addr, 20*time.Millisecond)
	r := replica(t, config.RedisAddress{Hosts: []string{slow.addr}}, withTimeout(short), withKeys())
	testkit.Await(t, "Redis to be left alone", func() error {
		spent := new(call.Allowance)
		for i := range 4 {
			_, _, _ = r.Load(t.Context(), spent, sharedKey(fmt.Sprint("/referenceData/", i)))
		}
		if s := r.Status(); s.State != StateAway || s.Opened == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	slow.by.Store(0)
	awaitUp(t, r)
}
