package resilience

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// crowd are the calls of some callers to one upstream, each lasting until it is ended.
type crowd struct {
	t  *testing.T
	u  *Upstream
	rt call.Sender
	// under are the ways to end those that have a place or wait, by caller.
	under map[string][]context.CancelFunc
}

func newCrowd(t *testing.T, s Settings) *crowd {
	c := &crowd{t: t, u: protect(s), under: make(map[string][]context.CancelFunc)}
	c.rt = c.u.Bulkhead(newGate())
	t.Cleanup(func() {
		for caller, n := range c.under {
			c.end(caller, len(n))
		}
	})
	return c
}

// call begins n calls of a caller that has a minute to wait.
func (c *crowd) call(n int, caller string, who enterprise.Number) {
	for range n {
		ctx, cancel := context.WithCancel(context.Background())
		send(ctx, c.rt, &call.Call{Caller: caller, Enterprise: who})
		c.under[caller] = append(c.under[caller], cancel)
		synctest.Wait()
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

func callerNamed(name string) party { return party{caller: memory.Party{Caller: name}} }

// holds checks how many places a caller, or an enterprise, has.
func (c *crowd) holds(p party, want int) {
	c.t.Helper()
	held := 0
	if a := c.u.bulkhead.accounts[p]; a != nil {
		held = a.held
	}
	if held != want {
		c.t.Errorf("%+v has %d places, want %d: %+v", p, held, want, c.u.State())
	}
}

func patient(s Settings) Settings { s.Concurrency.Wait = time.Minute; return s }

func TestACallerAloneLeavesPlacesForThoseWhoComeLater(t *testing.T) {
	type calls struct {
		n      int
		caller string
		who    enterprise.Number
	}
	for name, c := range map[string]struct {
		greedy []calls
		held   int // then
		later  calls
		finds  int
	}{
		"one_caller_for_one_enterprise":    {[]calls{{50, "a", first}}, 17, calls{9, "b", second}, 3},
		"another_caller_of_its_enterprise": {[]calls{{50, "a", first}}, 17, calls{9, "b", first}, 2},
		"its_next_enterprise":              {[]calls{{50, "a", first}}, 17, calls{9, "a", second}, 2},
		"one_caller_for_no_enterprise":     {[]calls{{50, "a", 0}}, 17, calls{9, "b", 0}, 3},
		"one_caller_for_many_enterprises": {
			[]calls{{7, "a", first}, {7, "a", second}, {9, "a", third}}, 19, calls{9, "b", 1}, 1},
		"many_callers_for_one_enterprise": {
			[]calls{{7, "a", first}, {7, "b", first}, {9, "c", first}}, 19, calls{9, "d", 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crowd := newCrowd(t, patient(shared))
				for _, g := range c.greedy {
					crowd.call(g.n, g.caller, g.who)
				}
				if got := crowd.u.State().InFlight; got != c.held {
					t.Errorf("the greedy hold %d places, want %d", got, c.held)
				}
				crowd.call(c.later.n, c.later.caller, c.later.who)
				if got := crowd.u.State().InFlight - c.held; got != c.finds {
					t.Errorf("who came later found %d places, want %d", got, c.finds)
				}
			})
		})
	}
}

func TestPlacesThatBecomeFreeGoToThoseBelowTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, patient(shared))
		a, b := callerNamed("a"), callerNamed("b")
		c.call(17+5, "a", first) // five wait, and came first
		c.call(12, "b", second)
		c.holds(a, 17)
		c.holds(b, 3)
		c.end("a", 7)
		c.holds(a, 10)
		c.holds(b, 10)
		c.end("a", 1) // both have their share: now the order of arrival counts
		c.holds(a, 10)
		c.end("b", 12) // alone again, it gets what is there
		c.holds(b, 0)
		c.holds(a, 14)
		c.call(9, "a", first)
		c.holds(a, 17)
	})
}

func TestNoCallerFillsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, patient(shared))
		c.call(80, "a", first)
		c.call(3, "b", second) // what the caller before had to leave
		if s := c.u.State(); s.InFlight != 20 || s.Queued != 17 {
			t.Fatalf("state %+v", s)
		}
		c.call(2, "b", second)
		if s := c.u.State(); s.Queued != 19 {
			t.Fatalf("state %+v", s)
		}
		c.end("a", 1)
		c.holds(callerNamed("b"), 4)
	})
}

func TestWhoeverIsBeyondItsShareIsToldSo(t *testing.T) {
	for name, c := range map[string]struct {
		caller string
		who    enterprise.Number
		says   string
	}{
		"caller": {"a", third, "This caller has its share of the calls that this upstream may have in flight, 10 of 20"},
		"enterprise": {"c", first, "The calls for this enterprise have their share of those that this upstream may " +
			"have in flight, 10 of 20"},
		"neither": {"c", third, "The upstream has as many calls in flight as the gateway allows"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crowd := newCrowd(t, shared)
				crowd.call(17, "a", first)
				crowd.call(3, "b", second)
				_, err := do(t, crowd.rt, requestOf(context.Background(), "GET", &call.Call{Caller: c.caller, Enterprise: c.who}))
				refusedWith(t, err, 503, ErrBulkheadFull, "1")
				if p := problem.From(err); !strings.HasPrefix(p.Detail, c.says) ||
					!strings.Contains(p.Detail, "fewer calls at once") {
					t.Error(p.Detail)
				}
				s := crowd.u.State()
				if want := map[bool]uint64{true: 1}[name != "neither"]; s.RefusedShare != want || s.RefusedFull != 1-want {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// Where the configuration names no callers, each address is one.
func TestCallersWithoutARuleAreToldApartByTheirAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(shared)
		rt := u.Bulkhead(newGate())
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for _, address := range []string{"10.0.0.1", "10.0.0.2"} {
			for range 30 {
				send(ctx, rt, &call.Call{Source: netip.MustParseAddr(address)})
			}
			synctest.Wait()
		}
		if s := u.State(); s.InFlight != 20 {
			t.Errorf("the second address found %d places, want 3", s.InFlight-17)
		}
	})
}
