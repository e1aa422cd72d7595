package resilience

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// take spends one call of a rate, one of batch if it has a pace.
func take(ctx context.Context, l *Limits, key Key, r config.Rate, pace time.Duration) error {
	c := interactive()
	if pace > 0 {
		c = batch(pace)
	}
	return l.Take(ctx, begun(c), key, r)
}

// begun completes a call that is not sent.
func begun(c *call.Call) *call.Call { return requestOf(context.Background(), "GET", c).c }

func byEnterprise(n enterprise.Number) Key { return Key{Enterprise: n} }

func TestEachKeyHasItsOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 2, Burst: 2}
		keys := []Key{byEnterprise(first), byEnterprise(second), {Caller: "hr"}}
		for _, k := range keys {
			for range 2 {
				if err := take(context.Background(), l, k, r, 0); err != nil {
					t.Fatal(err)
				}
			}
			err := take(context.Background(), l, k, r, 0)
			refusedWith(t, err, 429, ErrRate, "1")
			if p := problem.From(err); member(p, "limit") != 2 || p.Type != "urn:problem-type:belgif:tooManyRequests" {
				t.Fatalf("problem %+v", p)
			}
		}
		time.Sleep(time.Second / 2)
		if err := take(context.Background(), l, keys[0], r, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRetryAfterOfARateIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 0.1, Burst: 1}
		_ = take(context.Background(), l, byEnterprise(first), r, 0)
		time.Sleep(seconds(2.5))
		refusedWith(t, take(context.Background(), l, byEnterprise(first), r, 0), 429, ErrRate, "8")
		time.Sleep(seconds(7.5)) // to the moment
		if err := take(context.Background(), l, byEnterprise(first), r, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMemoryForRatesIsBounded(t *testing.T) {
	l := NewLimits(nil, time.Now)
	l.max = 100
	r := config.Rate{PerSecond: 0.001, Burst: 1}
	for i := range 10_000 {
		if err := take(context.Background(), l, byEnterprise(enterprise.Number(i)), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	if l.recent.Len() != 100 || len(l.entries) != 100 {
		t.Fatalf("%d keys kept, %d in the index", l.recent.Len(), len(l.entries))
	}
	// The last ones are remembered, and who is used stays.
	for i := range 200 {
		if err := take(context.Background(), l, byEnterprise(9_999), r, 0); err == nil {
			t.Fatal("a key in use was forgotten")
		}
		_ = take(context.Background(), l, byEnterprise(enterprise.Number(20_000+i)), r, 0)
	}
	// Who was forgotten gets its burst again, and no more.
	if err := take(context.Background(), l, byEnterprise(1), r, 0); err != nil {
		t.Fatal(err)
	}
	if err := take(context.Background(), l, byEnterprise(1), r, 0); err == nil {
		t.Fatal("more than the burst")
	}
}

func TestAPatientCallWaitsInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 2, Burst: 1}
		start := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				c := begun(batch(2 * time.Second))
				if err := l.Take(context.Background(), c, byEnterprise(first), r); err != nil {
					t.Error(err)
				}
				if c.Record.Phases.Limits != time.Since(start) {
					t.Errorf("waited %s, noted %s", time.Since(start), c.Record.Phases.Limits)
				}
			})
		}
		synctest.Wait()
		err := take(context.Background(), l, byEnterprise(first), r, 2*time.Second)
		refusedWith(t, err, 429, ErrRate, "3") // four are waiting: its turn is in two and a half
		wg.Wait()
		if took := time.Since(start); took < 2*time.Second || took > 2*time.Second+time.Microsecond {
			t.Fatalf("five calls took %s", took)
		}
	})
}

func TestWhatWasWaitedElsewhereCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 1, Burst: 1}
		ctx, c := context.Background(), begun(batch(2500*time.Millisecond))
		for range 3 { // at once, and two waits of a second
			if err := l.Take(ctx, c, byEnterprise(first), r); err != nil {
				t.Fatal(err)
			}
		}
		refusedWith(t, l.Take(ctx, c, byEnterprise(first), r), 429, ErrRate, "1")
	})
}

func TestBatchHasAllOfARateThatIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		start := time.Now()
		for range 110 {
			if err := take(context.Background(), l, Key{Caller: "payroll"}, config.Rate{PerSecond: 10, Burst: 10},
				time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > seconds(10.01) {
			t.Fatalf("110 calls took %s", took)
		}
	})
}

func TestWhoGoesAwayStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		r := config.Rate{PerSecond: 0.01, Burst: 1}
		_ = take(context.Background(), l, byEnterprise(first), r, 0)
		ctx, cancel := context.WithCancelCause(context.Background())
		end := make(chan error)
		go func() { end <- take(ctx, l, byEnterprise(first), r, time.Hour) }()
		synctest.Wait()
		gone := errors.New("the caller is gone")
		cancel(gone)
		if err := <-end; err != gone {
			t.Fatalf("the error is %v", err)
		}
		limited, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		refusedWith(t, take(limited, l, byEnterprise(first), r, time.Hour), 429, ErrRate, "99")
	})
}

func TestAChangedRateGoesOnFromWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		spend := func(r config.Rate) error { return take(context.Background(), l, byEnterprise(first), r, 0) }
		_ = spend(config.Rate{PerSecond: 1, Burst: 1})
		if err := spend(config.Rate{PerSecond: 100, Burst: 50}); err == nil {
			t.Fatal("a reload gave a burst away")
		}
		time.Sleep(100 * time.Millisecond)
		for i := range 10 {
			if err := spend(config.Rate{PerSecond: 100, Burst: 50}); err != nil {
				t.Fatalf("call %d under the new rate: %v", i, err)
			}
		}
	})
}

func TestLimitsUnderManyCallers(t *testing.T) {
	l := NewLimits(nil, time.Now)
	l.max = 50
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 2000 {
				r := config.Rate{PerSecond: 1e6, Burst: 1 + j%2}
				_ = take(context.Background(), l, byEnterprise(enterprise.Number((i*j)%200)), r,
					time.Duration(j%2)*time.Millisecond)
			}
		})
	}
	wg.Wait()
	if l.recent.Len() > 50 || len(l.entries) != l.recent.Len() {
		t.Fatalf("%d keys kept, %d in the index", l.recent.Len(), len(l.entries))
	}
}

func TestACallerHasNoMoreCallsUnderWayThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
		enter := func(ctx context.Context, c *call.Call) (func(), error) { return l.Enter(ctx, begun(c), 2) }
		var leave []func()
		for range 2 {
			end, err := enter(context.Background(), interactive())
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, end)
		}
		_, err := enter(context.Background(), interactive())
		refusedWith(t, err, 429, ErrConcurrency, "1")
		if p := problem.From(err); member(p, "limit") != 2 || p.Type != "urn:problem-type:belgif:tooManyRequests" {
			t.Errorf("problem %+v", p)
		}
		other, err := enter(context.Background(), &call.Call{Caller: "another"})
		if err != nil {
			t.Errorf("another caller: %v", err)
		}
		other()
		leave[0]()
		if leave[0], err = enter(context.Background(), interactive()); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
		leave[0]()
		leave[1]()
	})
}

// All calls of a caller of class batch are batch: it leaves none of its own calls to others.
func TestABatchCallerWaitsForItsOwnCallsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(nil, time.Now)
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
		refusedWith(t, err, 429, ErrConcurrency, "1")
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second/4, cancel)
		if _, err := l.Enter(ctx, begun(batch(time.Minute)), 2); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that went away: %v", err)
		}
		time.Sleep(10 * time.Second)
		for range 2 { // nothing was left behind
			if _, err := l.Enter(context.Background(), begun(batch(0)), 2); err != nil {
				t.Error(err)
			}
		}
	})
}
