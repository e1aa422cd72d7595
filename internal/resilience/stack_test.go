package resilience

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

// Upstreams that share a host, as most do, share no fate.
func TestUpstreamsOfOneHostAreProtectedEachForItself(t *testing.T) {
	frozen := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/failing":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/frozen":
			<-frozen
		default:
			_, _ = io.WriteString(w, "well")
		}
	}))
	defer server.Close()
	defer close(frozen)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ask := func(ctx context.Context, u *Upstream, path string) (int, error) {
		r := requestOf(ctx, "GET", &call.Call{Enterprise: first})
		r.r.URL.Host, r.r.URL.Path = strings.TrimPrefix(server.URL, "http://"), path
		return do(t, layers(u, call.Transport(transport)), r)
	}
	s := defaults
	s.Concurrency.Max, s.Concurrency.Queue, s.Tries = 2, 0, 1
	failing, stuck, well := protect(s), protect(s), protect(s)
	for range 20 {
		_, _ = ask(context.Background(), failing, "/failing")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _, _ = ask(ctx, stuck, "/frozen") })
	}
	for stuck.State().InFlight < 2 {
		time.Sleep(time.Millisecond) // waits for the condition of the loop
	}
	if _, err := ask(context.Background(), stuck, "/frozen"); err == nil {
		t.Error("the frozen upstream got a third call")
	}
	if got := failing.State().Circuit; got != Open {
		t.Errorf("the circuit of the failing upstream is %s", got)
	}
	for range 50 {
		if status, err := ask(context.Background(), well, "/well"); status != 200 {
			t.Fatalf("the one that is well: %d %v", status, err)
		}
	}
	cancel()
	wg.Wait()
	for _, u := range []*Upstream{failing, stuck, well} {
		if s := u.State(); s.InFlight != 0 || s.Queued != 0 {
			t.Errorf("left behind: %+v", s)
		}
	}
}

// Everything at once: faults, cuts, panics, callers who leave, both classes. In the
// end nothing is held, and a healthy upstream is served again.
func TestTheStackUnderChaos(t *testing.T) {
	s := defaults
	s.Concurrency = config.Concurrency{Max: 8, Queue: 8, Wait: 5 * time.Millisecond}
	s.Rate = config.Rate{PerSecond: 50_000, Burst: 50}
	s.Breaker.Open, s.Breaker.Window = 5*time.Millisecond, 100*time.Millisecond
	u := protect(s)
	var n atomic.Int64
	rt := layers(u, tripper(func(r *http.Request) (*http.Response, error) {
		switch n.Add(1) % 11 {
		case 0, 1:
			return nil, errReset
		case 2, 3:
			return answer(503, "down"), nil
		case 4:
			a := answer(200, "text")
			a.Body = &failingReader{errReset}
			return a, nil
		case 5:
			panic("a fault below")
		case 6:
			return nil, errNotMade
		case 7:
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Millisecond):
				return nil, errTooSlow
			}
		}
		return answer(200, "text"), nil
	}))
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for j := range 150 {
				ctx, cancel := context.WithCancel(context.Background())
				if j%4 == 0 {
					time.AfterFunc(time.Duration(j*10)*time.Microsecond, cancel)
				}
				func() {
					defer func() { _ = recover() }()
					method := [...]string{"GET", "HEAD", "POST"}[j%3]
					r := requestOf(ctx, method, &call.Call{Enterprise: first + 1, Own: j%2 == 0, Batch: i%3 == 0,
						Pace: 3 * time.Millisecond})
					a, err := r.by(rt)
					if err != nil {
						return
					}
					if j%2 == 0 {
						_, _ = io.Copy(io.Discard, a.Body)
					}
					a.Body.Close()
				}()
				cancel()
				_ = u.State()
			}
		})
	}
	wg.Wait()
	if st := u.State(); st.InFlight != 0 || st.Queued != 0 {
		t.Fatalf("left behind: %+v", st)
	}
	healthy := layers(u, answers(200))
	for deadline := time.Now().Add(5 * time.Second); u.State().Circuit != Closed; {
		if time.Now().After(deadline) {
			t.Fatalf("no recovery: %+v", u.State())
		}
		_, _ = do(t, healthy, request("GET", second))
	}
}

// BenchmarkLayers is what the four layers add to a call that goes well.
func BenchmarkLayers(b *testing.B) {
	body := "text"
	next := tripper(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })
	for name, rt := range map[string]call.Sender{"bare": next, "four": layers(protect(defaults), next)} {
		b.Run(name, func(b *testing.B) {
			r := request("GET", first)
			b.ReportAllocs()
			for b.Loop() {
				a, err := r.by(rt)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, a.Body)
				a.Body.Close()
			}
		})
	}
}

func BenchmarkLimits(b *testing.B) {
	l := NewLimits(nil, time.Now)
	ctx, c := context.Background(), call.New()
	key := byEnterprise(first)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Take(ctx, c, key, config.Rate{PerSecond: 1e9, Burst: 1e9}); err != nil {
			b.Fatal(err)
		}
	}
}
