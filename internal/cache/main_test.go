package cache_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	example = enterprise.Number(206731645)
	other   = enterprise.Number(212148896)
)

// origin answers what is sent upstream. An error is one of the way there.
type origin func(*http.Request) (*http.Response, error)

// rig is a cache before an origin that is a function, without sockets, so that it runs
// in a bubble of synctest as well. It does what the proxy does: it makes calls, sends
// them, and delivers the answers.
type rig struct {
	cache  *cache.Cache
	second *replica // nil for none
	policy call.Policy
	origin origin
	// timeout, unless 0, is the header time-out of an origin that answers nothing.
	timeout time.Duration

	mu   sync.Mutex
	seen []*http.Request
	// beside are the records of what was sent in the background.
	beside []*call.Record
}

func newRig(t *testing.T, origin origin) *rig {
	t.Helper()
	r := &rig{policy: call.Policy{MaxBody: 1 << 20}, origin: origin}
	r.cache = cache.New(r.options(16<<20, time.Now))
	t.Cleanup(r.cache.Close)
	return r
}

func (r *rig) options(memory int64, now func() time.Time) cache.Options {
	return cache.Options{
		Memory: memory, Log: slog.New(slog.DiscardHandler), Now: now,
		Classify: func(err error) call.Failure {
			return call.Failure{Sent: !errors.Is(err, errNotSent), Cancelled: errors.Is(err, context.Canceled)}
		},
		Done: func(rec *call.Record) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.beside = append(r.beside, rec)
		},
	}
}

// upstream is one that gets the credentials of the callers, if they send any.
var upstream = func() *call.Upstream {
	u, err := call.NewUpstream("test", &url.URL{Scheme: "http", Host: "upstream.test"}, nil, false)
	if err != nil {
		panic(err)
	}
	u.CallerCredentials = true
	return u
}()

func (r *rig) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *rig) last() *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[len(r.seen)-1]
}

// send has the origin answer.
func (r *rig) send(ctx context.Context, x *call.Call, question *call.Question) (*http.Response, error) {
	to, err := x.URL()
	if err != nil {
		return nil, err
	}
	req := (&http.Request{Method: x.Method, URL: to, Host: to.Host, Header: x.RequestHeader()}).WithContext(ctx)
	question.Apply(req.Header)
	r.mu.Lock()
	r.seen = append(r.seen, req)
	r.mu.Unlock()
	if r.timeout > 0 { // the header time-out
		limited, cancel := context.WithTimeoutCause(ctx, r.timeout-x.Waited, errDown)
		defer cancel()
		req = req.WithContext(limited)
	}
	resp, err := r.origin(req)
	if ctxErr := ctx.Err(); ctxErr != nil && err == nil {
		resp.Body.Close()
		return nil, ctxErr
	}
	return resp, err
}

// reply makes an answer. fields are "Name: value".
func reply(status int, body string, fields ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: fieldsOf(fields...),
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	return resp
}

// always gives an origin that answers the same every time, or a 304 if asked for its
// tag.
func always(body string, fields ...string) origin {
	return func(r *http.Request) (*http.Response, error) {
		resp := reply(200, body, fields...)
		if tag := resp.Header.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
			return reply(304, "", fields...), nil
		}
		return resp, nil
	}
}

// says gives an origin that always answers with a status, and nothing to be stored.
func says(status int) origin {
	return func(*http.Request) (*http.Response, error) { return reply(status, "sorry"), nil }
}

// fails gives an origin on the way to which there is an error.
func fails(err error) origin {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var (
	errDown    = errors.New("the upstream is down")
	errNotSent = errors.New("the request did not leave")
	down       = fails(errDown)
)

// asked is one request of a test.
type asked struct {
	method, path, client string
	header               http.Header
	who                  enterprise.Number
	open                 bool
	ctx                  context.Context
}

// got is what came of it: cache is the cache's word about it, err why there is no answer.
type got struct {
	status int
	header http.Header
	body   string
	cache  string
	err    error
}

func (g got) fromCache() bool { return strings.HasPrefix(g.cache, "hit") }

// get asks for a path with fields "Name: value".
func (r *rig) get(path string, fields ...string) got {
	return r.do(asked{path: path, header: fieldsOf(fields...)})
}

func fieldsOf(fields ...string) http.Header {
	h := make(http.Header)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

func (r *rig) do(a asked) (g got) {
	x := r.call(a)
	answer, err := r.cache.Do(cmp.Or(a.ctx, context.Background()), x, r.send)
	if answer != nil {
		g.cache = answer.Cache
	}
	if err != nil {
		g.status, g.err = http.StatusBadGateway, err
		if refusal, ok := errors.AsType[problem.Reporter](err); ok {
			g.status = refusal.Problem().Status
		}
		return g
	}
	defer answer.Close()
	g.status, g.header = answer.Status, maps.Clone(answer.Header)
	if answer.Age != "" {
		g.header.Set("Age", answer.Age)
	}
	if x.Method != http.MethodHead && answer.Body != nil {
		body, _ := io.ReadAll(answer.Body) // a body that is cut is what a test may be about
		g.body = string(body)
	}
	return g
}

// call makes a call of what is asked.
func (r *rig) call(a asked) *call.Call {
	x := call.New()
	x.Method, x.Header, x.Enterprise, x.Client = cmp.Or(a.method, "GET"), a.header, cmp.Or(a.who, example), a.client
	if x.Header == nil {
		x.Header = make(http.Header)
	}
	x.Path, x.Route, x.Opening, x.To = a.path, "route", a.open, upstream
	x.Target, x.Query, x.BareQuery = strings.Cut(a.path, "?")
	x.BareQuery = x.BareQuery && x.Query == ""
	x.Keep = call.Keep{
		Partition: call.Partition{
			Route: "route", Upstream: "http://upstream.test", Client: a.client, Scopes: "s", Enterprise: x.Enterprise,
		},
		Policy: &r.policy, Told: true, Reads: true, Shares: r.policy.Shared.Any(),
	}
	return x
}

func mustGet(t *testing.T, g got, status int, body, how string) {
	t.Helper()
	if g.status != status || g.body != body || !strings.Contains(g.cache, how) {
		t.Errorf("%d %q %q, want %d %q with %q", g.status, g.body, g.cache, status, body, how)
	}
}

// cut is a body that ends with an error after its text.
func cut(text string) io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)))
}
