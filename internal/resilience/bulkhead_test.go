package resilience_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

// narrow has ten places and a queue of ten for a second, and shares nothing.
var narrow = resilience.Settings{Concurrency: config.Concurrency{Max: 10, Queue: 10, Wait: time.Second}}

// shared has twenty places, of which one caller or enterprise gets ten while others want
// in, and never the last three.
var shared = resilience.Settings{Concurrency: config.Concurrency{Max: 20, Share: 0.5, Queue: 20, Wait: time.Second}}

func patient(s resilience.Settings) resilience.Settings { s.Concurrency.Wait = time.Minute; return s }

// crowd are the calls of some callers to one upstream, each lasting until it is ended.
type crowd struct {
	t    *testing.T
	u    *resilience.Upstream
	gate *gate
	rt   call.Sender
	// under are the ways to end those that have a place or wait, by caller.
	under map[string][]context.CancelFunc
}

func newCrowd(t *testing.T, s resilience.Settings) *crowd {
	c := &crowd{t: t, u: protect(s), gate: newGate(), under: make(map[string][]context.CancelFunc)}
	c.rt = c.u.Bulkhead(c.gate)
	t.Cleanup(func() {
		for caller, n := range c.under {
			c.end(caller, len(n))
		}
		c.state(0, 0)
	})
	return c
}

// begin begins a call, and gives where its error will be.
func (c *crowd) begin(of *call.Call) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	end := send(ctx, c.rt, of)
	c.under[of.Caller] = append(c.under[of.Caller], cancel)
	synctest.Wait()
	return end
}

// call begins n calls of a caller.
func (c *crowd) call(n int, caller string, who enterprise.Number) {
	for range n {
		c.begin(&call.Call{Caller: caller, Enterprise: who})
	}
}

// end ends the first n calls of a caller.
func (c *crowd) end(caller string, n int) {
	for range n {
		c.under[caller][0]()
		c.under[caller] = c.under[caller][1:]
		synctest.Wait()
	}
}

// state checks how many calls have a place, and how many wait.
func (c *crowd) state(inFlight, queued int) {
	c.t.Helper()
	if s := c.u.State(); s.InFlight != inFlight || s.Queued != queued {
		c.t.Errorf("%d calls have a place and %d wait, want %d and %d", s.InFlight, s.Queued, inFlight, queued)
	}
}

// holds checks how many places a caller has.
func (c *crowd) holds(caller string, want int) {
	c.t.Helper()
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if held := c.gate.holds[caller]; held != want {
		c.t.Errorf("%s has %d places, want %d: %+v", caller, held, want, c.u.State())
	}
}

func TestNobodyWaitsInAQueueOfNoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, resilience.Settings{Concurrency: config.Concurrency{Max: 1, Share: 0.3, Wait: time.Second}})
		c.call(2, "a", first)
		c.state(1, 0)
	})
}

func TestTheBulkheadBoundsCallsAndTheirQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, narrow)
		c.call(19, "a", 0)
		late, start := interactive(), time.Now()
		waits := c.begin(late)
		c.state(10, 10)
		_, err := do(c.rt, request("GET", first))
		if p := refusedWith(t, err, 503, resilience.ErrBulkheadFull, "1"); p.ProxyError != problem.ProxyConnectionLimit {
			t.Errorf("error type %s", p.ProxyError)
		}
		refusedWith(t, <-waits, 503, resilience.ErrBulkheadFull, "1")
		if took := time.Since(start); took != narrow.Concurrency.Wait || late.Record.Phases.Limits != took {
			t.Errorf("refused after %s, %s noted", took, late.Record.Phases.Limits)
		}
		synctest.Wait()
		c.state(10, 0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		// Out of time is nobody's leaving.
		refusedWith(t, <-send(ctx, c.rt, interactive()), 503, resilience.ErrBulkheadFull, "1")
		if s := c.u.State(); s.RefusedFull != 12 || len(c.gate.arrivals()) != 10 {
			t.Errorf("%+v", s)
		}
	})
}

// A place can be granted in the very moment in which its caller gives up, or has waited long enough.
func TestAPlaceGrantedTooLateIsNotLost(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			u := protect(resilience.Settings{Concurrency: config.Concurrency{Max: 1, Queue: 2, Wait: time.Second}})
			send(context.Background(), u.Bulkhead(tripper(func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return answer(200, ""), nil
			})), interactive())
			synctest.Wait()
			gone, leave := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, leave)
			for _, ctx := range []context.Context{gone, context.Background()} {
				send(ctx, u.Bulkhead(answers(200)), interactive())
			}
			synctest.Wait()
			if s := u.State(); s.InFlight != 1 || s.Queued != 2 {
				t.Fatalf("before: %+v", s)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if s := u.State(); s.InFlight != 0 || s.Queued != 0 {
				t.Fatalf("left behind: %+v", s)
			}
			passes(t, u.Bulkhead(answers(200)), request("GET", first))
		})
	}
}

func TestTheQueueIsServedInOrderInteractiveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, resilience.Settings{Concurrency: config.Concurrency{Max: 1, Queue: 10, Wait: time.Minute}})
		for _, name := range []string{"holds", "batch 1", "interactive 1", "batch 2", "interactive 2"} {
			c.begin(&call.Call{Caller: name, Batch: strings.HasPrefix(name, "batch"), Pace: time.Minute})
		}
		for range 5 {
			c.gate.let <- struct{}{}
			synctest.Wait()
		}
		if got := strings.Join(c.gate.arrivals(), ", "); got != "holds, interactive 1, interactive 2, batch 1, batch 2" {
			t.Fatalf("served %s", got)
		}
	})
}

func TestBatchLeavesThreeTenthsOfThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, narrow)
		for range 30 {
			c.begin(batch(time.Minute))
		}
		c.state(7, 7)
		c.call(6, "a", 0) // three places at once, three in the queue
		c.state(10, 10)
		time.Sleep(2 * time.Second) // interactive calls are refused, batch waits for its pace
		c.state(10, 7)
	})
	for _, c := range []struct{ whole, want int }{{1, 1}, {2, 1}, {3, 2}, {200, 140}} {
		synctest.Test(t, func(t *testing.T) {
			crowd := newCrowd(t, resilience.Settings{Concurrency: config.Concurrency{Max: c.whole}})
			for range c.whole {
				crowd.begin(batch(0))
			}
			crowd.state(c.want, 0)
		})
	}
}

func TestAPlaceIsHeldUntilTheBodyEnds(t *testing.T) {
	read := func(a *http.Response) { _, _ = io.Copy(io.Discard, a.Body) }
	closed := func(a *http.Response) { a.Body.Close() }
	both := func(a *http.Response) { read(a); closed(a); closed(a) }
	nothing := func(*http.Response) {}
	for name, c := range map[string]struct {
		next tripper
		end  func(*http.Response)
		held int // after the header
	}{
		"closed_before":    {answers(200), closed, 1},
		"read_then_closed": {answers(200), both, 1},
		"broken_off":       {breaksOff(errReset), read, 1},
		"no_body": {func(*http.Request) (*http.Response, error) {
			a := answer(204, "text")
			a.Body = http.NoBody
			return a, nil
		}, nothing, 0},
		"body_of_no_length": {
			func(*http.Request) (*http.Response, error) { return answer(200, ""), nil }, nothing, 0},
		"error":                  {fails(errReset), nothing, 0},
		"panic_in_the_transport": {panics, nothing, 0},
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

// Whatever calls come, wait, go away and end: the limits hold at every moment, nobody waits for a place
// that is free, and in the end every place is.
func TestBulkheadProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := config.Concurrency{
			Max: rapid.IntRange(1, 12).Draw(rt, "max"), Queue: rapid.IntRange(0, 6).Draw(rt, "queue"), Wait: time.Second,
			Share: rapid.SampledFrom([]float64{0, 0.3, 0.5, 1}).Draw(rt, "share"),
		}
		reserve := 0 // places that may stay free while somebody waits
		if s.Share > 0 && s.Share < 1 {
			reserve = (s.Max + 4) / 8
		}
		steps := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			u, g := protect(resilience.Settings{Concurrency: s}), newGate()
			layer := u.Bulkhead(g)
			var cancels []context.CancelFunc
			var batches atomic.Int64 // that have a place or wait
			for i, step := range steps {
				switch step {
				case 0, 1, 2:
					ctx, cancel := context.WithCancel(context.Background())
					cancels = append(cancels, cancel)
					end := send(ctx, layer, &call.Call{
						Batch: step == 2, Pace: 2 * time.Second,
						Caller: [...]string{"a", "a", "b"}[i%3], Enterprise: [...]enterprise.Number{0, first, second, second}[i%4],
					})
					if step == 2 {
						batches.Add(1)
						go func() {
							<-end
							batches.Add(-1)
						}()
					}
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
				if st.InFlight != g.holds["a"]+g.holds["b"] || st.InFlight > s.Max || st.Queued > s.Queue ||
					g.batch > max(1, s.Max*7/10) {
					rt.Errorf("%+v, %d of batch, under %+v", st, g.batch, s)
				}
				if waiting := int(batches.Load()) - g.batch; st.Queued > waiting && st.InFlight < s.Max-reserve {
					rt.Errorf("somebody waits for a place that is free: %+v under %+v", st, s)
				}
			}
			for _, cancel := range cancels {
				cancel()
			}
			synctest.Wait()
			if st := u.State(); st.InFlight+st.Queued != 0 {
				rt.Fatalf("left behind: %+v", st)
			}
		})
	})
}

func TestACallerAloneLeavesPlacesForThoseWhoComeLater(t *testing.T) {
	type calls struct {
		n      int
		caller string
		who    enterprise.Number
	}
	type greed struct {
		greedy []calls
		held   int // then
		later  calls
		finds  int
	}
	testkit.Table(t, map[string]greed{
		"one_caller_for_one_enterprise":    {[]calls{{50, "a", first}}, 17, calls{9, "b", second}, 3},
		"another_caller_of_its_enterprise": {[]calls{{50, "a", first}}, 17, calls{9, "b", first}, 2},
		"its_next_enterprise":              {[]calls{{50, "a", first}}, 17, calls{9, "a", second}, 2},
		"one_caller_for_no_enterprise":     {[]calls{{50, "a", 0}}, 17, calls{9, "b", 0}, 3},
		"one_caller_for_many_enterprises": {
			[]calls{{7, "a", first}, {7, "a", second}, {9, "a", third}}, 19, calls{9, "b", 1}, 1},
		"many_callers_for_one_enterprise": {
			[]calls{{7, "a", first}, {7, "b", first}, {9, "c", first}}, 19, calls{9, "d", 1}, 1},
	}, func(t *testing.T, c greed) {
		crowd := newCrowd(t, patient(shared))
		for _, g := range c.greedy {
			crowd.call(g.n, g.caller, g.who)
		}
		if got := crowd.u.State().InFlight; got != c.held {
			t.Fatalf("%d places are taken, want %d", got, c.held)
		}
		crowd.call(c.later.n, c.later.caller, c.later.who)
		if got := crowd.u.State().InFlight - c.held; got != c.finds {
			t.Errorf("%d places are found, want %d", got, c.finds)
		}
	})
}

func TestPlacesThatBecomeFreeGoToThoseBelowTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, patient(shared))
		c.call(17+5, "a", first) // five wait, and came first
		c.call(12, "b", second)
		c.holds("a", 17)
		c.holds("b", 3)
		c.end("a", 7)
		c.holds("a", 10)
		c.holds("b", 10)
		c.end("a", 1) // both have their share: now the order of arrival counts
		c.holds("a", 10)
		c.end("b", 12) // alone again, it gets what is there
		c.holds("b", 0)
		c.holds("a", 14)
		c.call(9, "a", first)
		c.holds("a", 17)
	})
}

func TestNoCallerFillsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, patient(shared))
		c.call(80, "a", first)
		c.call(3, "b", second) // what the caller before had to leave
		c.state(20, 17)
		c.call(2, "b", second)
		c.state(20, 19)
		c.end("a", 1)
		c.holds("b", 4)
	})
}

func TestWhoeverIsBeyondItsShareIsToldSo(t *testing.T) {
	type refusal struct {
		caller string
		who    enterprise.Number
		says   string
		share  uint64
	}
	testkit.Table(t, map[string]refusal{
		"caller": {"a", third, "This caller has its share of the calls that this upstream may have in flight, 10 of 20", 1},
		"enterprise": {"c", first, "The calls for this enterprise have their share of those that this upstream may " +
			"have in flight, 10 of 20", 1},
		"neither": {"c", third, "The upstream has as many calls in flight as the gateway allows", 0},
	}, func(t *testing.T, c refusal) {
		crowd := newCrowd(t, shared)
		crowd.call(17, "a", first)
		crowd.call(3, "b", second)
		_, err := do(crowd.rt, requestOf(context.Background(), "GET", &call.Call{Caller: c.caller, Enterprise: c.who}))
		p := refusedWith(t, err, 503, resilience.ErrBulkheadFull, "1")
		if !strings.HasPrefix(p.Detail, c.says) || !strings.Contains(p.Detail, "fewer calls at once") {
			t.Error(p.Detail)
		}
		if s := crowd.u.State(); s.RefusedShare != c.share || s.RefusedFull != 1-c.share {
			t.Errorf("state %+v", s)
		}
	})
}

// Where the configuration names no callers, each address is one.
func TestCallersWithoutARuleAreToldApartByTheirAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, shared)
		for _, address := range []string{"10.0.0.1", "10.0.0.2"} {
			for range 30 {
				c.begin(&call.Call{Source: netip.MustParseAddr(address)})
			}
		}
		c.state(20, 20) // the last three of both are the second's
	})
}
