package resilience

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// defaults are those of a route.
var defaults = Settings{
	Tries: 3, Concurrency: config.Concurrency{Max: 200, Queue: 100, Wait: time.Second},
	Rate: config.Rate{PerSecond: 1e9, Burst: 1e9},
	Breaker: config.Breaker{Enabled: true, FailureRatio: 0.5, MinRequests: 20, Window: 30 * time.Second,
		Open: 15 * time.Second},
}

// Everything at once: faults, cuts, panics, callers who leave, both classes. In the
// end nothing is held, and a healthy upstream is served again.
func TestTheStackUnderChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := defaults
		s.Concurrency = config.Concurrency{Max: 8, Queue: 8, Wait: 5 * time.Millisecond}
		s.Rate = config.Rate{PerSecond: 50_000, Burst: 50}
		s.Breaker.Open, s.Breaker.Window = 5*time.Millisecond, 100*time.Millisecond
		u := protect(s)
		outcomes := []tripper{
			fails(errReset), fails(errReset), answers(503), answers(503), breaksOff(errReset), panics, fails(errNotMade),
			func(r *http.Request) (*http.Response, error) {
				select {
				case <-r.Context().Done():
					return nil, r.Context().Err()
				case <-time.After(time.Millisecond):
					return nil, errTooSlow
				}
			},
			answers(200), answers(200), answers(200),
		}
		var n, inside atomic.Int64
		rt := layers(u, tripper(func(r *http.Request) (*http.Response, error) {
			if inside.Add(1) > 8 {
				t.Error("more calls at once than there are places")
			}
			defer inside.Add(-1)
			return outcomes[n.Add(1)%int64(len(outcomes))](r)
		}))
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				for j := range 150 {
					ctx, cancel := context.WithCancel(context.Background())
					if j%4 == 0 {
						time.AfterFunc(time.Duration(j*10)*time.Microsecond, cancel)
					}
					chaoticCall(rt, requestOf(ctx, [...]string{"GET", "HEAD", "POST"}[j%3], &call.Call{
						Enterprise: first, Own: j%2 == 0, Batch: i%3 == 0, Pace: 3 * time.Millisecond,
					}), j%2 == 0)
					cancel()
					_ = u.State()
				}
			})
		}
		wg.Wait()
		if st := u.State(); st.InFlight != 0 || st.Queued != 0 {
			t.Fatalf("left behind: %+v", st)
		}
		time.Sleep(time.Second) // failures are forgotten
		repeat(probes, layers(u, answers(200)), second)
		circuitIs(t, u, Closed)
	})
}

// chaoticCall makes a call that may panic, and reads its answer or not.
func chaoticCall(rt call.Sender, o *outgoing, reads bool) {
	defer func() { _ = recover() }()
	a, err := o.by(rt)
	if err != nil {
		return
	}
	defer a.Body.Close()
	if reads {
		_, _ = io.Copy(io.Discard, a.Body)
	}
}
