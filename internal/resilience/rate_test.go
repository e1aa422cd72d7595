package resilience

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
)

func limited(perSecond float64, burst int) *Upstream {
	return protect(Settings{Rate: config.Rate{PerSecond: perSecond, Burst: burst}})
}

func member(p *problem.Problem, name string) any {
	for _, m := range p.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

func TestBeyondTheUpstreamsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(0.25, 3)
		rt := u.Rate(answers(200))
		for range 3 {
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("within the burst: %d %v", status, err)
			}
		}
		for range 50 { // refusals cost nothing
			_, err := do(t, rt, request("GET", first))
			refusedWith(t, err, 429, ErrUpstreamRate, "4")
			if p := problem.From(err); member(p, "limit") != 1 || member(p, "retryAfterSec") != int64(4) {
				t.Fatalf("members %v", p.Members)
			}
		}
		time.Sleep(seconds(2.5))
		_, err := do(t, rt, request("GET", first))
		refusedWith(t, err, 429, ErrUpstreamRate, "2")
		time.Sleep(seconds(1.5)) // four seconds in all, as was said
		if status, err := do(t, rt, request("GET", first)); status != 200 {
			t.Fatalf("after Retry-After: %d %v", status, err)
		}
		if s := u.State(); s.RefusedRate != 51 {
			t.Errorf("%d refused", s.RefusedRate)
		}
	})
}

func TestBatchIsPacedToSevenTenths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(10, 10)
		rt := u.Rate(answers(200))
		start := time.Now()
		for range 77 {
			c := batch(time.Minute)
			before := time.Now()
			if err := <-send(context.Background(), rt, c); err != nil {
				t.Fatal(err)
			}
			if c.Record.Phases.Limits != time.Since(before) {
				t.Fatalf("waited %s, noted %s", time.Since(before), c.Record.Phases.Limits)
			}
		}
		// Seven at once, seventy more at seven a second.
		if took := time.Since(start); took < seconds(9.99) || took > seconds(10.01) {
			t.Fatalf("77 calls took %s", took)
		}
	})
}

func TestInteractiveCallsKeepThreeTenthsWhileBatchSaturates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(10, 10)
		rt := u.Rate(answers(200))
		ctx, cancel := context.WithCancel(context.Background())
		defer func() { cancel(); synctest.Wait() }()
		served := make(chan struct{}, 10_000)
		for range 200 {
			go func() {
				for ctx.Err() == nil {
					if status, _ := do(t, rt, requestOf(ctx, "GET", batch(time.Minute))); status == 200 {
						served <- struct{}{}
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		// A burst at once, then three a second, and none of them is refused.
		for range 3 {
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("within the last three tenths of the burst: %d %v", status, err)
			}
		}
		before := len(served)
		for range 300 {
			time.Sleep(time.Second / 3)
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("at three tenths of the rate: %d %v", status, err)
			}
		}
		// And batch goes on beside them.
		if got := len(served) - before; got < 650 || got > 700 {
			t.Errorf("%d batch calls in 100 s, want 700 or a little less", got)
		}
	})
}

func TestInteractiveCallsMayHaveAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(10, 10)
		rt := u.Rate(answers(200))
		ctx, cancel := context.WithCancel(context.Background())
		defer func() { cancel(); synctest.Wait() }()
		for range 20 {
			send(ctx, rt, batch(time.Hour))
		}
		synctest.Wait()
		served := 0
		for range 1000 {
			time.Sleep(50 * time.Millisecond)
			if status, _ := do(t, rt, request("GET", first)); status == 200 {
				served++
			}
		}
		if served < 490 || served > 505 {
			t.Fatalf("%d of 1000 interactive calls in 50 s passed, want about 500", served)
		}
	})
}

func TestBatchIsRefusedWhenItsPaceDoesNotSuffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(1, 10) // 0.7 a second for batch
		rt := u.Rate(answers(200))
		for range 7 {
			if err := <-send(context.Background(), rt, batch(0)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		refusedWith(t, <-send(context.Background(), rt, batch(time.Second)), 429, ErrUpstreamRate, "2")
		if took := time.Since(start); took != 0 {
			t.Errorf("refused after %s although it was known at once", took)
		}
		spent := batch(10 * time.Second)
		spent.Start = time.Now().Add(-9 * time.Second)
		refusedWith(t, <-send(context.Background(), rt, spent), 429, ErrUpstreamRate, "2")
		if err := <-send(context.Background(), rt, batch(2*time.Second)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestALineThatInteractiveCallsOvertakeIsRefusedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(1, 2)
		rt := u.Rate(answers(200))
		var ends []<-chan error
		for range 3 {
			ends = append(ends, send(context.Background(), rt, batch(10*time.Second)))
		}
		synctest.Wait()
		for range 30 { // takes each token as it comes
			_, _ = do(t, rt, request("GET", first))
			time.Sleep(500 * time.Millisecond)
		}
		refusals := 0
		for _, end := range ends {
			select {
			case err := <-end:
				if err != nil {
					refusals++
				}
			default:
				t.Fatal("still in line after its pace")
			}
		}
		if refusals != 2 {
			t.Fatalf("%d of three refused, want the two that did not come at once", refusals)
		}
	})
}

func TestNobodyInLineIsOvertakenByWhoComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(nil, "", config.Rate{PerSecond: 1, Burst: 1}, 1, time.Now)
		l.waiting = 1 // a head that has not yet woken to the token that is there
		l.head <- struct{}{}
		short, err := l.await(t.Context(), begun(batch(0)), time.Now(), time.Second/2)
		if err != nil || short != time.Second {
			t.Fatalf("%s, %v", short, err)
		}
	})
}

func TestACallerWhoGoesAwayLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := limited(0.1, 1)
		rt := u.Rate(answers(200))
		ctx, cancel := context.WithCancel(context.Background())
		var ends []<-chan error
		for range 4 {
			ends = append(ends, send(ctx, rt, batch(time.Hour)))
		}
		synctest.Wait()
		cancel()
		gone := 0
		for _, end := range ends {
			if errors.Is(<-end, context.Canceled) {
				gone++
			}
		}
		if gone != 3 || u.rate.waiting != 0 || u.State().RefusedRate != 0 {
			t.Fatalf("%d gone, %d still in line, %d refused", gone, u.rate.waiting, u.State().RefusedRate)
		}
		if err := <-send(context.Background(), rt, batch(time.Minute)); err != nil {
			t.Fatalf("the next in line: %v", err)
		}
	})
}

// In no stretch of time do more calls pass than the burst and the rate allow, and
// no more of batch than its share.
func TestRateProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perSecond := rapid.Float64Range(0.5, 50).Draw(rt, "perSecond")
		burst := rapid.IntRange(1, 20).Draw(rt, "burst")
		steps := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 80).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			u := limited(perSecond, burst)
			start := time.Now()
			var all, batches int
			layer := u.Rate(byCall(func(c *call.Call) (*http.Response, error) {
				all++
				if c.Batch {
					batches++
				}
				return answer(200, ""), nil
			}))
			for _, step := range steps {
				switch step {
				case 0, 1, 2, 3, 4:
					_, _ = do(t, layer, request("GET", first))
				case 5, 6:
					_, _ = do(t, layer, requestOf(context.Background(), "GET", batch(300*time.Millisecond)))
				default:
					time.Sleep(time.Duration(step) * 10 * time.Millisecond)
				}
				took := time.Since(start).Seconds()
				if most := float64(burst) + perSecond*took + 1e-6; float64(all) > most {
					rt.Fatalf("%d calls in %v s, at most %v are allowed", all, took, most)
				}
				if most := float64(batchShare(burst)) + batchPart*perSecond*took + 1e-6; float64(batches) > most {
					rt.Fatalf("%d batch calls in %v s, at most %v are allowed", batches, took, most)
				}
			}
		})
	})
}
