package resilience

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
)

// agreed is a rate that several replicas spend, as a Joint, by one bucket for all.
type agreed struct {
	whole *rate.Limiter
	mu    sync.Mutex
	asked []bool // batch or not
}

func (a *agreed) Take(_ context.Context, _ *call.Call, batch bool) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, batch)
	now := time.Now()
	if a.whole.AllowN(now, 1) {
		return 0
	}
	return max(shortage(a.whole, 1, now), 1)
}

// of makes an upstream of one replica that spends a.
func (a *agreed) of(perSecond float64, burst int) *Upstream {
	return NewUpstream(Options{
		Settings: Settings{Rate: &Rate{PerSecond: perSecond, Burst: burst, Cluster: true}}, Classify: classify,
		Joint: func(Rate) Joint { return a },
	})
}

func TestTwoReplicasSpendOneRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agreed{whole: rate.NewLimiter(0.5, 4)}
		one, other := a.of(0.5, 4).Rate(answers(200)), a.of(0.5, 4).Rate(answers(200))
		for i, rt := range []call.Sender{one, other, one, other} {
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("call %d of the burst: %d %v", i, status, err)
			}
		}
		for _, rt := range []call.Sender{one, other} {
			_, err := do(t, rt, request("GET", first))
			refusedWith(t, err, 429, ErrUpstreamRate, "2")
		}
	})
}

func TestARateOfTheClusterWithoutAClusterIsThisReplicas(t *testing.T) {
	u := protect(Settings{Rate: &Rate{PerSecond: 0.5, Burst: 1, Cluster: true}})
	rt := u.Rate(answers(200))
	if status, err := do(t, rt, request("GET", first)); status != 200 {
		t.Fatal(status, err)
	}
	_, err := do(t, rt, request("GET", first))
	refusedWith(t, err, 429, ErrUpstreamRate, "2")
}

func TestBatchIsPacedThroughARateOfTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agreed{whole: rate.NewLimiter(10, 1)}
		replicas := []call.Sender{a.of(10, 1).Rate(answers(200)), a.of(10, 1).Rate(answers(200))}
		began := time.Now()
		var ends []<-chan error
		for i := range 41 {
			ends = append(ends, send(context.Background(), replicas[i%2], batch(time.Minute)))
		}
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 4*time.Second || took > seconds(4.2) {
			t.Errorf("41 calls at 10 a second took %s", took)
		}
		for _, wasBatch := range a.asked {
			if !wasBatch {
				t.Fatal("a batch call was taken for another")
			}
		}
		// The heads alone have asked, each when a token was due.
		if n := len(a.asked); n > 41+2*41 {
			t.Errorf("41 calls asked %d times", n)
		}
	})
}

func TestABatchCallThatCannotBeServedInTimeIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agreed{whole: rate.NewLimiter(0.1, 1)}
		rt := a.of(0.1, 1).Rate(answers(200))
		if err := <-send(context.Background(), rt, batch(time.Second)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		refusedWith(t, <-send(context.Background(), rt, batch(5*time.Second)), 429, ErrUpstreamRate, "10")
		if took := time.Since(began); took > time.Second {
			t.Errorf("it was told after %s", took)
		}
		// A long line is told at once, and one who goes away leaves it.
		ctx, cancel := context.WithCancel(context.Background())
		patient := send(ctx, rt, batch(time.Minute))
		synctest.Wait()
		refusedWith(t, <-send(context.Background(), rt, batch(2*time.Second)), 429, ErrUpstreamRate, "15")
		cancel()
		if err := <-patient; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if err := <-send(context.Background(), rt, batch(time.Second)); err != nil {
			t.Errorf("the line is not empty: %v", err)
		}
	})
}

func TestLimitsSpendARateOfTheClusterByKey(t *testing.T) {
	made := make(map[Key]*agreed)
	l := NewLimits(0, nil)
	l.Share(func(k Key, r Rate) Joint {
		made[k] = &agreed{whole: rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)}
		return made[k]
	})
	caller := Key{Kind: ByCaller, Name: "desk"}
	of := func(key Key, r Rate) error {
		return l.Take(context.Background(), call.New(), key, r)
	}
	shared := Rate{PerSecond: 0.001, Burst: 2, Cluster: true}
	for i, want := range []bool{true, true, false} {
		if err := of(caller, shared); (err == nil) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if len(made[caller].asked) != 3 {
		t.Errorf("asked %d times", len(made[caller].asked))
	}
	if err := of(Key{Kind: ByCaller, Name: "other"}, Rate{PerSecond: 0.001, Burst: 1}); err != nil || len(made) != 1 {
		t.Errorf("a rate of this replica alone: %v, %d joint ones", err, len(made))
	}
	// A rate that changes is a new agreement, or the replica's own.
	if err := of(caller, Rate{PerSecond: 1, Burst: 5, Cluster: true}); err != nil || len(made[caller].asked) != 1 {
		t.Errorf("%v", err)
	}
	if err := of(caller, Rate{PerSecond: 1, Burst: 5}); err != nil || len(made[caller].asked) != 1 {
		t.Errorf("%v", err)
	}
}
