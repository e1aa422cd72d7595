package resilience

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// agreed is where two replicas spend their rates: one bucket for each name.
type agreed struct {
	mu       sync.Mutex
	away     bool
	replicas int
	buckets  map[string]*ownBucket
	asked    []bool // batch or not
}

func agree() *agreed { return &agreed{replicas: 2, buckets: make(map[string]*ownBucket)} }

func (a *agreed) Spend(ctx context.Context, _ *call.Allowance, name string, r config.Rate, part float64,
	batch bool) (time.Duration, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return 0, errors.New("away")
	}
	a.asked = append(a.asked, batch)
	if a.buckets[name] == nil {
		a.buckets[name] = newOwnBucket(r, part, time.Now)
	}
	return a.buckets[name].take(ctx, nil, batch), nil
}

func (a *agreed) Replicas() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replicas
}

func ofAll(perSecond float64, burst int) config.Rate {
	return config.Rate{PerSecond: perSecond, Burst: burst, Scope: config.ClusterRate}
}

// of makes the rate of an upstream at one replica.
func (a *agreed) of(r config.Rate) call.Sender {
	u := protect(Settings{Rate: r}, func(o *Options) { o.Shared, o.SharedName = a, "upstream" })
	return u.Rate(answers(200))
}

func TestTwoReplicasSpendOneRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		one, other := a.of(ofAll(0.5, 4)), a.of(ofAll(0.5, 4))
		for i, rt := range []call.Sender{one, other, one, other} {
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("call %d of the burst: %d %v", i, status, err)
			}
		}
		for range 100 {
			for _, rt := range []call.Sender{one, other} {
				_, err := do(t, rt, request("GET", first))
				refusedWith(t, err, 429, ErrUpstreamRate, "2")
			}
		}
		if n := len(a.asked); n != 4+2 {
			t.Errorf("%d round trips for four calls and refusals of an empty bucket", n)
		}
	})
}

func TestARateOfAllReplicasWithoutOthersIsThisReplicas(t *testing.T) {
	u := protect(Settings{Rate: ofAll(0.5, 1)})
	rt := u.Rate(answers(200))
	if status, err := do(t, rt, request("GET", first)); status != 200 {
		t.Fatal(status, err)
	}
	_, err := do(t, rt, request("GET", first))
	refusedWith(t, err, 429, ErrUpstreamRate, "2")
}

func TestWithoutAgreementEachReplicaSpendsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		replicas := []call.Sender{a.of(ofAll(100, 40)), a.of(ofAll(100, 40))}
		burst := func(c *call.Call) (n int) {
			for _, rt := range replicas {
				for {
					again := *c
					if status, _ := do(t, rt, requestOf(context.Background(), "GET", &again)); status != 200 {
						break
					}
					n++
				}
			}
			return n
		}
		if status, err := do(t, replicas[0], request("GET", first)); status != 200 {
			t.Fatal(status, err)
		}
		a.away = true
		// What a replica was let pass by all it has not left for the time without.
		if n := burst(interactive()); n != 39 {
			t.Errorf("a burst of %d", n)
		}
		admitted := 0
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			admitted += burst(interactive())
		}
		if admitted < 98 || admitted > 100 {
			t.Errorf("%d calls in a second of a hundred", admitted)
		}
		time.Sleep(time.Minute)
		if n, rest := burst(batch(0)), burst(interactive()); n != 28 || rest != 12 {
			t.Errorf("%d batch calls, and %d were left for others", n, rest)
		}
		time.Sleep(time.Minute)
		a.replicas = 4
		burst(interactive()) // of two shares of a half, which the first calls make quarters
		time.Sleep(time.Minute)
		if n := burst(interactive()); n != 20 {
			t.Errorf("two of four replicas have a burst of %d", n)
		}
	})
}

func TestBatchIsPacedThroughARateOfAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agree()
		replicas := []call.Sender{a.of(ofAll(10, 1)), a.of(ofAll(10, 1))}
		began := time.Now()
		var ends []<-chan error
		for i := range 29 {
			ends = append(ends, send(context.Background(), replicas[i%2], batch(time.Minute)))
		}
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Fatal(err)
			}
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

func TestABatchCallThatCannotBeServedInTimeIsToldSo(t *testing.T) {
	for name, rt := range map[string]func() call.Sender{
		"alone":           func() call.Sender { return limited(0.1, 1).Rate(answers(200)) },
		"of_all_replicas": func() call.Sender { return agree().of(ofAll(0.1, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := rt()
				if err := <-send(context.Background(), rt, batch(time.Second)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				refusedWith(t, <-send(context.Background(), rt, batch(5*time.Second)), 429, ErrUpstreamRate, "15")
				if took := time.Since(began); took > 0 {
					t.Errorf("it was told after %s", took)
				}
				// A long line is told at once, and one who goes away leaves it.
				ctx, cancel := context.WithCancel(context.Background())
				patient := send(ctx, rt, batch(time.Minute))
				synctest.Wait()
				refusedWith(t, <-send(context.Background(), rt, batch(2*time.Second)), 429, ErrUpstreamRate, "29")
				cancel()
				if err := <-patient; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				time.Sleep(seconds(14.3))
				if err := <-send(context.Background(), rt, batch(time.Second)); err != nil {
					t.Errorf("the line is not empty: %v", err)
				}
			})
		})
	}
}

func TestRatesOfAllReplicasAreSpentUnderTheNamesOfTheirKeys(t *testing.T) {
	a := agree()
	l := NewLimits(a, time.Now)
	of := func(key Key, r config.Rate) error { return l.Take(context.Background(), call.New(), key, r) }
	for i, want := range []bool{true, true, false} {
		if err := of(Key{Caller: "desk"}, ofAll(0.001, 2)); (err == nil) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := of(Key{Enterprise: first}, ofAll(0.001, 1)); err != nil {
		t.Error(err)
	}
	if err := of(Key{Caller: "alone"}, config.Rate{PerSecond: 0.001, Burst: 1}); err != nil {
		t.Error(err)
	}
	names := slices.Sorted(maps.Keys(a.buckets))
	if !slices.Equal(names, []string{"caller desk", "enterprise 0206731645"}) || len(a.asked) != 4 {
		t.Errorf("asked %d times, for %q", len(a.asked), names)
	}
	// One that becomes this replica's own is asked for no more.
	if err := of(Key{Caller: "desk"}, config.Rate{PerSecond: 1, Burst: 5}); err != nil || len(a.asked) != 4 {
		t.Errorf("%v, asked %d times", err, len(a.asked))
	}
}
