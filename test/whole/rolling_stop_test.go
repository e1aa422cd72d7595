package whole_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two gateways behind a balancer that asks for readiness, callers that keep their
// connections and repeat nothing: one of the two stops, and nobody notices.
func TestARollingStopLosesNoRequest(t *testing.T) {
	drains := edit("drain: {delay: 0s, timeout: 5s}", "drain: {delay: 500ms, timeout: 10s}")
	stays, stops := open(t, drains), open(t, drains)
	var target atomic.Pointer[house]
	target.Store(stops)
	balancing, endBalancing := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // looks every 20 ms, as a balancer does every few seconds
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-balancing.Done():
				return
			case <-tick.C:
			}
			resp, err := stops.http.Get(stops.adm + "/readyz")
			if err == nil {
				resp.Body.Close()
			}
			if err != nil || resp.StatusCode != http.StatusOK {
				target.Store(stays)
				return
			}
		}
	})
	calling, endCalling := context.WithCancel(t.Context())
	var served, moved atomic.Int64
	for range 16 {
		wg.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 4}
			defer transport.CloseIdleConnections()
			for calling.Err() == nil {
				h := target.Load()
				req, err := http.NewRequest("PATCH", h.base+"/enterprises/"+mandated+nsso+"/ebox/messages", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode >= 500 {
					t.Errorf("%s %v", resp.Status, err)
					return
				}
				served.Add(1)
				if h == stays {
					moved.Add(1)
				}
			}
		})
	}
	eventually(t, "callers at work", func() bool { return served.Load() > 200 })
	if err := stops.stop(); err != nil {
		t.Errorf("the stop: %v", err)
	}
	after := moved.Load()
	eventually(t, "callers at the other gateway", func() bool { return moved.Load() > after+200 })
	endCalling()
	endBalancing()
	wg.Wait()
}
