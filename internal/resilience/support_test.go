package resilience_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

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

func classify(err error) call.Failure {
	switch {
	case errors.Is(err, context.Canceled):
		return call.Failure{Sent: true, Cancelled: true}
	case errors.Is(err, errNotMade):
		return call.Failure{}
	case errors.Is(err, errNoConnect):
		return call.Failure{Timeout: true}
	case errors.Is(err, errTooSlow), errors.Is(err, context.DeadlineExceeded):
		return call.Failure{Sent: true, Timeout: true}
	}
	return call.Failure{Sent: true}
}

// tripper is a transport.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) Send(ctx context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
	return f(r.WithContext(ctx))
}

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

// frozen is an upstream that answers nothing until its caller goes away.
func frozen(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// body is one that ends with err, and notes how often it was closed.
type body struct {
	io.Reader
	err    error
	closed int
}

func (b *body) Read(p []byte) (int, error) {
	if b.Reader != nil {
		if n, err := b.Reader.Read(p); err == nil {
			return n, nil
		}
	}
	return 0, b.err
}

func (b *body) Close() error { b.closed++; return nil }

// breaksOff is an upstream whose answers end with err before they are whole.
func breaksOff(err error) tripper {
	return func(*http.Request) (*http.Response, error) {
		a := answer(200, "half")
		a.ContentLength, a.Body = 10, &body{Reader: a.Body, err: err}
		return a, nil
	}
}

func panics(*http.Request) (*http.Response, error) { panic("a fault below") }

// protect makes an Upstream whose jitter is the longest possible.
func protect(s resilience.Settings, change ...func(*resilience.Options)) *resilience.Upstream {
	o := resilience.Options{
		Name: "nsso", Settings: s, Now: time.Now, Rand: func() float64 { return 0.999 },
		Log: slog.New(slog.DiscardHandler), Classify: classify,
		Neutral: func(_ *call.Call, a *http.Response) bool { return a.Header.Get("Health") != "" },
	}
	for _, c := range change {
		c(&o)
	}
	return resilience.NewUpstream(o)
}

// logTo has an Upstream write its log as text.
func logTo(w io.Writer) func(*resilience.Options) {
	return func(o *resilience.Options) { o.Log = slog.New(slog.NewTextHandler(w, nil)) }
}

// healthDown is the answer of a health check, which is neutral.
func healthDown(*http.Request) (*http.Response, error) {
	a := answer(503, "text")
	a.Header.Set("Health", "DOWN")
	return a, nil
}

// layers puts the layers around next as the composition does, without a token.
func layers(u *resilience.Upstream, next call.Sender) call.Sender {
	return u.Retry(u.Rate(u.Bulkhead(u.Breaker(next))))
}

// outgoing is a call as it is to be sent.
type outgoing struct {
	ctx context.Context
	c   *call.Call
	r   *http.Request
}

// request is a call of its own for who.
func request(method string, who enterprise.Number) *outgoing {
	return requestOf(context.Background(), method, &call.Call{Enterprise: who})
}

// requestOf completes a call, which begins now unless it says otherwise.
func requestOf(ctx context.Context, method string, c *call.Call) *outgoing {
	r, err := http.NewRequestWithContext(ctx, method, "http://upstream.test/", nil)
	if err != nil {
		panic(err)
	}
	c.Method, c.Path = method, "/"
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	if c.Record == nil {
		c.Record = &call.Record{Call: c}
	}
	return &outgoing{ctx: ctx, c: c, r: r}
}

// by sends the call.
func (o *outgoing) by(s call.Sender) (*http.Response, error) { return s.Send(o.ctx, o.c, o.r) }

// do makes a call to its end and returns its status, or its error.
func do(s call.Sender, o *outgoing) (int, error) {
	resp, err := o.by(s)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, err
}

// passes makes a call that must be answered with 200.
func passes(t *testing.T, s call.Sender, o *outgoing) {
	t.Helper()
	if status, err := do(s, o); status != 200 || err != nil {
		t.Fatalf("%d, %v", status, err)
	}
}

// repeat makes n calls for each of who, in turn.
func repeat(n int, s call.Sender, who ...enterprise.Number) {
	for range n {
		for _, w := range who {
			_, _ = do(s, request("GET", w))
		}
	}
}

// send makes a call in a goroutine and returns where its error will be.
func send(ctx context.Context, s call.Sender, c *call.Call) <-chan error {
	end := make(chan error, 1)
	o := requestOf(ctx, "GET", c)
	go func() {
		_, err := do(s, o)
		end <- err
	}()
	return end
}

func interactive() *call.Call { return &call.Call{Caller: "interactive"} }

func batch(pace time.Duration) *call.Call {
	return &call.Call{Caller: "batch", Batch: true, Pace: pace}
}

// begun completes a call that is not sent.
func begun(c *call.Call) *call.Call { return requestOf(context.Background(), "GET", c).c }

// refusedWith checks that err is a problem with this status, cause and Retry-After;
// "" means that there is none.
func refusedWith(t *testing.T, err error, status int, cause error, retryAfter string) *problem.Problem {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) {
		t.Fatalf("error %v is no problem", err)
	}
	if p.Status != status || !errors.Is(err, cause) || p.Header.Get("Retry-After") != retryAfter {
		t.Fatalf("refused with %d, Retry-After %q: %v; want %d, Retry-After %q: %v",
			p.Status, p.Header.Get("Retry-After"), p.Cause, status, retryAfter, cause)
	}
	return p
}

func member(p *problem.Problem, name string) any {
	for _, m := range p.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// gate is an upstream whose calls last until they are let go.
type gate struct {
	let   chan struct{}
	mu    sync.Mutex
	order []string       // the callers, as their calls came
	holds map[string]int // how many calls of each caller are here
	batch int            // how many of class batch
}

func newGate() *gate { return &gate{let: make(chan struct{}), holds: make(map[string]int)} }

func (g *gate) add(c *call.Call, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds[c.Caller] += n
	if c.Batch {
		g.batch += n
	}
	if n > 0 {
		g.order = append(g.order, c.Caller)
	}
}

func (g *gate) Send(ctx context.Context, c *call.Call, _ *http.Request) (*http.Response, error) {
	g.add(c, 1)
	defer g.add(c, -1)
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

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
