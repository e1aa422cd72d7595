package resilience_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

// trusting opens at half of ten calls within ten seconds, for five seconds.
var trusting = resilience.Settings{Breaker: config.Breaker{
	Enabled: true, FailureRatio: 0.5, MinRequests: 10, Window: 10 * time.Second, Open: 5 * time.Second,
}}

// probes is how many calls a half-open circuit lets pass.
const probes = 3

// untilProbes is a moment longer than a circuit stays open, or than a probe may take.
const untilProbes = 5*time.Second + 100*time.Millisecond

// circuitIs checks the state of an upstream, and the enterprises for which it is open.
func circuitIs(t *testing.T, u *resilience.Upstream, want resilience.Circuit, openFor ...string) resilience.State {
	t.Helper()
	s := u.State()
	if s.Circuit != want || !slices.Equal(s.OpenFor, openFor) {
		t.Fatalf("the circuit is %s, for %q open; want %s, %q", s.Circuit, s.OpenFor, want, openFor)
	}
	return s
}

// refusesOthers reports whether an enterprise that has not called finds the circuit open.
func refusesOthers(u *resilience.Upstream) bool {
	_, err := do(u.Breaker(answers(200)), request("GET", third))
	return errors.Is(err, resilience.ErrCircuitOpen)
}

// broken makes an upstream with an open circuit.
func broken() *resilience.Upstream {
	u := protect(trusting)
	repeat(10, u.Breaker(fails(errReset)), first, second)
	return u
}

func TestWhatOpensACircuit(t *testing.T) {
	readsBody := func(r *http.Request) (*http.Response, error) {
		_, err := io.ReadAll(r.Body)
		return nil, err
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	type row struct {
		next   tripper
		want   resilience.Circuit
		ctx    context.Context
		body   io.ReadCloser
		unread bool // the answer's body is closed at once
	}
	testkit.Table(t, map[string]row{
		"502":                        {next: answers(502), want: resilience.Open},
		"503":                        {next: answers(503), want: resilience.Open},
		"500_does_not":               {next: answers(500), want: resilience.Closed},
		"200_does_not":               {next: answers(200), want: resilience.Closed},
		"health_that_says_down_not":  {next: healthDown, want: resilience.Closed},
		"reset":                      {next: fails(errReset), want: resilience.Open},
		"header_time-out":            {next: fails(errTooSlow), want: resilience.Open},
		"connection_not_made":        {next: fails(errNotMade), want: resilience.Open},
		"body_broken_off":            {next: breaksOff(errReset), want: resilience.Open},
		"body_that_nobody_reads":     {next: breaksOff(errReset), want: resilience.Closed, unread: true},
		"download_its_caller_ends":   {next: breaksOff(context.Canceled), want: resilience.Closed},
		"upload_that_cannot_be_read": {next: readsBody, want: resilience.Closed, body: &body{err: io.ErrUnexpectedEOF}},
		"cancelled_does_not":         {next: fails(context.Canceled), want: resilience.Closed},
		"caller_gone_as_it_failed":   {next: fails(errReset), want: resilience.Closed, ctx: gone},
		"gateway's_refusal_does_not": {next: fails(problem.Internal(errReset)), want: resilience.Closed},
	}, func(t *testing.T, c row) {
		u := protect(trusting)
		for i := range 20 {
			o := request("GET", []enterprise.Number{first, second}[i%2])
			if c.ctx != nil {
				o.ctx = c.ctx
			}
			o.r.Body = c.body
			if !c.unread {
				_, _ = do(u.Breaker(c.next), o)
			} else if a, err := o.by(u.Breaker(c.next)); err == nil {
				a.Body.Close()
			}
		}
		circuitIs(t, u, c.want)
	})
}

func TestAnOpenCircuitSaysHowLongItStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := broken()
		rt := u.Breaker(tripper(panics)) // nothing is sent
		before := u.State().RefusedOpen
		for _, c := range []struct {
			after float64
			want  string
		}{{0, "5"}, {1.5, "4"}, {3.4, "1"}} {
			time.Sleep(seconds(c.after))
			_, err := do(rt, request("GET", first))
			p := refusedWith(t, err, 503, resilience.ErrCircuitOpen, c.want)
			if p.ProxyError != problem.ProxyDestinationUnavail {
				t.Errorf("error type %s", p.ProxyError)
			}
		}
		r := request("POST", first)
		upload := new(body)
		r.r.Body = upload
		if _, err := do(rt, r); !errors.Is(err, resilience.ErrCircuitOpen) || upload.closed != 1 {
			t.Errorf("error %v, body closed %d times", err, upload.closed)
		}
		if s := circuitIs(t, u, resilience.Open); s.RefusedOpen-before != 4 || time.Until(s.Until) != 100*time.Millisecond {
			t.Errorf("state %+v, open for another %s", s, time.Until(s.Until))
		}
	})
}

func TestACircuitClosesAfterEnoughProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		u := protect(trusting, logTo(&log))
		bad, good := u.Breaker(fails(errReset)), u.Breaker(answers(200))
		repeat(10, bad, first, second)
		time.Sleep(untilProbes)
		repeat(1, bad, first, second) // two probes that fail
		circuitIs(t, u, resilience.Open)
		time.Sleep(untilProbes)
		for range probes {
			circuitIs(t, u, resilience.HalfOpen)
			passes(t, good, request("GET", first))
		}
		if s := circuitIs(t, u, resilience.Closed); s.Opened != 2 || !s.Until.IsZero() {
			t.Fatalf("state %+v", s)
		}
		for _, want := range []string{"circuit open: too many calls failed", "failures=10", "circuit half-open",
			"was=half-open", "circuit closed", "upstream=nsso"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, &log)
			}
		}
	})
}

func TestOneEnterpriseAloneOpensNoCircuitForOthers(t *testing.T) {
	type calls func(bad, good, away call.Sender)
	type row struct {
		calls calls
		open  bool
	}
	testkit.Table(t, map[string]row{
		"one_of_two_fails": {calls: func(bad, good, _ call.Sender) {
			for range 10 {
				repeat(1, bad, first)
				repeat(1, good, second)
			}
		}},
		"one_fails_fifty_times_another_once_succeeds": {calls: func(bad, good, _ call.Sender) {
			repeat(1, good, second)
			repeat(50, bad, first)
		}},
		"the_only_one_fails": {calls: func(bad, _, _ call.Sender) { repeat(50, bad, first) }},
		"both_fail":          {calls: func(bad, _, _ call.Sender) { repeat(10, bad, first, second) }, open: true},
		"most_failures_are_one's_but_others_fail_too": {calls: func(bad, _, _ call.Sender) {
			repeat(5, bad, first, first, second, third)
		}, open: true},
		"one_always_fails_another_once_in_ten": {calls: func(bad, good, _ call.Sender) {
			repeat(1, bad, first, second)
			for range 9 {
				repeat(1, bad, first)
				repeat(1, good, second)
			}
		}},
		"own_and_enterprise_are_two": {calls: func(bad, good, _ call.Sender) {
			for range 10 {
				_, _ = do(good, requestOf(context.Background(), "GET", &call.Call{Own: true}))
				repeat(1, bad, first)
			}
		}},
		"one's_connections_are_not_made": {calls: func(_, good, away call.Sender) {
			repeat(10, good, second)
			repeat(12, away, first)
		}, open: true},
		"calls_for_nobody_fail": {calls: func(bad, _, _ call.Sender) { repeat(10, bad, 0) }, open: true},
	}, func(t *testing.T, c row) {
		u := protect(trusting)
		c.calls(u.Breaker(answers(503)), u.Breaker(answers(200)), u.Breaker(fails(errNotMade)))
		if got := refusesOthers(u); got != c.open {
			t.Fatalf("a third enterprise is refused: %v", got)
		}
	})
}

// The circuit opens for whom the calls failed, not for the others, who would otherwise wait
// for a mailbox that is not theirs.
func TestOneEnterprisesFailuresOpenItsCircuitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		u := protect(trusting, logTo(&log))
		bad, good := u.Breaker(answers(503)), u.Breaker(answers(200))
		const who = "0206731645"
		refused := func() {
			t.Helper()
			_, err := do(good, request("GET", first))
			refusedWith(t, err, 503, resilience.ErrCircuitOpen, "5")
		}
		repeat(10, bad, first)
		refused()
		if s := circuitIs(t, u, resilience.Open, who); s.Until.IsZero() { // as far as is known: nobody else has called
			t.Errorf("state %+v", s)
		}
		passes(t, good, request("GET", second))
		if s := circuitIs(t, u, resilience.Closed, who); s.Opened != 0 {
			t.Errorf("state %+v", s)
		}
		time.Sleep(untilProbes)
		repeat(1, bad, first) // a probe
		refused()
		time.Sleep(untilProbes)
		for range probes {
			circuitIs(t, u, resilience.HalfOpen, who)
			passes(t, good, request("GET", first))
		}
		circuitIs(t, u, resilience.Closed)
		for _, want := range []string{"circuit open: ", "circuit closed: ", "enterprise=" + who} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, &log)
			}
		}
	})
}

func TestWhichProbesOpenACircuitAgain(t *testing.T) {
	manyOfOne := slices.Repeat([]enterprise.Number{first}, 10)
	type row struct {
		next  call.Sender
		calls []enterprise.Number
		want  resilience.Circuit
	}
	testkit.Table(t, map[string]row{
		"one_enterprise's_does_not":              {answers(503), []enterprise.Number{first}, resilience.HalfOpen},
		"nor_does_another's":                     {answers(503), []enterprise.Number{second}, resilience.HalfOpen},
		"nor_do_many_of_them":                    {answers(503), manyOfOne, resilience.HalfOpen},
		"those_of_two":                           {answers(503), []enterprise.Number{first, second}, resilience.Open},
		"one_that_was_for_nobody":                {answers(503), []enterprise.Number{0}, resilience.Open},
		"one_whose_connection_could_not_be_made": {fails(errNotMade), []enterprise.Number{first}, resilience.Open},
	}, func(t *testing.T, c row) {
		u := broken()
		time.Sleep(untilProbes)
		repeat(1, u.Breaker(c.next), c.calls...)
		if s := u.State(); s.Circuit != c.want {
			t.Fatalf("state %+v", s)
		}
		if c.want == resilience.Open {
			return
		}
		if len(c.calls) >= trusting.Breaker.MinRequests {
			_, err := do(u.Breaker(c.next), request("GET", first))
			refusedWith(t, err, 503, resilience.ErrCircuitOpen, "5")
		}
		repeat(probes, u.Breaker(answers(200)), third)
		circuitIs(t, u, resilience.Closed)
	})
}

// hangs is an upstream whose connections break off after as long as the window lasts.
func hangs(*http.Request) (*http.Response, error) {
	time.Sleep(trusting.Breaker.Window)
	return nil, errReset
}

// gobreaker counts a call in the step of the window in which it began, and one that
// lasted as long as the window not at all.
func TestCallsThatLastAWholeWindowCountAndOldOnesDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		for range 10 {
			go repeat(1, u.Breaker(tripper(hangs)), first)
		}
		time.Sleep(trusting.Breaker.Window + time.Second)
		circuitIs(t, u, resilience.Open, "0206731645")
		u = protect(trusting)
		for range 30 { // at most nine in a window
			repeat(1, u.Breaker(answers(503)), first)
			time.Sleep(seconds(1.2))
		}
		circuitIs(t, u, resilience.Closed)
	})
}

func TestCallsFromBeforeTheCircuitOpenedDoNotCount(t *testing.T) {
	type circuit struct {
		failing []enterprise.Number
		opened  uint64
	}
	testkit.Table(t, map[string]circuit{
		"of_all":           {[]enterprise.Number{first, second}, 1},
		"of_an_enterprise": {[]enterprise.Number{first}, 0},
	}, func(t *testing.T, c circuit) {
		u := protect(trusting)
		late := make(chan struct{})
		rt := u.Breaker(tripper(func(*http.Request) (*http.Response, error) { <-late; return nil, errReset }))
		for range 10 {
			go repeat(1, rt, first)
		}
		synctest.Wait()
		repeat(10, u.Breaker(fails(errReset)), c.failing...)
		if s := u.State(); s.Circuit != resilience.Open || s.Opened != c.opened {
			t.Fatalf("state %+v", s)
		}
		time.Sleep(untilProbes)
		repeat(probes, u.Breaker(answers(200)), first)
		close(late)
		synctest.Wait()
		if s := circuitIs(t, u, resilience.Closed); s.Opened != c.opened {
			t.Fatalf("state %+v", s)
		}
	})
}

// gobreaker waits for ever for a probe that never reports. Whatever happens to
// probes here, others get their turn.
func TestNoProbeIsLost(t *testing.T) {
	testkit.Table(t, map[string]tripper{
		"cancelled":      fails(context.Canceled),
		"panics":         panics,
		"refused_below":  fails(problem.Internal(errReset)),
		"neutral_answer": healthDown,
		"hangs":          frozen,
	}, func(t *testing.T, probe tripper) {
		u := broken()
		time.Sleep(untilProbes)
		ctx, cancel := context.WithCancel(context.Background())
		for range 3 * probes {
			go func() {
				defer func() { _ = recover() }()
				_, _ = requestOf(ctx, "GET", &call.Call{Enterprise: first}).by(u.Breaker(probe))
			}()
		}
		defer func() { cancel(); synctest.Wait() }()
		time.Sleep(untilProbes)
		repeat(probes, u.Breaker(answers(200)), first)
		circuitIs(t, u, resilience.Closed)
	})
}

func TestAHalfOpenCircuitLetsFewPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, g := broken(), newGate()
		rt := u.Breaker(g)
		time.Sleep(untilProbes)
		for range 50 {
			go repeat(1, rt, second)
		}
		synctest.Wait()
		if n := len(g.arrivals()); n != probes {
			t.Errorf("%d calls passed, want %d", n, probes)
		}
		_, err := do(rt, request("GET", second))
		refusedWith(t, err, 503, resilience.ErrCircuitOpen, "1")
		close(g.let)
		synctest.Wait()
		circuitIs(t, u, resilience.Closed)
	})
}

func TestAProbeIsJudgedByItsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := broken()
		time.Sleep(untilProbes)
		for range probes { // long downloads, of which nothing has been read yet
			a, err := request("GET", first).by(u.Breaker(answers(200)))
			testkit.Must(t, err)
			defer a.Body.Close()
		}
		circuitIs(t, u, resilience.Closed)
	})
}

// A provider that nobody has called for longer than the window says nothing about now,
// and its circuit alone must not keep a monitor alarmed until somebody calls.
func TestAHalfOpenCircuitThatNobodyTriesSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := broken()
		ends := u.State().Until
		is := func(circuit resilience.Circuit, untried time.Time) {
			t.Helper()
			if s := u.State(); s.Circuit != circuit || !s.UntriedSince.Equal(untried) {
				t.Errorf("%s, untried since %s; want %s, %s", s.Circuit, s.UntriedSince, circuit, untried)
			}
		}
		is(resilience.Open, time.Time{})
		time.Sleep(seconds(14))
		is(resilience.HalfOpen, time.Time{}) // not for longer than the window
		time.Sleep(seconds(2))
		is(resilience.HalfOpen, ends)
		repeat(1, u.Breaker(answers(200)), second)
		is(resilience.HalfOpen, ends)
		repeat(1, u.Breaker(answers(503)), first)
		failed := time.Now()
		is(resilience.HalfOpen, time.Time{})
		time.Sleep(seconds(11))
		is(resilience.HalfOpen, failed)
	})
}

// Each of these enterprises opens its own circuit with one failure, and the answers between them keep that of
// all closed.
func TestFailingEnterprisesAreBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		at := trusting
		at.Breaker.MinRequests = 1
		u := protect(at)
		for i := range most + 10 {
			repeat(1, u.Breaker(answers(503)), enterprise.Number(1+i))
			repeat(2, u.Breaker(answers(200)), second)
		}
		if s := u.State(); s.Circuit != resilience.Closed || len(s.OpenFor) != most {
			t.Fatalf("the circuit is %s, for %d enterprises open", s.Circuit, len(s.OpenFor))
		}
		time.Sleep(at.Breaker.Window + at.Breaker.Open + time.Second)
		circuitIs(t, u, resilience.Closed)
		repeat(2, u.Breaker(answers(200)), second)
		repeat(1, u.Breaker(answers(503)), first)
		circuitIs(t, u, resilience.Closed, "0206731645")
	})
}
