package resilience_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

var thrice = resilience.Settings{Tries: 3}

// script is an upstream that answers each try by the next of its lines, the last
// one for ever, and remembers when it was tried, what it was sent and what it gave.
type script struct {
	lines  []tripper
	tries  []time.Time
	bodies []string
	given  []*body
}

func scripted(lines ...tripper) *script { return &script{lines: lines} }

func (s *script) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	i := min(len(s.tries), len(s.lines)-1)
	s.tries = append(s.tries, time.Now())
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		s.bodies = append(s.bodies, string(b))
	}
	a, err := s.lines[i].Send(ctx, c, r)
	if a != nil {
		given := &body{Reader: a.Body, err: io.EOF}
		s.given, a.Body = append(s.given, given), given
	}
	return a, err
}

// tried checks how often it was tried, and that all that it gave was closed.
func (s *script) tried(t *testing.T, want int) {
	t.Helper()
	if len(s.tries) != want {
		t.Fatalf("%d tries, want %d", len(s.tries), want)
	}
	for i, b := range s.given {
		if b.closed == 0 {
			t.Errorf("answer %d was not closed", i)
		}
	}
}

func withRetryAfter(status int, value string) tripper {
	return func(*http.Request) (*http.Response, error) {
		a := answer(status, "text")
		a.Header.Set("Retry-After", value)
		return a, nil
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	const text, streams = "text", "a body that cannot be had again"
	type attempt struct {
		method, body string
		next         tripper
		tries        int
	}
	const opening = "opening"
	testkit.Table(t, map[string]attempt{
		"get_after_a_reset":                  {"GET", "", fails(errReset), 3},
		"head_after_a_reset":                 {"HEAD", "", fails(errReset), 3},
		"get_after_503":                      {"GET", "", answers(503), 3},
		"get_after_500":                      {"GET", "", answers(500), 1},
		"get_after_200":                      {"GET", "", answers(200), 1},
		"get_of_a_health_that_says_down":     {"GET", "", healthDown, 1},
		"get_without_a_connection":           {"GET", "", fails(errNotMade), 3},
		"get_after_a_header_time-out":        {"GET", "", fails(errTooSlow), 1},
		"get_after_a_connect_time-out":       {"GET", "", fails(errNoConnect), 1},
		"get_of_a_caller_who_left":           {"GET", "", fails(context.Canceled), 1},
		"get_after_a_refusal_of_the_gateway": {"GET", "", fails(problem.Unavailable("open", 0)), 1},
		"opening_after_a_reset":              {opening, "", fails(errReset), 1},
		"opening_after_503":                  {opening, "", answers(503), 1},
		"opening_without_a_connection":       {opening, "", fails(errNotMade), 3},
		"post_after_a_reset":                 {"POST", text, fails(errReset), 1},
		"post_after_503":                     {"POST", text, answers(503), 1},
		"post_without_a_connection":          {"POST", text, fails(errNotMade), 3},
		"post_without_connection_or_body":    {"POST", "", fails(errNotMade), 3},
		"post_whose_body_streams":            {"POST", streams, fails(errNotMade), 1},
		"delete_after_a_reset":               {"DELETE", "", fails(errReset), 1},
	}, func(t *testing.T, c attempt) {
		s := scripted(c.next)
		r := requestOf(context.Background(), c.method, new(call.Call))
		if c.method == opening {
			r = requestOf(context.Background(), "GET", &call.Call{Opening: true})
		}
		if c.body != "" {
			r.r.Body = io.NopCloser(strings.NewReader(c.body))
		}
		if c.body == text {
			r.r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		}
		wantStatus, wantErr := do(c.next, request("GET", first))
		status, err := do(protect(thrice).Retry(s), r)
		s.tried(t, c.tries)
		if status != wantStatus || err != wantErr { // the last failure as it was
			t.Errorf("%d %v, want %d %v", status, err, wantStatus, wantErr)
		}
		for _, b := range s.bodies {
			if b != c.body {
				t.Errorf("sent the body %q", b)
			}
		}
	})
}

func TestARetryThatSucceedsIsAllTheCallerSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, s, c := protect(thrice), scripted(fails(errReset), answers(503), answers(200)), new(call.Call)
		start := time.Now()
		passes(t, u.Retry(s), requestOf(context.Background(), "GET", c))
		s.tried(t, 3)
		if st := u.State(); st.Retries != 2 || st.RetriesDenied != 0 {
			t.Errorf("state %+v", st)
		}
		if c.Record.Phases.Limits != time.Since(start) || c.Record.Phases.Limits == 0 {
			t.Errorf("waited %s, noted %s", time.Since(start), c.Record.Phases.Limits)
		}
	})
}

func TestBackoffGrowsToABoundAndIsDrawnFromNothingOn(t *testing.T) {
	testkit.Table(t, map[string]float64{"longest": 1, "none": 0}, func(t *testing.T, jitter float64) {
		u := protect(resilience.Settings{Tries: 8}, func(o *resilience.Options) { o.Rand = func() float64 { return jitter } })
		var tries []time.Time
		repeat(1, u.Retry(tripper(func(*http.Request) (*http.Response, error) {
			tries = append(tries, time.Now())
			repeat(6, u.Retry(answers(200)), second) // which pays for the next
			return nil, errReset
		})), first)
		for i, ms := range []float64{50, 100, 200, 400, 800, 1000, 1000} {
			if got := tries[i+1].Sub(tries[i]); got != seconds(jitter*ms/1000) {
				t.Errorf("wait %d is %s", i+1, got)
			}
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	type said struct {
		value string
		tries int
		least time.Duration
	}
	testkit.Table(t, map[string]said{
		"two_seconds":            {"2", 3, 4 * time.Second},
		"three_are_the_caller's": {"3", 1, 0},
		"nonsense":               {"soon", 3, 0},
		// The clock of synctest begins in the year 2000.
		"date_in_two_seconds": {"Sat, 01 Jan 2000 00:00:02 GMT", 3, 2 * time.Second},
		"date_in_an_hour":     {"Sat, 01 Jan 2000 01:00:00 GMT", 1, 0},
	}, func(t *testing.T, c said) {
		s := scripted(withRetryAfter(503, c.value))
		start := time.Now()
		if status, err := do(protect(thrice).Retry(s), request("GET", first)); status != 503 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		s.tried(t, c.tries)
		if took := time.Since(start); took < c.least || took > c.least+time.Second {
			t.Fatalf("%d tries took %s", len(s.tries), took)
		}
	})
}

func TestThereIsNoRetryBeyondTheCallersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		s := scripted(withRetryAfter(503, "1"))
		start := time.Now()
		status, err := do(protect(thrice).Retry(s), requestOf(ctx, "GET", new(call.Call)))
		if s.tried(t, 1); status != 503 || err != nil || time.Since(start) != 0 {
			t.Fatalf("no time for another try: %d %v after %s", status, err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s := scripted(withRetryAfter(503, "1"))
		end := send(ctx, protect(thrice).Retry(s), new(call.Call))
		synctest.Wait()
		cancel()
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Fatalf("gone while waiting: %v", err)
		}
		s.tried(t, 1)
	})
}

// The circuit opens, the queue fills or the rate is spent between two tries: the
// caller gets what its upstream said, not that the gateway would not ask again.
func TestARefusedRetryGivesTheFailureBeforeIt(t *testing.T) {
	of := func(content string, length int64) tripper {
		return func(*http.Request) (*http.Response, error) {
			a := answer(503, content)
			a.ContentLength = length
			return a, nil
		}
	}
	type failure struct {
		method string
		first  tripper
		body   string // of the 503, unless there is none
		err    error
	}
	const maxKept = 16 << 10
	refusal := problem.TooMany(1, time.Second, "too many")
	testkit.Table(t, map[string]failure{
		"short_answer":      {"GET", answers(503), "text", nil},
		"answer_to_head":    {"HEAD", of("", 1<<20), "", nil},
		"error":             {"GET", fails(errReset), "", errReset},
		"answer_too_long":   {"GET", of(strings.Repeat("x", maxKept+1), maxKept+1), "", refusal},
		"answer_broken_off": {"GET", of("text", 9), "", refusal},
	}, func(t *testing.T, c failure) {
		s := scripted(c.first, fails(refusal))
		a, err := request(c.method, first).by(protect(thrice).Retry(s))
		if s.tried(t, 2); err != c.err {
			t.Fatalf("the error is %v", err)
		}
		if err != nil {
			return
		}
		if b, _ := io.ReadAll(a.Body); a.StatusCode != 503 || string(b) != c.body {
			t.Fatalf("%d %q", a.StatusCode, b)
		}
	})
}

func TestTheRequestIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(resilience.Settings{
			Tries: 3, Concurrency: config.Concurrency{Max: 1}, Breaker: trusting.Breaker,
			Rate: config.Rate{PerSecond: 100, Burst: 100},
		})
		o := request("POST", first)
		r := o.r
		body := io.NopCloser(strings.NewReader("text"))
		r.Body = body
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil }
		tries := 0
		_, _ = do(layers(u, tripper(func(r *http.Request) (*http.Response, error) {
			if tries++; tries > 1 {
				r.Header.Set("Try", "another") // as a layer below may
			}
			return nil, errNotMade
		})), o)
		if r.Body != body || len(r.Header) > 0 || tries != 3 {
			t.Fatalf("the caller's request was changed: %v, after %d tries", r.Header, tries)
		}
	})
}
