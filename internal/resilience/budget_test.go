package resilience_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/resilience"
)

// An outage is not multiplied: beyond what the callers send, the upstream gets four retries and 18 % of the calls.
func TestAnOutageIsNotMultiplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(resilience.Settings{Tries: 10})
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
		if n := sent.Load(); n < 470 || n > 400+4+72 { // of those that are counted on a full balance something is lost
			t.Errorf("400 calls became %d tries", n)
		}
	})
}
