package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// Enterprises of the tests; whether their numbers are valid is no matter here.
const (
	first  enterprise.Number = 206731645
	second enterprise.Number = 474028805
	third  enterprise.Number = 212148896
)

// Errors as a transport would return them; classify knows them.
var (
	errReset     = errors.New("connection reset by peer")
	errNotMade   = errors.New("connection refused")
	errTooSlow   = errors.New("timeout awaiting response headers")
	errNoConnect = errors.New("timeout connecting")
)

func classify(err error) Failure {
	switch {
	case errors.Is(err, context.Canceled):
		return Failure{Sent: true, Cancelled: true}
	case errors.Is(err, errNotMade):
		return Failure{}
	case errors.Is(err, errNoConnect):
		return Failure{Timeout: true}
	case errors.Is(err, errTooSlow), errors.Is(err, context.DeadlineExceeded):
		return Failure{Sent: true, Timeout: true}
	}
	return Failure{Sent: true}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is an answer with a body of known length.
func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: make(http.Header), ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// answers is an upstream that always answers with status.
func answers(status int) tripper {
	return func(*http.Request) (*http.Response, error) { return answer(status, "text"), nil }
}

// fails is an upstream that always fails with err.
func fails(err error) tripper {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// protect makes an Upstream whose jitter is the longest possible.
func protect(s Settings) *Upstream {
	return NewUpstream(Options{Name: "test", Settings: s, Classify: classify, Rand: func() float64 { return 0.999 }})
}

// layers puts the layers around next as the composition does, without a token.
func layers(u *Upstream, next http.RoundTripper) http.RoundTripper {
	return u.Retry(u.Rate(u.Bulkhead(u.Breaker(next))))
}

// request is a request with a record of its own.
func request(method string, who enterprise.Number) *http.Request {
	return requestOf(context.Background(), method, &exchange.Record{Enterprise: who})
}

func requestOf(ctx context.Context, method string, rec *exchange.Record) *http.Request {
	r, err := http.NewRequestWithContext(exchange.With(ctx, rec), method, "http://upstream.test/", nil)
	if err != nil {
		panic(err)
	}
	return r
}

// do makes a call to its end and returns its status, or its error.
func do(t *testing.T, rt http.RoundTripper, r *http.Request) (int, error) {
	t.Helper()
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, err
}

// repeat makes n calls for who.
func repeat(t *testing.T, n int, rt http.RoundTripper, who enterprise.Number) {
	t.Helper()
	for range n {
		_, _ = do(t, rt, request("GET", who))
	}
}

// refusedWith checks that err is a problem with this status, cause and Retry-After;
// "" means that there is none.
func refusedWith(t *testing.T, err error, status int, cause error, retryAfter string) {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) {
		t.Fatalf("error %v is no problem", err)
	}
	if p.Status != status || !errors.Is(err, cause) || p.Header.Get("Retry-After") != retryAfter {
		t.Fatalf("refused with %d, Retry-After %q: %v; want %d, Retry-After %q: %v",
			p.Status, p.Header.Get("Retry-After"), p.Cause, status, retryAfter, cause)
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
