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
func crowd(r *rig, n int, asks func(i int) asked) []got {
	all := make([]got, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = r.do(asks(i)) })
	}
	wg.Wait()
	return all
}

// after gives an origin that answers as another does, but later.
func after(d time.Duration, other origin) origin {
	return func(r *http.Request) (*http.Response, error) {
		time.Sleep(d)
		return other(r)
	}
}

func TestACrowdCausesOneRequest(t *testing.T) {
	type row struct {
		fields []string
		sent   int
	}
	testkit.Table(t, map[string]row{
		"of what stays fresh":           {[]string{"Cache-Control: max-age=60"}, 1},
		"of what has to be asked about": {[]string{"Cache-Control: no-cache", `ETag: "a"`}, 1},
		"not of what may not be stored": {[]string{"Cache-Control: no-store"}, 64},
		"not of what is private":        {[]string{"Cache-Control: private, max-age=60"}, 64},
	}, func(t *testing.T, c row) {
		r := newRig(t, after(time.Second, always("body", c.fields...)))
		for _, g := range crowd(r, 64, func(int) asked { return asked{path: "/a"} }) {
			if g.status != 200 || g.body != "body" {
				t.Errorf("%d %q", g.status, g.body)
			}
		}
		if r.count() != c.sent {
			t.Errorf("%d requests", r.count())
		}
		if c.sent == 1 && r.cache.Stats().Collapsed != 63 {
			t.Errorf("%+v", r.cache.Stats())
		}
	})
}

func TestWhatMayNotBeStoredIsNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, after(time.Second, always("body", "Cache-Control: no-store")))
		r.get("/a")
		start := time.Now()
		crowd(r, 64, func(int) asked { return asked{path: "/a"} })
		if took := time.Since(start); took > time.Second {
			t.Errorf("a crowd took %s: one after the other", took)
		}
	})
}

func TestWaitersGetAnAnswerWhenTheLeaderFails(t *testing.T) {
	type row struct {
		// die is when the leader goes: before the header or within the body.
		body bool
		sent int
	}
	testkit.Table(t, map[string]row{
		"before the header": {false, 2},
		"within the body":   {true, 2},
	}, func(t *testing.T, c row) {
		ctx, die := context.WithCancel(context.Background())
		first := true
		r := newRig(t, nil)
		r.origin = func(req *http.Request) (*http.Response, error) {
			if !first {
				time.Sleep(time.Second)
				return reply(200, "body", "Cache-Control: max-age=60"), nil
			}
			first = false
			if !c.body {
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
			for _, g := range crowd(r, 20, func(int) asked { return asked{path: "/a"} }) {
				if g.status != 200 || g.body != "body" {
					t.Errorf("%d %q", g.status, g.body)
				}
			}
		})
		synctest.Wait()
		die()
		wg.Wait()
		if r.count() != c.sent {
			t.Errorf("%d requests", r.count())
		}
	})
}

// waitingBody never ends unless the request does.
type waitingBody struct{ ctx context.Context }

func (w waitingBody) Read([]byte) (int, error) { <-w.ctx.Done(); return 0, w.ctx.Err() }
func (waitingBody) Close() error               { return nil }

func TestOneWhoWaitsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, after(time.Hour, always("body", "Cache-Control: max-age=60")))
		var wg sync.WaitGroup
		wg.Go(func() { r.get("/a") })
		synctest.Wait()
		ctx, leave := context.WithTimeout(context.Background(), time.Second)
		defer leave()
		start := time.Now()
		wg.Go(func() {
			r.origin = func(req *http.Request) (*http.Response, error) { return nil, req.Context().Err() }
			r.do(asked{path: "/a", ctx: ctx})
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("left after %s", took)
			}
		})
		wg.Wait()
	})
}

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

// Whoever waited for a frozen upstream's answer to somebody else would wait for two
// time-outs, and the circuit breaker would see one failure for all of them.
func TestNobodyWaitsForAnAnswerThatDoesNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 30 * time.Second
		r := newRig(t, nil)
		r.timeout = timeout
		start := time.Now()
		for _, g := range crowd(r, 5, func(int) asked { return asked{path: "/a"} }) {
			if g.err == nil {
				t.Errorf("%d %q", g.status, g.body)
			}
		}
		if took := time.Since(start); r.count() != 5 || took != timeout {
			t.Errorf("%d requests, the last answered after %v", r.count(), took)
		}
	})
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

func TestAFailureIsEverybodysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, after(time.Second, down))
		start := time.Now()
		crowd(r, 10, func(int) asked { return asked{path: "/a"} })
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %s: one after the other", took)
		}
	})
}
