package resilience

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// In every run of calls, whatever came before, retries are at most four and 18 % of
// the calls.
func TestBudgetProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b budget
		b.balance.Store(maxBalance)
		type mark struct{ calls, retries int }
		var now mark
		marks := []mark{now}
		for _, retry := range rapid.SliceOfN(rapid.Bool(), 1, 400).Draw(t, "steps") {
			if !retry {
				b.call()
				now.calls++
			} else if b.retry() {
				now.retries++
			}
			marks = append(marks, now)
		}
		for _, m := range marks { // from each moment to the end
			got, most := now.retries-m.retries, 4+0.18*float64(now.calls-m.calls)
			if float64(got) > most+1e-9 {
				t.Fatalf("%d retries in a run of %d calls, at most %v are allowed", got, now.calls-m.calls, most)
			}
		}
		if b.spent.Load() != uint64(now.retries) {
			t.Fatalf("%d spent, %d counted", now.retries, b.spent.Load())
		}
	})
}

// An outage is not multiplied: what the upstream gets stays within 1.2 times what
// the callers send, with and without a breaker, one caller or many.
func TestAnOutageIsNotMultiplied(t *testing.T) {
	outages := []tripper{answers(503), fails(errReset), fails(errNotMade)}
	testkit.Table(t, map[string]Settings{
		"without_a_breaker": {Tries: 3},
		"with_a_breaker":    {Tries: 3, Breaker: trusting.Breaker},
		"ten_tries":         {Tries: 10},
		"with_a_bulkhead":   {Tries: 3, Concurrency: config.Concurrency{Max: 10, Queue: 10, Wait: time.Second}},
	}, func(t *testing.T, s Settings) {
		for i, outage := range outages {
			for _, workers := range []int{1, 20} {
				u := protect(s)
				repeat(500, layers(u, answers(200)), first) // which fills the budget
				var sent, asked atomic.Int64
				rt := layers(u, tripper(func(r *http.Request) (*http.Response, error) {
					sent.Add(1)
					time.Sleep(10 * time.Millisecond)
					return outage(r)
				}))
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						asked.Add(int64(400 / workers))
						repeat(400/workers, rt, first)
					})
				}
				wg.Wait()
				if ratio := float64(sent.Load()) / float64(asked.Load()); ratio > 1.2 {
					t.Errorf("outage %d, %d callers: %d calls became %d tries: %.2f times",
						i, workers, asked.Load(), sent.Load(), ratio)
				}
			}
		}
	})
}
