package resilience

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// In every run of calls, whatever came before, retries are at most four and 18 % of
// the calls.
func TestBudgetProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := budget{balance: maxBalance}
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
		if b.spent != uint64(now.retries) {
			t.Fatalf("%d spent, %d counted", now.retries, b.spent)
		}
	})
}

// An outage is not multiplied: what the upstream gets stays within 1.2 times what the callers send.
func TestAnOutageIsNotMultiplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(Settings{Tries: 10})
		repeat(500, layers(u, answers(200)), first) // which fills the budget
		var sent atomic.Int64
		rt := layers(u, tripper(func(r *http.Request) (*http.Response, error) {
			sent.Add(1)
			return nil, errNotMade
		}))
		for range 20 {
			go repeat(20, rt, first)
		}
		time.Sleep(time.Hour)
		if sent.Load() > 480 {
			t.Errorf("400 calls became %d tries", sent.Load())
		}
	})
}
