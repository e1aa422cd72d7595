package cache_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
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
	if r.timeout > 0 {
		time.Sleep(r.timeout - x.Waited)
		return nil, errDown
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
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		resp.Header.Add(name, value)
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

// down is an origin that cannot be reached.
func down(*http.Request) (*http.Response, error) { return nil, errDown }

// asked is one request of a test.
type asked struct {
	method string
	path   string
	header http.Header
	who    enterprise.Number
	client string
	open   bool
	ctx    context.Context
}

// got is what came of it.
type got struct {
	status int
	header http.Header
	body   string
	// aborted says that the answer was cut short, err that the way failed.
	aborted bool
	err     error
	record  *call.Record
}

func (g got) cache() string { return g.header.Get("Cache-Status") }

// get asks for a path with fields "Name: value".
func (r *rig) get(path string, fields ...string) got {
	return r.do(asked{path: path, header: fieldsOf(fields)})
}

func fieldsOf(fields []string) http.Header {
	h := make(http.Header)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

func (r *rig) do(a asked) (g got) {
	if a.ctx == nil {
		a.ctx = context.Background()
	}
	x := r.call(a)
	g.record = x.Record
	w := httptest.NewRecorder()
	answer, err := r.cache.Do(a.ctx, x, r.send)
	if answer != nil {
		setHeader(w.Header(), answer)
	}
	if err != nil {
		g.err = err
		status := 502
		var refusal problem.Reporter
		if errors.As(err, &refusal) {
			status = refusal.Problem().Status
		}
		w.WriteHeader(status)
	} else {
		g.aborted = !deliver(a.ctx, w, x, answer)
	}
	g.status, g.header, g.body = w.Code, w.Header(), w.Body.String()
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

// setHeader gives the caller the header of an answer, with what the cache says.
func setHeader(h http.Header, a *call.Answer) {
	maps.Copy(h, a.Header)
	if a.Cache != "" {
		before := a.Header["Cache-Status"]
		h["Cache-Status"] = append(before[:len(before):len(before)], cache.Pseudonym+"; "+a.Cache)
	}
	if a.Age != "" {
		h["Age"] = []string{a.Age}
	}
}

// deliver gives the caller the body of an answer; false if it was cut short.
func deliver(ctx context.Context, w http.ResponseWriter, x *call.Call, a *call.Answer) (whole bool) {
	defer a.Close()
	w.WriteHeader(a.Status)
	if x.Method == http.MethodHead || a.Body == nil {
		return true
	}
	chunk := make([]byte, 7)
	for {
		if ctx.Err() != nil {
			return false
		}
		n, err := a.Body.Read(chunk)
		_, _ = w.Write(chunk[:n])
		if err != nil {
			return err == io.EOF
		}
	}
}

// from tells how an answer came about: from here or from the origin.
func (g got) fromCache() bool { return strings.Contains(g.cache(), "; hit") }

func mustGet(t *testing.T, g got, status int, body, how string) {
	t.Helper()
	if g.status != status || g.body != body || !strings.Contains(g.cache(), how) {
		t.Errorf("%d %q %q, want %d %q with %q", g.status, g.body, g.cache(), status, body, how)
	}
}

var errDown = errors.New("the upstream is down")

// brokenBody ends with an error after its text.
type brokenBody struct{ *bytes.Reader }

func (b brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
func (brokenBody) Close() error { return nil }
