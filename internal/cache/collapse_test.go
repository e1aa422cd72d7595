package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
)

// crowd asks for the same path n times at once, and gives what came.
func crowd(r *rig, n int) []got {
	all := make([]got, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = r.get("/a") })
	}
	wg.Wait()
	return all
}

// after gives an origin that answers as another does, but a second later.
func after(other origin) origin {
	return func(r *http.Request) (*http.Response, error) {
		time.Sleep(time.Second)
		return other(r)
	}
}

func TestACrowd(t *testing.T) {
	const timeout = 30 * time.Second
	frozen := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	type row struct {
		origin origin
		known  bool // one came before them
		sent   int
		took   time.Duration
	}
	testkit.Table(t, map[string]row{
		"causes one request": {after(always("body", "Cache-Control: max-age=60")), false, 1, time.Second},
		"also for what has to be asked about": {after(always("body", "Cache-Control: no-cache", `ETag: "a"`)), false, 1,
			time.Second},
		"not for what may not be stored": {after(always("body", "Cache-Control: no-store")), false, 20, 2 * time.Second},
		"not for what is private": {after(always("body", "Cache-Control: private, max-age=60")), false, 20,
			2 * time.Second},
		"does not wait twice for what may not be stored": {after(always("body", "Cache-Control: no-store")), true, 20,
			time.Second},
		"does not fail one after the other": {after(down), false, 20, 2 * time.Second},
		// Whoever waited for a frozen upstream's answer to somebody else would wait for two time-outs,
		// and the circuit breaker would see one failure for all of them.
		"does not wait for an answer that does not begin": {frozen, false, 20, timeout},
	}, func(t *testing.T, c row) {
		r := newRig(t, c.origin)
		r.timeout = timeout
		if c.known {
			r.get("/a")
		}
		before, began := r.count(), time.Now()
		for _, g := range crowd(r, 20) {
			if answered := g.status == 200 && g.body == "body"; !answered && g.err == nil {
				t.Errorf("%d %q", g.status, g.body)
			}
		}
		if sent, took := r.count()-before, time.Since(began); sent != c.sent || took != c.took {
			t.Errorf("%d requests in %s", sent, took)
		}
		if n := r.cache.Stats().Collapsed; c.sent == 1 && n != 19 {
			t.Errorf("%d were collapsed", n)
		}
	})
}

func TestWaitersGetAnAnswerWhenTheLeaderFails(t *testing.T) {
	testkit.Table(t, map[string]bool{"before the header": false, "within the body": true}, func(t *testing.T, body bool) {
		ctx, leave := context.WithCancel(context.Background())
		first := true
		r := newRig(t, nil)
		r.origin = func(req *http.Request) (*http.Response, error) {
			if !first {
				return after(always("body", "Cache-Control: max-age=60"))(req)
			}
			first = false
			if !body {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			resp := reply(200, "", "Cache-Control: max-age=60")
			resp.ContentLength, resp.Body = 100, waitingBody{req.Context()}
			return resp, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { r.do(asked{path: "/a", ctx: ctx}) })
		synctest.Wait()
		wg.Go(func() {
			for _, g := range crowd(r, 20) {
				mustGet(t, g, 200, "body", "")
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()
		if r.count() != 2 {
			t.Errorf("%d requests", r.count())
		}
	})
}

// waitingBody never ends unless the request does.
type waitingBody struct{ ctx context.Context }

func (w waitingBody) Read([]byte) (int, error) { <-w.ctx.Done(); return 0, w.ctx.Err() }
func (waitingBody) Close() error               { return nil }

func TestASlowBodyIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(context.Background())
		first := true
		r := newRig(t, nil)
		r.origin = func(req *http.Request) (*http.Response, error) {
			resp := reply(200, "body", "Cache-Control: max-age=60")
			if first {
				first = false
				resp.ContentLength, resp.Body = 100, waitingBody{req.Context()}
			}
			return resp, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { r.do(asked{path: "/a", ctx: ctx}) })
		synctest.Wait()
		start := time.Now()
		mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("waited %s", took)
		}
		end()
		wg.Wait()
	})
}

func TestAReadBegunBeforeAWriteIsNeitherJoinedNorStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			if req.Method != "GET" {
				return reply(204, ""), nil
			}
			mu.Lock()
			n++
			body := fmt.Sprint(n)
			mu.Unlock()
			time.Sleep(1900 * time.Millisecond) // soon enough to be waited for
			return reply(200, body, "Cache-Control: max-age=60"), nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { mustGet(t, r.get("/a"), 200, "1", "fwd=uri-miss") })
		time.Sleep(time.Second)
		r.do(asked{method: "POST", path: "/a"})
		mustGet(t, r.get("/a"), 200, "2", "fwd=uri-miss; stored")
		wg.Wait()
		mustGet(t, r.get("/a"), 200, "2", "hit")
	})
}

func TestALateOneTakesWhatHasJustCome(t *testing.T) {
	r, _, _ := replicas(t, always("body", "Cache-Control: no-cache", `ETag: "a"`))
	// The first one asks, and is answered, while another looks whether the second level has something.
	r.second.loading = func() { mustGet(t, r.get("/a"), 200, "body", "fwd=uri-miss; stored") }
	mustGet(t, r.get("/a"), 200, "body", "; collapsed")
	mustGet(t, r.get("/a"), 200, "body", "fwd=stale; fwd-status=304")
}

// Each leader that goes away would otherwise begin the time of those who wait anew.
func TestWhoWaitsForOneLeaderAfterAnotherWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		var wg sync.WaitGroup
		for range 3 { // impatient ones, each the next leader
			ctx, leave := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			defer leave()
			wg.Go(func() { r.do(asked{path: "/a", ctx: ctx}) })
			time.Sleep(time.Second)
		}
		x, start := r.call(asked{path: "/a"}), time.Now()
		ctx, leave := context.WithCancel(context.Background())
		wg.Go(func() { _, _ = r.cache.Do(ctx, x, r.send) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if x.Waited > 2*time.Second || time.Since(start) != time.Minute || r.count() < 4 {
			t.Errorf("waited %s, %d requests", x.Waited, r.count())
		}
		leave()
		wg.Wait()
	})
}
