package resilience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

// take spends one call of a rate, one of batch if it has a pace.
func take(ctx context.Context, l *resilience.Limits, key resilience.Key, r config.Rate, pace time.Duration) error {
	c := interactive()
	if pace > 0 {
		c = batch(pace)
	}
	return l.Take(ctx, begun(c), key, r)
}

// takes spends n calls, all of which must pass.
func takes(t *testing.T, n int, l *resilience.Limits, key resilience.Key, r config.Rate) {
	t.Helper()
	for i := range n {
		if err := take(context.Background(), l, key, r, 0); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

var (
	ofFirst  = resilience.Key{Enterprise: first}
	ofSecond = resilience.Key{Enterprise: second}
	ofCaller = resilience.Key{Caller: "hr"}
)

// tooManyOf checks the problem of a caller that is to come back after a time, in seconds.
func tooManyOf(t *testing.T, err error, cause error, limit int, retryAfter string) {
	t.Helper()
	p := refusedWith(t, err, 429, cause, retryAfter)
	if member(p, "limit") != limit || p.Type != "urn:problem-type:belgif:tooManyRequests" {
		t.Fatalf("problem %+v", p)
	}
}

func TestEachKeyHasItsOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := resilience.NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 2, Burst: 2}
		for _, k := range []resilience.Key{ofFirst, ofSecond, ofCaller} {
			takes(t, 2, l, k, r)
			tooManyOf(t, take(context.Background(), l, k, r, 0), resilience.ErrRate, 2, "1")
		}
		time.Sleep(time.Second / 2)
		takes(t, 1, l, ofFirst, r)
	})
}

// A rate that was forgotten begins anew.
func TestTheRatesThatWereUsedLastAreRemembered(t *testing.T) {
	const remembered = 50_000
	l := resilience.NewLimits(nil, time.Now)
	r := config.Rate{PerSecond: 0.001, Burst: 1}
	next := 0
	others := func(n int) {
		for range n {
			next++
			takes(t, 1, l, resilience.Key{Enterprise: enterprise.Number(next)}, r)
		}
	}
	takes(t, 1, l, ofCaller, r)
	others(remembered - 1)
	if take(context.Background(), l, ofCaller, r, 0) == nil {
		t.Fatal("a rate in use was forgotten")
	}
	others(2 * remembered)
	takes(t, 1, l, ofCaller, r)
}

func TestBatchHasAllOfARateThatIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := resilience.NewLimits(nil, time.Now)
		start := time.Now()
		for range 110 {
			if err := take(context.Background(), l, ofCaller, config.Rate{PerSecond: 10, Burst: 10},
				time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > seconds(10.01) {
			t.Fatalf("110 calls took %s", took)
		}
	})
}

func TestAChangedRateGoesOnFromWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := resilience.NewLimits(nil, time.Now)
		takes(t, 1, l, ofFirst, config.Rate{PerSecond: 1, Burst: 1})
		more := config.Rate{PerSecond: 100, Burst: 50}
		if err := take(context.Background(), l, ofFirst, more, 0); err == nil {
			t.Fatal("a reload gave a burst away")
		}
		time.Sleep(100 * time.Millisecond)
		takes(t, 10, l, ofFirst, more)
	})
}

func TestACallerHasNoMoreCallsUnderWayThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := resilience.NewLimits(nil, time.Now)
		enter := func(c *call.Call) (leave func()) {
			t.Helper()
			leave, err := l.Enter(context.Background(), begun(c), 2)
			testkit.Must(t, err)
			return leave
		}
		one, other := enter(interactive()), enter(interactive())
		_, err := l.Enter(context.Background(), begun(interactive()), 2)
		tooManyOf(t, err, resilience.ErrConcurrency, 2, "1")
		enter(&call.Call{Caller: "another"})()
		one()
		enter(interactive())()
		other()
	})
}

// All calls of a caller of class batch are batch: it leaves none of its own calls to others.
func TestABatchCallerWaitsForItsOwnCallsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := resilience.NewLimits(nil, time.Now)
		began := time.Now()
		for range 10 {
			go func() {
				c := begun(batch(time.Minute))
				leave, err := l.Enter(context.Background(), c, 2)
				if err != nil || c.Record.Phases.Limits != time.Since(began) {
					t.Errorf("%v, %s noted after %s", err, c.Record.Phases.Limits, time.Since(began))
					return
				}
				time.Sleep(time.Second)
				leave()
			}()
		}
		synctest.Wait()
		_, err := l.Enter(context.Background(), begun(batch(time.Second/2)), 2)
		tooManyOf(t, err, resilience.ErrConcurrency, 2, "1")
		time.Sleep(10 * time.Second)
		for range 2 { // nothing was left behind
			if _, err := l.Enter(context.Background(), begun(batch(0)), 2); err != nil {
				t.Error(err)
			}
		}
	})
}
