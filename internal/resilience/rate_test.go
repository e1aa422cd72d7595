package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

func limited(perSecond float64, burst int) *resilience.Upstream {
	return protect(resilience.Settings{Rate: config.Rate{PerSecond: perSecond, Burst: burst}})
}

func TestBeyondTheUpstreamsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(0.25, 3)
		rt := u.Rate(answers(200))
		for range 3 {
			passes(t, rt, request("GET", first))
		}
		refused := func(retryAfter int64) {
			t.Helper()
			_, err := do(rt, request("GET", first))
			p := refusedWith(t, err, 429, resilience.ErrUpstreamRate, fmt.Sprint(retryAfter))
			if member(p, "limit") != 1 || member(p, "retryAfterSec") != retryAfter {
				t.Fatalf("members %v", p.Members)
			}
		}
		for range 50 { // refusals cost nothing
			refused(4)
		}
		time.Sleep(seconds(2.5))
		refused(2)
		time.Sleep(seconds(1.5)) // four seconds in all, as was said
		passes(t, rt, request("GET", first))
		if s := u.State(); s.RefusedRate != 51 {
			t.Errorf("%d refused", s.RefusedRate)
		}
	})
}

func TestInteractiveCallsBesideBatchThatSaturates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := limited(10, 10).Rate(answers(200))
		ctx, cancel := context.WithCancel(context.Background())
		defer func() { cancel(); synctest.Wait() }()
		served := make(chan struct{}, 10_000)
		for range 200 {
			go func() {
				for ctx.Err() == nil {
					if status, _ := do(rt, requestOf(ctx, "GET", batch(time.Minute))); status == 200 {
						served <- struct{}{}
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		// The last three tenths of the burst at once, then of the rate, and none is refused.
		for range 3 {
			passes(t, rt, request("GET", first))
		}
		before := len(served)
		for range 300 {
			time.Sleep(time.Second / 3)
			passes(t, rt, request("GET", first))
		}
		if got := len(served) - before; got < 650 || got > 700 {
			t.Errorf("%d batch calls in 100 s, want 700 or a little less", got)
		}
	})
}

func TestABatchCallThatGetsNoTokenWithinItsPaceIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := limited(1, 2).Rate(answers(200))
		first3 := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := do(rt, requestOf(context.Background(), "GET", batch(10*time.Second)))
				first3 <- err
			}()
		}
		synctest.Wait()
		for range 30 { // takes each token as it comes
			_, _ = do(rt, request("GET", first))
			time.Sleep(500 * time.Millisecond)
		}
		if a, b, c := <-first3, <-first3, <-first3; a != nil || b == nil || c == nil {
			t.Fatalf("%v, %v, %v: want the two refused that did not come at once", a, b, c)
		}
	})
}

func TestABatchCallThatCannotBeServedInTimeIsRefusedAtOnce(t *testing.T) {
	testkit.Table(t, map[string]func() *resilience.Upstream{
		"alone":           func() *resilience.Upstream { return limited(0.1, 1) },
		"of_all_replicas": func() *resilience.Upstream { return agree().upstream(ofAll(0.1, 1)) },
	}, func(t *testing.T, upstream func() *resilience.Upstream) {
		u := upstream()
		rt := u.Rate(answers(200))
		passes(t, rt, requestOf(context.Background(), "GET", batch(time.Second)))
		began := time.Now()
		refused := func(c *call.Call, retryAfter string) {
			t.Helper()
			refusedWith(t, <-send(context.Background(), rt, c), 429, resilience.ErrUpstreamRate, retryAfter)
			if took := time.Since(began); took > 0 {
				t.Errorf("it was told after %s", took)
			}
		}
		refused(batch(5*time.Second), "15")
		spent := batch(10 * time.Second) // of which it has waited nine elsewhere
		spent.Start = time.Now().Add(-9 * time.Second)
		refused(spent, "15")
		// A long line is told at once, and one who goes away leaves it.
		ctx, cancel := context.WithCancelCause(context.Background())
		patient := send(ctx, rt, batch(time.Minute))
		synctest.Wait()
		refused(batch(2*time.Second), "29")
		gone := errors.New("the caller is gone")
		cancel(gone)
		if err := <-patient; err != gone {
			t.Error(err)
		}
		limited, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		// Out of time is no leaving.
		refusedWith(t, <-send(limited, rt, batch(time.Minute)), 429, resilience.ErrUpstreamRate, "14")
		if n := u.State().RefusedRate; n != 4 {
			t.Errorf("%d refused", n)
		}
		time.Sleep(seconds(13.3))
		passes(t, rt, requestOf(context.Background(), "GET", batch(time.Second))) // the line is empty
	})
}

// agreed is where two replicas spend their rates: one bucket for each name.
type agreed struct {
	mu       sync.Mutex
	away     bool
	replicas int
	buckets  map[string][2]*rate.Limiter // for all calls, and for those of batch
	asked    []bool                      // batch or not
}

func agree() *agreed { return &agreed{replicas: 2, buckets: make(map[string][2]*rate.Limiter)} }

func (a *agreed) Spend(ctx context.Context, _ *call.Allowance, name string, r config.Rate, part float64,
	batch bool) (time.Duration, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return 0, errors.New("away")
	}
	a.asked = append(a.asked, batch)
	bucket, ok := a.buckets[name]
	if !ok {
		bucket[0] = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
		bucket[1] = rate.NewLimiter(rate.Limit(r.PerSecond*part), r.Burst)
		a.buckets[name] = bucket
	}
	limiters := bucket[:1]
	if batch {
		limiters = bucket[:]
	}
	now := time.Now()
	var wait time.Duration
	var spent []*rate.Reservation
	for _, l := range limiters {
		of := l.ReserveN(now, 1)
		wait = max(wait, of.DelayFrom(now))
		spent = append(spent, of)
	}
	if wait > 0 {
		for _, of := range spent {
			of.CancelAt(now)
		}
	}
	return wait, nil
}

func (a *agreed) Replicas() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replicas
}

func ofAll(perSecond float64, burst int) config.Rate {
	return config.Rate{PerSecond: perSecond, Burst: burst, Scope: config.ClusterRate}
}

// upstream is one of this rate as a replica sees it.
func (a *agreed) upstream(r config.Rate) *resilience.Upstream {
	return protect(resilience.Settings{Rate: r}, func(o *resilience.Options) { o.Shared, o.SharedName = a, "upstream" })
}

// two are two replicas of it.
func (a *agreed) two(r config.Rate) []call.Sender {
	return []call.Sender{a.upstream(r).Rate(answers(200)), a.upstream(r).Rate(answers(200))}
}

func TestTwoReplicasSpendOneRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		replicas := a.two(ofAll(0.5, 4))
		for i := range 4 {
			passes(t, replicas[i%2], request("GET", first))
		}
		for range 100 {
			for _, rt := range replicas {
				_, err := do(rt, request("GET", first))
				refusedWith(t, err, 429, resilience.ErrUpstreamRate, "2")
			}
		}
		if n := len(a.asked); n != 4+2 {
			t.Errorf("%d round trips for four calls and refusals of an empty bucket", n)
		}
	})
}

func TestWithoutAgreementEachReplicaSpendsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		replicas := a.two(ofAll(100, 40))
		burst := func(c func() *call.Call) (n int) {
			for _, rt := range replicas {
				for {
					if status, _ := do(rt, requestOf(context.Background(), "GET", c())); status != 200 {
						break
					}
					n++
				}
			}
			return n
		}
		passes(t, replicas[0], request("GET", first))
		a.away = true
		// What a replica was let pass by all it has not left for the time without.
		if n := burst(interactive); n != 39 {
			t.Errorf("a burst of %d", n)
		}
		admitted := 0
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			admitted += burst(interactive)
		}
		if admitted < 98 || admitted > 100 {
			t.Errorf("%d calls in a second of a hundred", admitted)
		}
		time.Sleep(time.Minute)
		if n, rest := burst(func() *call.Call { return batch(0) }), burst(interactive); n != 28 || rest != 12 {
			t.Errorf("%d batch calls, and %d were left for others", n, rest)
		}
		time.Sleep(time.Minute)
		a.replicas = 4
		burst(interactive) // of two shares of a half, which the first calls make quarters
		time.Sleep(time.Minute)
		if n := burst(interactive); n != 20 {
			t.Errorf("two of four replicas have a burst of %d", n)
		}
	})
}

func TestBatchIsPacedThroughARateOfAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		replicas := a.two(ofAll(10, 1))
		began := time.Now()
		var ends []<-chan error
		for i := range 29 {
			ends = append(ends, send(context.Background(), replicas[i%2], batch(time.Minute)))
		}
		for _, end := range ends {
			testkit.Must(t, <-end)
		}
		if took := time.Since(began); took < 4*time.Second || took > seconds(4.2) {
			t.Errorf("29 calls at seven a second took %s", took)
		}
		if slices.Contains(a.asked, false) {
			t.Fatal("a batch call was taken for another")
		}
		// The heads alone have asked, each when a token was due.
		if n := len(a.asked); n > 3*29 {
			t.Errorf("29 calls asked %d times", n)
		}
	})
}

func TestRatesOfAllReplicasAreSpentUnderTheNamesOfTheirKeys(t *testing.T) {
	a := agree()
	l := resilience.NewLimits(a, time.Now)
	takes(t, 2, l, ofCaller, ofAll(0.001, 2))
	for range 2 { // of which one asks
		if err := take(context.Background(), l, ofCaller, ofAll(0.001, 2), 0); err == nil {
			t.Error("more than the burst")
		}
	}
	takes(t, 1, l, ofFirst, ofAll(0.001, 1))
	takes(t, 1, l, ofSecond, config.Rate{PerSecond: 0.001, Burst: 1})
	takes(t, 1, l, ofCaller, config.Rate{PerSecond: 1e9, Burst: 5}) // which has become this replica's own
	names := slices.Sorted(maps.Keys(a.buckets))
	if !slices.Equal(names, []string{"caller hr", "enterprise 0206731645"}) || len(a.asked) != 4 {
		t.Errorf("asked %d times, for %q", len(a.asked), names)
	}
}
