package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// narrow has ten places and a queue of ten for a second, and shares nothing.
var narrow = Settings{Concurrency: config.Concurrency{Max: 10, Queue: 10, Wait: time.Second}}

// shared has twenty places, of which one caller or enterprise gets ten while others want
// in, and never the last three.
var shared = Settings{Concurrency: config.Concurrency{Max: 20, Share: 0.5, Queue: 20, Wait: time.Second}}

// gate is an upstream whose calls last until they are let go, each under a name.
type gate struct {
	let   chan struct{}
	mu    sync.Mutex
	order []string
}

func newGate() *gate { return &gate{let: make(chan struct{})} }

func (g *gate) Send(ctx context.Context, c *call.Call, _ *http.Request) (*http.Response, error) {
	g.mu.Lock()
	g.order = append(g.order, c.Caller)
	g.mu.Unlock()
	select {
	case <-g.let:
		return answer(200, "text"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gate) arrivals() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

// send makes a call in a goroutine and returns where its error will be.
func send(ctx context.Context, s call.Sender, c *call.Call) <-chan error {
	end := make(chan error, 1)
	o := requestOf(ctx, "GET", c)
	go func() {
		resp, err := o.by(s)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		end <- err
	}()
	return end
}

func interactive() *call.Call { return &call.Call{Caller: "interactive"} }
func batch(pace time.Duration) *call.Call {
	return &call.Call{Caller: "batch", Batch: true, Pace: pace}
}

func TestTheBulkheadBoundsCallsAndTheirQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := protect(narrow), newGate()
		rt := u.Bulkhead(g)
		for range 20 {
			send(context.Background(), rt, interactive())
		}
		synctest.Wait()
		if s := u.State(); s.InFlight != 10 || s.Queued != 10 || len(g.arrivals()) != 10 {
			t.Fatalf("state %+v, %d sent", s, len(g.arrivals()))
		}
		_, err := do(t, rt, request("GET", first))
		refusedWith(t, err, 503, ErrBulkheadFull, "1")
		if p := problem.From(err); p.ProxyError != problem.ProxyConnectionLimit {
			t.Errorf("error type %s", p.ProxyError)
		}
		close(g.let)
		synctest.Wait()
		if s := u.State(); s.InFlight != 0 || s.Queued != 0 || s.RefusedFull != 1 || len(g.arrivals()) != 20 {
			t.Fatalf("state %+v, %d sent", s, len(g.arrivals()))
		}
	})
}

func TestWhoWaitsTooLongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := protect(narrow), newGate()
		rt := u.Bulkhead(g)
		for range 10 {
			send(context.Background(), rt, interactive())
		}
		synctest.Wait()
		c, start := interactive(), time.Now()
		err := <-send(context.Background(), rt, c)
		refusedWith(t, err, 503, ErrBulkheadFull, "1")
		if took := time.Since(start); took != narrow.Concurrency.Wait || c.Record.Phases.Limits != narrow.Concurrency.Wait {
			t.Errorf("refused after %s, %s noted", took, c.Record.Phases.Limits)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		refusedWith(t, <-send(ctx, rt, interactive()), 503, ErrBulkheadFull, "1") // out of time is nobody's leaving
		close(g.let)
		synctest.Wait()
		if s := u.State(); s.InFlight != 0 || s.Queued != 0 {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestACallerWhoGoesAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := protect(narrow), newGate()
		rt := u.Bulkhead(g)
		for range 10 {
			send(context.Background(), rt, interactive())
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		gone := send(ctx, rt, interactive())
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatalf("the error is %v", err)
		}
		if s := u.State(); s.Queued != 0 || s.RefusedFull != 0 {
			t.Fatalf("state %+v", s)
		}
		close(g.let)
		synctest.Wait()
		if s := u.State(); s.InFlight != 0 || len(g.arrivals()) != 10 {
			t.Fatalf("state %+v, %d sent", s, len(g.arrivals()))
		}
	})
}

// A place can be granted in the very moment in which its caller gives up.
func TestAPlaceGrantedTooLateIsNotLost(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		placed bool
	}{"time_over": {nil, true}, "caller_gone": {context.Canceled, false}} {
		t.Run(name, func(t *testing.T) {
			h := newBulkhead(narrow.Concurrency)
			e, _, _ := h.enter(context.Background(), batch(0), 0)
			e.granted = make(chan struct{})
			close(e.granted)
			placed, _, err := h.leaveQueue(e, nil, c.err)
			if placed != nil != c.placed || err != c.err {
				t.Errorf("placed: %v, error %v", placed, err)
			}
			if want := map[bool]int{true: 1, false: 0}[c.placed]; h.taken != want || h.batch != want || h.refused != 0 ||
				len(h.accounts) != want {
				t.Errorf("%d places taken, %d of batch, %d refused", h.taken, h.batch, h.refused)
			}
		})
	}
}

func TestTheQueueIsServedInOrderInteractiveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := protect(Settings{Concurrency: config.Concurrency{Max: 1, Queue: 10, Wait: time.Minute}}), newGate()
		rt := u.Bulkhead(g)
		queue := func(name string, isBatch bool) {
			send(context.Background(), rt, &call.Call{Caller: name, Batch: isBatch, Pace: time.Minute})
			synctest.Wait()
		}
		queue("holds", false)
		queue("batch 1", true)
		queue("interactive 1", false)
		queue("batch 2", true)
		queue("interactive 2", false)
		for range 5 {
			g.let <- struct{}{}
			synctest.Wait()
		}
		if got := strings.Join(g.arrivals(), ", "); got != "holds, interactive 1, interactive 2, batch 1, batch 2" {
			t.Fatalf("served %s", got)
		}
	})
}

func TestBatchLeavesThreeTenthsOfThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := protect(narrow), newGate()
		rt := u.Bulkhead(g)
		for range 30 {
			send(context.Background(), rt, batch(time.Minute))
		}
		synctest.Wait()
		if s := u.State(); s.InFlight != 7 || s.Queued != 7 {
			t.Fatalf("state %+v", s)
		}
		for range 6 { // three places at once, three in the queue
			send(context.Background(), rt, interactive())
		}
		synctest.Wait()
		if s := u.State(); s.InFlight != 10 || s.Queued != 10 {
			t.Fatalf("state %+v", s)
		}
		time.Sleep(2 * time.Second) // interactive calls are refused, batch waits for its pace
		if s := u.State(); s.Queued != 7 {
			t.Fatalf("state %+v", s)
		}
		close(g.let)
		synctest.Wait()
		if s := u.State(); s.InFlight != 0 || s.Queued != 0 {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestBatchIsServedByTheSmallestBulkhead(t *testing.T) {
	for _, c := range []struct{ whole, want int }{{1, 1}, {2, 1}, {3, 2}, {10, 7}, {200, 140}} {
		if got := batchShare(c.whole); got != c.want {
			t.Errorf("batch gets %d of %d, want %d", got, c.whole, c.want)
		}
	}
}

func TestAPlaceIsHeldUntilTheBodyEnds(t *testing.T) {
	for name, c := range map[string]struct {
		next tripper
		end  func(*http.Response)
		held int // after the header
	}{
		"read_to_its_end":  {answers(200), func(a *http.Response) { _, _ = io.Copy(io.Discard, a.Body) }, 1},
		"closed_before":    {answers(200), func(a *http.Response) { a.Body.Close() }, 1},
		"closed_twice":     {answers(200), func(a *http.Response) { a.Body.Close(); a.Body.Close() }, 1},
		"read_then_closed": {answers(200), func(a *http.Response) { _, _ = io.Copy(io.Discard, a.Body); a.Body.Close() }, 1},
		"broken_off": {func(*http.Request) (*http.Response, error) {
			a := answer(200, "text")
			a.Body = &failingReader{errReset}
			return a, nil
		}, func(a *http.Response) { _, _ = a.Body.Read(nil) }, 1},
		"no_body": {
			func(*http.Request) (*http.Response, error) { a := answer(204, ""); a.Body = http.NoBody; return a, nil },
			func(*http.Response) {}, 0},
		"body_of_no_length": {
			func(*http.Request) (*http.Response, error) { return answer(200, ""), nil }, func(*http.Response) {}, 0},
		"error": {fails(errReset), func(*http.Response) {}, 0},
		"panic_in_the_transport": {
			func(*http.Request) (*http.Response, error) { panic("a fault below") }, func(*http.Response) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			u := protect(narrow)
			var a *http.Response
			func() {
				defer func() { _ = recover() }()
				a, _ = request("GET", first).by(u.Bulkhead(c.next))
			}()
			if got := u.State().InFlight; got != c.held {
				t.Errorf("%d places held after the header, want %d", got, c.held)
			}
			c.end(a)
			if got := u.State().InFlight; got != 0 {
				t.Errorf("%d places held in the end", got)
			}
		})
	}
}

// Whatever calls come, wait, go away and end: the limits hold at every moment, and
// in the end every place is free.
func TestBulkheadProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := config.Concurrency{
			Max: rapid.IntRange(1, 12).Draw(rt, "max"), Queue: rapid.IntRange(0, 6).Draw(rt, "queue"), Wait: time.Second,
			Share: rapid.SampledFrom([]float64{0, 0.3, 0.5, 1}).Draw(rt, "share"),
		}
		steps := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			u, g := protect(Settings{Concurrency: s}), newGate()
			layer := u.Bulkhead(g)
			var cancels []context.CancelFunc
			for i, step := range steps {
				switch step {
				case 0, 1, 2:
					ctx, cancel := context.WithCancel(context.Background())
					cancels = append(cancels, cancel)
					send(ctx, layer, &call.Call{
						Batch: step == 2, Pace: 2 * time.Second,
						Caller: [...]string{"a", "a", "b"}[i%3], Enterprise: [...]enterprise.Number{0, first, second, second}[i%4],
					})
				case 3:
					select {
					case g.let <- struct{}{}:
					default:
					}
				case 4:
					if len(cancels) > 0 {
						cancels[len(cancels)/2]()
					}
				case 5:
					time.Sleep(400 * time.Millisecond)
				}
				synctest.Wait()
				st := u.State()
				h := u.bulkhead
				h.mu.Lock()
				held, waiting := 0, 0
				for p, a := range h.accounts {
					if p.enterprise == (tenant{}) {
						held, waiting = held+a.held, waiting+a.waiting
					}
				}
				for at := h.line.Front(); at != nil; at = at.Next() {
					if h.fits(at.Value.(*entry)) {
						rt.Errorf("somebody waits for a place that is free: %+v under %+v", st, s)
					}
				}
				batched, batchWaiting := h.batch, h.batchWaiting
				h.mu.Unlock()
				if st.InFlight > s.Max || batched > h.places.batch || st.Queued > s.Queue ||
					batchWaiting > h.queue.batch ||
					held != st.InFlight || waiting != st.Queued {
					rt.Fatalf("%+v under %+v; callers hold %d, %d wait", st, s, held, waiting)
				}
			}
			for _, cancel := range cancels {
				cancel()
			}
			synctest.Wait()
			if st := u.State(); st.InFlight != 0 || st.Queued != 0 || len(u.bulkhead.accounts) != 0 {
				rt.Fatalf("left behind: %+v and %d accounts", st, len(u.bulkhead.accounts))
			}
		})
	})
}

func TestTheBulkheadUnderManyCallers(t *testing.T) {
	u := protect(Settings{Concurrency: config.Concurrency{Max: 4, Queue: 8, Wait: 2 * time.Millisecond}})
	var inside, most atomic.Int64
	rt := u.Bulkhead(tripper(func(r *http.Request) (*http.Response, error) {
		n := inside.Add(1)
		defer inside.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return answer(200, "text"), nil
	}))
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if j%5 == 0 {
					time.AfterFunc(time.Duration(j)*time.Microsecond, cancel)
				}
				<-send(ctx, rt, &call.Call{Batch: i%2 == 0, Pace: time.Millisecond})
				cancel()
			}
		})
	}
	wg.Wait()
	if s := u.State(); s.InFlight != 0 || s.Queued != 0 {
		t.Errorf("left behind: %+v", s)
	}
	if most.Load() > 4 {
		t.Errorf("%d calls at once", most.Load())
	}
}
