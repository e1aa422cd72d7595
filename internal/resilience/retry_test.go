package resilience

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
)

var thrice = Settings{Tries: 3}

// script is an upstream that answers each try by the next of its lines, the last
// one for ever, and remembers when it was tried and what it was sent.
type script struct {
	lines  []tripper
	tries  []time.Time
	bodies []string
	closed int
}

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
		a.Body = &countedClose{a.Body, &s.closed}
	}
	return a, err
}

type countedClose struct {
	io.ReadCloser
	n *int
}

func (c *countedClose) Close() error { *c.n++; return c.ReadCloser.Close() }

func withRetryAfter(status int, value string) tripper {
	return func(*http.Request) (*http.Response, error) {
		a := answer(status, "text")
		a.Header.Set("Retry-After", value)
		return a, nil
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	const withoutGetBody = "without GetBody"
	for name, c := range map[string]struct {
		method, body string
		opening      bool
		next         tripper
		want         int // tries
	}{
		"get_after_a_reset":                   {"GET", "", false, fails(errReset), 3},
		"head_after_a_reset":                  {"HEAD", "", false, fails(errReset), 3},
		"options_after_a_reset":               {"OPTIONS", "", false, fails(errReset), 3},
		"get_after_502":                       {"GET", "", false, answers(502), 3},
		"get_after_503":                       {"GET", "", false, answers(503), 3},
		"get_after_504":                       {"GET", "", false, answers(504), 3},
		"get_after_500":                       {"GET", "", false, answers(500), 1},
		"get_after_429":                       {"GET", "", false, answers(429), 1},
		"get_after_200":                       {"GET", "", false, answers(200), 1},
		"get_without_a_connection":            {"GET", "", false, fails(errNotMade), 3},
		"get_after_a_header_time-out":         {"GET", "", false, fails(errTooSlow), 1},
		"get_after_a_connect_time-out":        {"GET", "", false, fails(errNoConnect), 1},
		"get_of_a_caller_who_left":            {"GET", "", false, fails(context.Canceled), 1},
		"get_after_a_refusal_of_the_gateway":  {"GET", "", false, fails(problem.Unavailable("open", 0)), 1},
		"opening_after_a_reset":               {"GET", "", true, fails(errReset), 1},
		"opening_after_503":                   {"GET", "", true, answers(503), 1},
		"opening_without_a_connection":        {"GET", "", true, fails(errNotMade), 3},
		"post_after_a_reset":                  {"POST", "text", false, fails(errReset), 1},
		"post_after_503":                      {"POST", "text", false, answers(503), 1},
		"post_without_a_connection":           {"POST", "text", false, fails(errNotMade), 3},
		"post_without_connection_or_body":     {"POST", "", false, fails(errNotMade), 3},
		"post_whose_body_streams":             {"POST", withoutGetBody, false, fails(errNotMade), 1},
		"patch_after_a_reset":                 {"PATCH", "text", false, fails(errReset), 1},
		"put_after_a_reset":                   {"PUT", "text", false, fails(errReset), 1},
		"delete_after_a_reset":                {"DELETE", "", false, fails(errReset), 1},
		"unknown_method_without_a_connection": {"PURGE", "", false, fails(errNotMade), 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := protect(thrice)
				s := &script{lines: []tripper{c.next}}
				r := requestOf(context.Background(), c.method, &call.Call{Opening: c.opening})
				if c.body != "" {
					r.r.Body = io.NopCloser(strings.NewReader(c.body))
				}
				if c.body != "" && c.body != withoutGetBody {
					r.r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.body)), nil }
				}
				wantStatus, wantErr := 0, error(nil)
				if a, err := c.next(r.r); err != nil {
					wantErr = err
				} else {
					wantStatus = a.StatusCode
				}
				status, err := do(t, u.Retry(s), r)
				if len(s.tries) != c.want {
					t.Errorf("%d tries, want %d", len(s.tries), c.want)
				}
				if status != wantStatus || err != wantErr { // the last failure as it was
					t.Errorf("%d %v, want %d %v", status, err, wantStatus, wantErr)
				}
				for _, b := range s.bodies {
					if b != c.body {
						t.Errorf("sent the body %q", b)
					}
				}
				if err == nil && s.closed != len(s.tries) {
					t.Errorf("%d of %d answers closed", s.closed, len(s.tries))
				}
			})
		})
	}
}

func TestARetryThatSucceedsIsAllTheCallerSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(thrice)
		s := &script{lines: []tripper{fails(errReset), answers(503), answers(200)}}
		c := new(call.Call)
		start := time.Now()
		status, err := do(t, u.Retry(s), requestOf(context.Background(), "GET", c))
		if status != 200 || err != nil || len(s.tries) != 3 {
			t.Fatalf("%d %v after %d tries", status, err, len(s.tries))
		}
		if st := u.State(); st.Retries != 2 || st.RetriesDenied != 0 {
			t.Errorf("state %+v", st)
		}
		if c.Record.Phases.Limits != time.Since(start) || c.Record.Phases.Limits == 0 {
			t.Errorf("waited %s, noted %s", time.Since(start), c.Record.Phases.Limits)
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(Settings{Tries: 9})
		u.budget.purse.Store(100 * retryPrice)
		s := &script{lines: []tripper{fails(errReset)}}
		_, _ = do(t, u.Retry(s), request("GET", first))
		want := []int{50, 100, 200, 400, 800, 1000, 1000, 1000}
		for i, ms := range want {
			got, most := s.tries[i+1].Sub(s.tries[i]), time.Duration(ms)*time.Millisecond
			if got > most || got < most*99/100 { // the jitter of these tests is 0.999
				t.Errorf("wait %d took %s, want nearly %s", i+1, got, most)
			}
		}
	})
}

func TestJitterReachesDownToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(thrice, func(o *Options) { o.Rand = func() float64 { return 0 } })
		s := &script{lines: []tripper{fails(errReset)}}
		start := time.Now()
		_, _ = do(t, u.Retry(s), request("GET", first))
		if took := time.Since(start); took != 0 || len(s.tries) != 3 {
			t.Fatalf("%d tries took %s", len(s.tries), took)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		tries int
		least time.Duration
	}{
		"one_second":             {"1", 3, 2 * time.Second},
		"two_seconds":            {"2", 3, 4 * time.Second},
		"blanks":                 {" 1 ", 3, 2 * time.Second},
		"three_are_the_caller's": {"3", 1, 0},
		"an_hour_is":             {"3600", 1, 0},
		"an_age_is":              {"99999999999999999999", 1, 0},
		"nothing":                {"", 3, 0},
		"nonsense":               {"soon", 3, 0},
		"negative":               {"-1", 3, 0},
		"date_in_two_seconds":    {"Sat, 01 Jan 2000 00:00:02 GMT", 3, 2 * time.Second}, // where the clock of synctest begins
		"date_gone_by":           {"Fri, 31 Dec 1999 00:00:00 GMT", 3, 0},
		"date_in_an_hour":        {"Sat, 01 Jan 2000 01:00:00 GMT", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := protect(thrice)
				s := &script{lines: []tripper{withRetryAfter(503, c.value)}}
				start := time.Now()
				status, err := do(t, u.Retry(s), request("GET", first))
				if status != 503 || err != nil || len(s.tries) != c.tries {
					t.Fatalf("%d %v after %d tries", status, err, len(s.tries))
				}
				if took := time.Since(start); took < c.least || took > c.least+time.Second {
					t.Fatalf("%d tries took %s", len(s.tries), took)
				}
			})
		})
	}
}

func TestTheCallersTimeIsRespected(t *testing.T) {
	t.Run("no_time_for_another_try", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			s := &script{lines: []tripper{withRetryAfter(503, "1")}}
			start := time.Now()
			status, err := do(t, protect(thrice).Retry(s), requestOf(ctx, "GET", new(call.Call)))
			if status != 503 || err != nil || len(s.tries) != 1 || time.Since(start) != 0 {
				t.Fatalf("%d %v after %d tries and %s", status, err, len(s.tries), time.Since(start))
			}
		})
	})
	t.Run("gone_while_waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			u, s := protect(thrice), &script{lines: []tripper{withRetryAfter(503, "1")}}
			end := send(ctx, u.Retry(s), new(call.Call))
			synctest.Wait()
			cancel()
			if err := <-end; !errors.Is(err, context.Canceled) || len(s.tries) != 1 || s.closed != 1 {
				t.Fatalf("%v after %d tries, %d answers closed", err, len(s.tries), s.closed)
			}
		})
	})
}

func TestNoRetryMeetsACircuitThatOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := trusting
		s.Tries = 3
		u := protect(s)
		u.budget.purse.Store(100 * retryPrice)
		up := &script{lines: []tripper{answers(503)}}
		rt := layers(u, up)
		var refused uint64
		for range 12 {
			status, err := do(t, rt, request("GET", first))
			if errors.Is(err, ErrCircuitOpen) {
				refused++
			} else if status != 503 {
				t.Fatalf("%d %v", status, err)
			}
		}
		if got := u.State().RefusedOpen; got != refused || refused == 0 {
			t.Errorf("%d tries met the open circuit, %d of them first tries", got, refused)
		}
		if len(up.tries) != s.Breaker.MinRequests || u.State().Circuit != Open {
			t.Fatalf("%d tries, the circuit is %s", len(up.tries), u.State().Circuit)
		}
	})
}

// The circuit opens, the queue fills or the rate is spent between two tries: the
// caller gets what its upstream said, not that the gateway would not ask again.
func TestTheUpstreamsWordOutlivesTheGatewaysRefusal(t *testing.T) {
	refusal := fails(problem.TooMany(1, time.Second, "too many"))
	long := func(*http.Request) (*http.Response, error) { return answer(503, strings.Repeat("x", maxKept+1)), nil }
	head := func(*http.Request) (*http.Response, error) {
		a := answer(503, "")
		a.ContentLength = 1 << 20
		return a, nil
	}
	for name, c := range map[string]struct {
		first  tripper
		status int
		body   string
		err    error
	}{
		"short_answer":    {answers(503), 503, "text", nil},
		"answer_to_head":  {head, 503, "", nil},
		"error":           {fails(errReset), 0, "", errReset},
		"answer_too_long": {long, 0, "", &problem.Problem{}},
		"answer_broken_off": {func(*http.Request) (*http.Response, error) {
			a := answer(503, "text")
			a.ContentLength = 9
			return a, nil
		}, 0, "", &problem.Problem{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{lines: []tripper{c.first, refusal}}
				method := "GET"
				if name == "answer_to_head" {
					method = "HEAD"
				}
				a, err := request(method, first).by(protect(thrice).Retry(s))
				if len(s.tries) != 2 {
					t.Fatalf("%d tries", len(s.tries))
				}
				var p *problem.Problem
				if c.err != nil {
					if wantProblem := errors.As(c.err, &p); errors.As(err, &p) != wantProblem || !wantProblem && err != c.err {
						t.Fatalf("the error is %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(a.Body)
				if a.StatusCode != c.status || string(b) != c.body {
					t.Fatalf("%d %q", a.StatusCode, b)
				}
			})
		})
	}
}

func TestNeutralAnswersAreNotTriedAgain(t *testing.T) {
	u := protect(thrice, neutralIf(func(*call.Call, *http.Response) bool { return true }))
	s := &script{lines: []tripper{answers(503)}}
	if status, err := do(t, u.Retry(s), request("GET", first)); status != 503 || err != nil || len(s.tries) != 1 {
		t.Fatalf("%d %v after %d tries", status, err, len(s.tries))
	}
}

func TestTheRequestIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(Settings{
			Tries: 3, Concurrency: config.Concurrency{Max: 1}, Breaker: trusting.Breaker,
			Rate: config.Rate{PerSecond: 100, Burst: 100},
		})
		o := request("POST", first)
		r := o.r
		body := io.NopCloser(strings.NewReader("text"))
		r.Body = body
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil }
		tries := 0
		_, _ = do(t, layers(u, tripper(func(r *http.Request) (*http.Response, error) {
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
