package resilience

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// trusting opens at half of ten calls within ten seconds, for five seconds.
var trusting = Settings{Breaker: config.Breaker{
	Enabled: true, FailureRatio: 0.5, MinRequests: 10, Window: 10 * time.Second, Open: 5 * time.Second,
}}

// two calls ten times for each of two enterprises.
func two(t *testing.T, rt call.Sender) {
	t.Helper()
	for range 10 {
		repeat(t, 1, rt, first)
		repeat(t, 1, rt, second)
	}
}

func TestWhatOpensACircuit(t *testing.T) {
	brokenOff := func(*http.Request) (*http.Response, error) {
		a := answer(200, "")
		a.ContentLength = 10
		a.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), &failingReader{errReset}))
		return a, nil
	}
	for name, c := range map[string]struct {
		next tripper
		want Circuit
	}{
		"502":                       {answers(502), Open},
		"503":                       {answers(503), Open},
		"504":                       {answers(504), Open},
		"500_does_not":              {answers(500), Closed},
		"404_does_not":              {answers(404), Closed},
		"429_does_not":              {answers(429), Closed},
		"200_does_not":              {answers(200), Closed},
		"reset":                     {fails(errReset), Open},
		"header_time-out":           {fails(errTooSlow), Open},
		"connection_not_made":       {fails(errNotMade), Open},
		"connect_time-out":          {fails(errNoConnect), Open},
		"body_broken_off":           {brokenOff, Open},
		"cancelled_does_not":        {fails(context.Canceled), Closed},
		"gateway_refusal_does_not":  {fails(problem.Internal(errReset)), Closed},
		"own_deadline":              {fails(context.DeadlineExceeded), Open},
		"unclassified_wrapped_text": {fails(errors.New("what is this")), Open},
	} {
		t.Run(name, func(t *testing.T) {
			u := protect(trusting)
			two(t, u.Breaker(c.next))
			if got := u.State().Circuit; got != c.want {
				t.Fatalf("the circuit is %s, want %s", got, c.want)
			}
		})
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }
func (r *failingReader) Close() error             { return nil }

func TestAnOpenCircuitSaysHowLongItStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		calls := 0
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) { calls++; return answer(503, ""), nil }))
		repeat(t, 10, rt, first)
		for _, c := range []struct {
			after time.Duration
			want  string
		}{{0, "5"}, {1500 * time.Millisecond, "4"}, {3400 * time.Millisecond, "1"}} {
			time.Sleep(c.after)
			_, err := do(t, rt, request("GET", first))
			refusedWith(t, err, 503, ErrCircuitOpen, c.want)
		}
		if p := problem.From(errOf(do(t, rt, request("GET", first)))); p.ProxyError != problem.ProxyDestinationUnavail {
			t.Errorf("error type %s", p.ProxyError)
		}
		if calls != 10 {
			t.Errorf("%d calls reached the upstream, want 10", calls)
		}
		s := u.State()
		if s.Circuit != Open || !slices.Equal(s.OpenFor, []string{"0206731645"}) || s.RefusedOpen != 4 ||
			time.Until(s.Until) != 100*time.Millisecond {
			t.Errorf("state %+v, open for another %s", s, time.Until(s.Until))
		}
	})
}

func errOf(_ int, err error) error { return err }

func TestACircuitClosesAfterEnoughProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		u := protect(trusting, logTo(&log))
		up := false
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) {
			if up {
				return answer(200, "text"), nil
			}
			return nil, errReset
		}))
		two(t, rt)
		time.Sleep(seconds(5.1))
		repeat(t, 1, rt, first) // two probes that fail
		repeat(t, 1, rt, second)
		if got := u.State().Circuit; got != Open {
			t.Fatalf("after a failed probe the circuit is %s", got)
		}
		up = true
		time.Sleep(seconds(5.1))
		for i := range probes {
			if got := u.State().Circuit; got != HalfOpen {
				t.Fatalf("after %d probes the circuit is %s", i, got)
			}
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("probe %d: %d %v", i, status, err)
			}
		}
		if s := u.State(); s.Circuit != Closed || s.Opened != 2 || !s.Until.IsZero() {
			t.Fatalf("state %+v", s)
		}
		for _, want := range []string{"circuit open: too many calls failed", "failures=5", "circuit half-open",
			"circuit open again", "circuit closed", "upstream=nsso"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, &log)
			}
		}
	})
}

func TestOneEnterpriseAloneOpensNoCircuitForOthers(t *testing.T) {
	broken := func(bad ...enterprise.Number) byCall {
		return func(c *call.Call) (*http.Response, error) {
			for _, n := range bad {
				if c.Enterprise == n {
					return answer(503, ""), nil
				}
			}
			return answer(200, ""), nil
		}
	}
	for name, c := range map[string]struct {
		next  byCall
		calls func(*testing.T, call.Sender)
		want  Circuit
	}{
		"one_of_two_fails": {broken(first), two, Closed},
		"one_fails_fifty_times_another_once_succeeds": {broken(first), func(t *testing.T, rt call.Sender) {
			repeat(t, 1, rt, second)
			repeat(t, 50, rt, first)
		}, Closed},
		"the_only_one_fails": {broken(first), func(t *testing.T, rt call.Sender) { repeat(t, 50, rt, first) }, Closed},
		"both_fail":          {broken(first, second), two, Open},
		"most_failures_are_one's_but_others_fail_too": {broken(first, second), func(t *testing.T, rt call.Sender) {
			repeat(t, 30, rt, first)
			repeat(t, 10, rt, second)
		}, Open},
		"one_always_fails_another_once_in_ten": {func() byCall {
			n := 0
			return func(c *call.Call) (*http.Response, error) {
				if c.Enterprise == second {
					if n++; n%10 != 1 {
						return answer(200, ""), nil
					}
				}
				return answer(503, ""), nil
			}
		}(), two, Closed},
		"one's_connections_are_not_made": {func(c *call.Call) (*http.Response, error) {
			if c.Enterprise == first {
				return nil, errNotMade
			}
			return answer(200, ""), nil
		}, func(t *testing.T, rt call.Sender) { two(t, rt); repeat(t, 2, rt, first) }, Open},
		"own_and_enterprise_are_two": {broken(0), func(t *testing.T, rt call.Sender) {
			for range 10 {
				_, _ = do(t, rt, requestOf(context.Background(), "GET", &call.Call{Own: true}))
				repeat(t, 1, rt, first)
			}
		}, Closed},
		"calls_for_nobody_fail": {broken(0), func(t *testing.T, rt call.Sender) { repeat(t, 10, rt, 0) }, Open},
	} {
		t.Run(name, func(t *testing.T) {
			u := protect(trusting)
			c.calls(t, u.Breaker(c.next))
			got := Closed
			if _, err := do(t, u.Breaker(answers(200)), request("GET", third)); errors.Is(err, ErrCircuitOpen) {
				got = Open
			}
			if got != c.want {
				t.Fatalf("for a third enterprise the circuit is %s, want %s", got, c.want)
			}
		})
	}
}

func TestOneEnterpriseCannotKeepAHalfOpenCircuitFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		down := true
		rt := u.Breaker(byCall(func(c *call.Call) (*http.Response, error) {
			if down || c.Enterprise == first {
				return answer(503, ""), nil
			}
			return answer(200, ""), nil
		}))
		two(t, rt)
		down = false
		time.Sleep(seconds(5.1))
		if status, err := do(t, rt, request("GET", first)); status != 503 {
			t.Fatalf("the probe: %d %v", status, err)
		}
		_, err := do(t, rt, request("GET", first))
		refusedWith(t, err, 503, ErrCircuitOpen, "5") // it had its turn
		for range probes {
			if status, err := do(t, rt, request("GET", second)); status != 200 {
				t.Fatalf("another enterprise: %d %v", status, err)
			}
		}
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
}

func TestTwoEnterprisesThatFailAsProbesOpenTheCircuitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(answers(503))
		two(t, rt)
		time.Sleep(seconds(5.1))
		repeat(t, 1, rt, first)
		if got := u.State().Circuit; got != HalfOpen {
			t.Fatalf("after the first probe the circuit is %s", got)
		}
		repeat(t, 1, rt, second)
		if got := u.State().Circuit; got != Open {
			t.Fatalf("after the second probe the circuit is %s", got)
		}
	})
}

// The header time-out and the window are both thirty seconds by default; gobreaker
// by itself does not count a call that lasts as long as its window.
func TestAnUpstreamThatHangsOpensItsCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(trusting.Breaker.Window)
			return nil, errTooSlow
		}))
		for range 10 {
			go repeat(t, 1, rt, first)
		}
		time.Sleep(trusting.Breaker.Window + time.Second)
		synctest.Wait()
		if got := u.State().Circuit; got != Open {
			t.Fatalf("the circuit is %s", got)
		}
	})
}

func TestCallsInFlightDoNotHideFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		let := make(chan struct{})
		rt := u.Breaker(tripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == "POST" {
				<-let
			}
			return nil, errReset
		}))
		for range 100 {
			go func() { _, _ = do(t, rt, request("POST", first)) }()
		}
		synctest.Wait()
		repeat(t, 10, rt, first)
		if got := u.State().Circuit; got != Open {
			t.Errorf("the circuit is %s", got)
		}
		close(let)
		synctest.Wait()
	})
}

func TestOldFailuresLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(answers(503))
		for range 30 {
			repeat(t, 1, rt, first)
			time.Sleep(seconds(1.2)) // at most nine in a window
		}
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
}

func TestCallsFromBeforeTheCircuitOpenedDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		late := make(chan struct{})
		rt := u.Breaker(tripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == "POST" {
				<-late
			}
			if r.Method == "HEAD" {
				return answer(200, ""), nil
			}
			return nil, errReset
		}))
		for range 10 {
			go func() { _, _ = do(t, rt, request("POST", first)) }()
		}
		synctest.Wait()
		two(t, rt)
		time.Sleep(seconds(5.1))
		for range probes {
			_, _ = do(t, rt, request("HEAD", first))
		}
		close(late)
		synctest.Wait()
		if s := u.State(); s.Circuit != Closed || s.Opened != 1 {
			t.Fatalf("state %+v", s)
		}
	})
}

// gobreaker waits for ever for a probe that never reports. Whatever happens to
// probes here, others get their turn.
func TestNoProbeIsLost(t *testing.T) {
	for name, probe := range map[string]tripper{
		"cancelled":           fails(context.Canceled),
		"panics":              func(*http.Request) (*http.Response, error) { panic("a fault below") },
		"body_is_never_ended": answers(200),
		"refused_below":       fails(problem.Internal(errReset)),
		"neutral_answer":      answers(502),
		"hangs": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := protect(trusting, neutralIf(func(_ *call.Call, a *http.Response) bool { return a.StatusCode == 502 }))
				two(t, u.Breaker(fails(errReset)))
				time.Sleep(seconds(5.1))
				ctx, cancel := context.WithCancel(context.Background())
				for range 3 * probes {
					go func() {
						defer func() { _ = recover() }()
						_, _ = requestOf(ctx, "GET", &call.Call{Enterprise: first}).by(u.Breaker(probe))
					}()
				}
				defer func() { cancel(); synctest.Wait() }()
				time.Sleep(seconds(5.1)) // longer than a probe may take
				repeat(t, probes, u.Breaker(answers(200)), first)
				if got := u.State().Circuit; got != Closed {
					t.Fatalf("the circuit is %s", got)
				}
			})
		})
	}
}

func TestAProbeWithoutAConnectionOpensTheCircuitForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(fails(errNotMade))
		two(t, rt)
		time.Sleep(seconds(5.1))
		repeat(t, 1, rt, first)
		if s := u.State(); s.Circuit != Open || s.Opened != 2 {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestAHalfOpenCircuitLetsFewPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		two(t, u.Breaker(fails(errReset)))
		time.Sleep(seconds(5.1))
		let := make(chan struct{})
		calls := make(chan struct{}, 100)
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) {
			calls <- struct{}{}
			<-let
			return answer(200, ""), nil
		}))
		for range 50 {
			go repeat(t, 1, rt, second)
		}
		synctest.Wait()
		if len(calls) != probes {
			t.Errorf("%d calls passed, want %d", len(calls), probes)
		}
		_, err := do(t, rt, request("GET", second))
		refusedWith(t, err, 503, ErrCircuitOpen, "1")
		close(let)
		synctest.Wait()
		if got := u.State().Circuit; got != Closed {
			t.Errorf("the circuit is %s", got)
		}
	})
}

func TestAProbeIsJudgedByItsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		two(t, u.Breaker(fails(errReset)))
		time.Sleep(seconds(5.1))
		rt := u.Breaker(answers(200))
		for range probes { // long downloads, of which nothing has been read yet
			a, err := request("GET", first).by(rt)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
		}
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
}

func TestTheBodyOfAnAnswerIsClosedThroughTheLayers(t *testing.T) {
	closed := 0
	s := trusting
	s.Tries, s.Concurrency.Max, s.Rate = 3, 1, config.Rate{PerSecond: 1, Burst: 1}
	_, err := do(t, layers(protect(s), tripper(func(*http.Request) (*http.Response, error) {
		a := answer(200, "text")
		a.Body = &countedClose{a.Body, &closed}
		return a, nil
	})), request("GET", first))
	if err != nil || closed != 1 {
		t.Fatalf("error %v, closed %d times", err, closed)
	}
}

func TestWhatSaysNothingAboutTheUpstream(t *testing.T) {
	t.Run("health_that_says_down", func(t *testing.T) {
		u := protect(trusting, neutralIf(func(c *call.Call, a *http.Response) bool {
			return c.Path == "/" && a.StatusCode == 503
		}))
		repeat(t, 30, u.Breaker(answers(503)), first)
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
	t.Run("caller's_body_that_cannot_be_read", func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(tripper(func(r *http.Request) (*http.Response, error) {
			_, err := io.ReadAll(r.Body)
			return nil, err
		}))
		for range 30 {
			r := request("POST", first)
			r.r.Body = &failingReader{io.ErrUnexpectedEOF}
			if _, err := do(t, rt, r); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("the error is %v", err)
			}
		}
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
	t.Run("caller_that_went_away_while_the_transport_failed", func(t *testing.T) {
		u := protect(trusting)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 30 {
			_, _ = do(t, u.Breaker(fails(errReset)), requestOf(ctx, "GET", &call.Call{}))
		}
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
	t.Run("download_that_its_caller_ends", func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) {
			a := answer(200, "")
			a.ContentLength, a.Body = -1, &failingReader{context.Canceled}
			return a, nil
		}))
		repeat(t, 30, rt, first)
		if got := u.State().Circuit; got != Closed {
			t.Fatalf("the circuit is %s", got)
		}
	})
}

func TestARefusalClosesTheBody(t *testing.T) {
	u := protect(trusting)
	two(t, u.Breaker(fails(errReset)))
	r := request("POST", first)
	body := &closable{}
	r.r.Body = body
	if _, err := do(t, u.Breaker(answers(200)), r); !errors.Is(err, ErrCircuitOpen) || !body.closed {
		t.Fatalf("error %v, body closed: %v", err, body.closed)
	}
}

type closable struct {
	failingReader
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestWithoutABreakerNothingIsBetween(t *testing.T) {
	next := answers(200)
	u := protect(Settings{})
	if _, between := layers(u, next).(tripper); !between {
		t.Fatal("settings that ask for nothing made a layer")
	}
	if s := u.State(); s.Circuit != Closed {
		t.Fatalf("state %+v", s)
	}
}

// A provider that nobody has called for longer than the window says nothing about now,
// and its circuit alone must not keep a monitor alarmed until somebody calls.
func TestAHalfOpenCircuitThatNobodyTriesSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		down := true
		rt := u.Breaker(byCall(func(c *call.Call) (*http.Response, error) {
			if down || c.Enterprise == first {
				return answer(503, ""), nil
			}
			return answer(200, ""), nil
		}))
		two(t, rt)
		ends := u.State().Until
		is := func(when string, circuit Circuit, untried time.Time) {
			t.Helper()
			if s := u.State(); s.Circuit != circuit || !s.UntriedSince.Equal(untried) {
				t.Errorf("%s: %s, untried since %s; want %s, %s", when, s.Circuit, s.UntriedSince, circuit, untried)
			}
		}
		is("while it is open", Open, time.Time{})
		time.Sleep(seconds(14))
		is("within the window", HalfOpen, time.Time{})
		time.Sleep(seconds(2))
		is("after it", HalfOpen, ends)
		down = false
		repeat(t, 1, rt, second)
		is("when one call was answered", HalfOpen, ends)
		repeat(t, 1, rt, first)
		failed := time.Now()
		is("when one enterprise's failed", HalfOpen, time.Time{})
		time.Sleep(seconds(11))
		is("a window later", HalfOpen, failed)
		repeat(t, probes, rt, second)
		is("when enough were answered", Closed, time.Time{})
	})
}

// The circuit opens for whom the calls failed, not for the others, who would otherwise wait
// for a mailbox that is not theirs.
func TestOneEnterprisesFailuresOpenItsCircuitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		u := protect(trusting, logTo(&log))
		broken := true
		rt := u.Breaker(byCall(func(c *call.Call) (*http.Response, error) {
			if broken && c.Enterprise == first {
				return answer(503, ""), nil
			}
			return answer(200, ""), nil
		}))
		repeat(t, 10, rt, first)
		_, err := do(t, rt, request("GET", first))
		refusedWith(t, err, 503, ErrCircuitOpen, "5")
		if s := u.State(); s.Circuit != Open || s.Until.IsZero() || !slices.Equal(s.OpenFor, []string{"0206731645"}) {
			t.Errorf("nobody else has called: %+v", s)
		}
		repeat(t, 1, rt, second)
		if s := u.State(); s.Circuit != Closed || s.Opened != 0 || !slices.Equal(s.OpenFor, []string{"0206731645"}) {
			t.Errorf("another was answered: %+v", s)
		}
		time.Sleep(seconds(5.1))
		repeat(t, 1, rt, first) // a probe, which fails
		_, err = do(t, rt, request("GET", first))
		refusedWith(t, err, 503, ErrCircuitOpen, "5")
		broken = false
		time.Sleep(seconds(5.1))
		for range probes {
			if status, err := do(t, rt, request("GET", first)); status != 200 {
				t.Fatalf("%d %v", status, err)
			}
		}
		if s := u.State(); s.Circuit != Closed || len(s.OpenFor) != 0 {
			t.Errorf("state %+v", s)
		}
		for _, want := range []string{"circuit open for one enterprise", "circuit closed for one enterprise",
			"enterprise=0206731645"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, &log)
			}
		}
	})
}

// With few callers, each waiting for its whole time-out, the calls that MinRequests asks for
// never end within one window.
func TestAFrozenUpstreamWithFewCallersOpensItsCircuitAfterTwoTimeouts(t *testing.T) {
	const timeout = time.Minute
	for name, c := range map[string]struct {
		callers []enterprise.Number
		third   Circuit // as an enterprise that has not called finds it
	}{
		"one_caller":               {[]enterprise.Number{first}, Closed},
		"five_for_one_enterprise":  {[]enterprise.Number{first, first, first, first, first}, Closed},
		"two_for_two_enterprises":  {[]enterprise.Number{first, second}, Open},
		"one_caller_for_nobody":    {[]enterprise.Number{0}, Open},
		"five_for_two_enterprises": {[]enterprise.Number{first, first, second, second, second}, Open},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := protect(trusting)
				frozen := u.Breaker(tripper(func(*http.Request) (*http.Response, error) {
					time.Sleep(timeout)
					return nil, errTooSlow
				}))
				for _, who := range c.callers {
					go repeat(t, 2, frozen, who)
				}
				time.Sleep(timeout + time.Second)
				if s := u.State(); s.Circuit != Closed {
					t.Fatalf("after one time-out: %+v", s)
				}
				time.Sleep(timeout)
				if s := u.State(); s.Circuit != Open {
					t.Fatalf("after two time-outs: %+v", s)
				}
				_, err := do(t, u.Breaker(answers(200)), request("GET", third))
				if errors.Is(err, ErrCircuitOpen) != (c.third == Open) {
					t.Errorf("another enterprise: %v", err)
				}
			})
		})
	}
}

func TestTimeoutsWithAnAnswerBetweenThemOpenNoCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		for range 5 {
			repeat(t, 1, u.Breaker(fails(errTooSlow)), first)
			repeat(t, 1, u.Breaker(answers(404)), second)
			time.Sleep(trusting.Breaker.Window)
		}
		if s := u.State(); s.Circuit != Closed || len(s.OpenFor) != 0 {
			t.Fatalf("state %+v", s)
		}
	})
}

// Callers who go away before the header time-out are what a frozen upstream mostly meets. Each
// of them calls again and again, for as long as its patience.
func TestCallersWhoWaitInVainOpenTheCircuitOfAFrozenUpstream(t *testing.T) {
	type caller struct {
		name     string
		who      enterprise.Number
		patience time.Duration
	}
	for name, c := range map[string]struct {
		callers []caller
		answers bool // another caller is answered now and then
		closed  time.Duration
		open    time.Duration // 0 for never
		third   Circuit       // as another enterprise finds it then
	}{
		"two_enterprises": {
			callers: []caller{{"a", first, seconds(2)}, {"a", second, seconds(2)}},
			closed:  seconds(9), open: seconds(13), third: Open,
		},
		"two_patient_enterprises": {
			callers: []caller{{"a", first, seconds(15)}, {"b", second, seconds(15)}},
			closed:  seconds(29), open: seconds(31), third: Open,
		},
		"two_callers_of_one_enterprise": {
			callers: []caller{{"a", first, seconds(3)}, {"b", first, seconds(4)}},
			closed:  seconds(9), open: seconds(15), third: Closed,
		},
		"two_callers_for_nobody": {
			callers: []caller{{"a", 0, seconds(3)}, {"b", 0, seconds(4)}},
			closed:  seconds(9), open: seconds(15), third: Open,
		},
		"one_caller_does_not": {callers: []caller{{"a", first, seconds(5)}}},
		"those_who_go_at_once_do_not": {
			callers: []caller{{"a", first, seconds(0.9)}, {"b", second, seconds(0.9)}}},
		"while_others_are_answered_they_do_not": {
			callers: []caller{{"a", first, seconds(2)}, {"b", second, seconds(2)}}, answers: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := protect(trusting)
				frozen := u.Breaker(tripper(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}))
				stop, cancel := context.WithCancel(context.Background())
				var wg sync.WaitGroup
				defer func() { cancel(); wg.Wait() }()
				for _, who := range c.callers {
					wg.Go(func() {
						for stop.Err() == nil {
							ctx, leave := context.WithCancel(stop)
							time.AfterFunc(who.patience, leave)
							_, _ = do(t, frozen, requestOf(ctx, "GET", &call.Call{Caller: who.name, Enterprise: who.who}))
							if leave(); u.State().Circuit != Closed {
								return
							}
						}
					})
				}
				if c.answers {
					wg.Go(func() {
						for stop.Err() == nil {
							time.Sleep(seconds(4))
							repeat(t, 1, u.Breaker(answers(404)), third)
						}
					})
				}
				if c.open == 0 {
					c.closed = 2 * time.Minute
				}
				time.Sleep(c.closed)
				if s := u.State(); s.Circuit != Closed || len(s.OpenFor) != 0 {
					t.Fatalf("after %s: %+v", c.closed, s)
				}
				if c.open == 0 {
					return
				}
				time.Sleep(c.open - c.closed)
				if s := u.State(); s.Circuit != Open {
					t.Fatalf("after %s: %+v", c.open, s)
				}
				_, err := do(t, u.Breaker(answers(200)), request("GET", third))
				if errors.Is(err, ErrCircuitOpen) != (c.third == Open) {
					t.Errorf("another enterprise: %v", err)
				}
			})
		})
	}
}

// While a caller sends its body, the upstream may well wait for that.
func TestACallerWhoGoesAwayWithinItsBodySaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		rt := u.Breaker(tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		for i := range 20 {
			ctx, leave := context.WithCancel(context.Background())
			time.AfterFunc(seconds(5), leave)
			o := requestOf(ctx, "POST", &call.Call{Enterprise: enterprise.Number(i % 2)})
			o.r.Body = io.NopCloser(strings.NewReader("text"))
			_, _ = do(t, rt, o)
		}
		if s := u.State(); s.Circuit != Closed || len(s.OpenFor) != 0 {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestSilenceIsForgottenWhenNobodyCallsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		for i := range 5 {
			repeat(t, 1, u.Breaker(fails(errTooSlow)), enterprise.Number(1+i%2))
			time.Sleep(trusting.Breaker.Window + time.Second)
		}
		if s := u.State(); s.Circuit != Closed || len(s.OpenFor) != 0 {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestFailingEnterprisesAreBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		for i := range 2 * maxSuspects { // answers keep the circuit of all closed
			repeat(t, 1, u.Breaker(answers(503)), enterprise.Number(1+i))
			repeat(t, 2, u.Breaker(answers(200)), second)
		}
		if n := len(u.breaker.circuits); n != maxSuspects {
			t.Fatalf("%d enterprises have a circuit", n)
		}
		time.Sleep(trusting.Breaker.Window + trusting.Breaker.Open + time.Second)
		repeat(t, 1, u.Breaker(answers(503)), first)
		if n := len(u.breaker.circuits); n != 1 {
			t.Errorf("after the window %d enterprises have a circuit", n)
		}
	})
}
