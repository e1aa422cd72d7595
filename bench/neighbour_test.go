package bench_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// pace is how many calls a second the healthy provider gets, and as many the
	// frozen one.
	pace = 300
	// window is how long is measured at a time, and rounds how often, the states in turn, so that what else the machine
	// does meets both alike.
	window = 2 * time.Second
	rounds = 10
	// givenUp is how long a caller waits for the frozen provider. A caller that
	// goes away opens no circuit, so that its bulkhead is what keeps it apart.
	givenUp = 2 * time.Second
	// distance is how long a provider takes that is reached over the internet.
	distance = 20 * time.Millisecond
)

// BenchmarkNeighbour measures what callers of a healthy provider notice of one that
// is frozen and loaded, on the same host: the 99th percentile of their times, alone,
// beside another one that is loaded as much and well, and beside one that is frozen.
// Calls begin by the clock, whether or not those before have ended, so that a gateway
// that stands still is not spared its questions.
func BenchmarkNeighbour(b *testing.B) {
	for _, healthy := range []string{"nsso", "distant"} {
		b.Run(healthy, func(b *testing.B) { neighbour(b, healthy) })
	}
}

func neighbour(b *testing.B, healthy string) {
	upstream := start(b, "upstream", "")
	proxy := start(b, "gateway-quiet", upstream.URL)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}
	provider := func(id string) string { return proxy.URL + "/ebox/providers/" + id + "/ebox/messages" }
	neighbours := []struct{ name, id string }{{"alone", ""}, {"quiet", "other"}, {"troubled", "frozen"}}
	for b.Loop() {
		times := make(map[string][]time.Duration)
		for range rounds {
			for _, n := range neighbours {
				ctx, cancel := context.WithCancel(b.Context())
				var wg sync.WaitGroup
				if n.id != "" {
					wg.Go(func() { occupy(ctx, client, provider(n.id)) })
				}
				steady(b, client, provider(healthy), givenUp) // until what was before is over, and a bulkhead full
				times[n.name] = append(times[n.name], steady(b, client, provider(healthy), window)...)
				cancel()
				wg.Wait()
			}
		}
		p99 := make(map[string]float64)
		for _, n := range neighbours {
			p99[n.name] = percentile(times[n.name], 99)
			b.ReportMetric(percentile(times[n.name], 50), n.name+"-p50-µs")
			b.ReportMetric(p99[n.name], n.name+"-p99-µs")
		}
		b.ReportMetric(p99["troubled"]/p99["alone"], "ratio-to-alone")
		b.ReportMetric(p99["troubled"]/p99["quiet"], "ratio-to-quiet")
	}
}

// steady makes pace calls a second for d and returns how long they took. Every answer
// must be a 200.
func steady(b *testing.B, client *http.Client, url string, d time.Duration) []time.Duration {
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	every(b.Context(), d, func() {
		wg.Go(func() {
			began := time.Now()
			if status := callOnce(b.Context(), client, url); status != http.StatusOK {
				b.Errorf("status %d", status)
			}
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, took)
		})
	})
	wg.Wait()
	return times
}

// occupy makes as many calls to the other provider until ctx is done.
func occupy(ctx context.Context, client *http.Client, url string) {
	var wg sync.WaitGroup
	every(ctx, time.Hour, func() {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, givenUp)
			defer cancel()
			callOnce(ctx, client, url)
		})
	})
	wg.Wait()
}

// every calls f at the pace until d is over or ctx is done.
func every(ctx context.Context, d time.Duration, f func()) {
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range int(d.Seconds() * pace) {
		timer.Reset(time.Until(begin.Add(time.Duration(i) * time.Second / pace)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		f()
	}
}

// callOnce returns the status, 0 if there was no whole answer.
func callOnce(ctx context.Context, client *http.Client, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("On-Behalf-Of-Enterprise-Number", "0206731645")
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}
