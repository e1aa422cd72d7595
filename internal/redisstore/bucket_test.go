// Inside, since the script of rates is run by a clock of its own.

package redisstore

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redistest"
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
