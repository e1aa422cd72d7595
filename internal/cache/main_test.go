package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	example = enterprise.Number(206731645)
	other   = enterprise.Number(212148896)
)

// rig is a cache before an origin that is a function, without sockets, so that it runs
// in a bubble of synctest as well.
type rig struct {
	cache  *Cache
	policy Policy
	// origin answers; body stands for what it reads. An error is one of the way there.
	origin func(r *http.Request) (*http.Response, error)

	mu   sync.Mutex
	seen []*http.Request
	// beside are the records of what was sent in the background.
	beside []*exchange.Record
}

func newRig(t *testing.T, origin func(r *http.Request) (*http.Response, error)) *rig {
	t.Helper()
	r := &rig{policy: Policy{MaxBody: 1 << 20}, origin: origin}
	r.cache = New(Options{Memory: 16 << 20, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	t.Cleanup(r.cache.Close)
	return r
}

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

// roundTrip has the origin answer.
func (r *rig) roundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.seen = append(r.seen, req)
	r.mu.Unlock()
	exchange.From(req.Context()).Sent = true
	resp, err := r.origin(req)
	if ctxErr := req.Context().Err(); ctxErr != nil && err == nil {
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
func always(body string, fields ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp := reply(200, body, fields...)
		if tag := resp.Header.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
			return reply(304, "", fields...), nil
		}
		return resp, nil
	}
}

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
	record  *exchange.Record
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
	if a.method == "" {
		a.method = "GET"
	}
	if a.ctx == nil {
		a.ctx = context.Background()
	}
	if a.header == nil {
		a.header = make(http.Header)
	}
	if a.who == 0 {
		a.who = example
	}
	g.record = &exchange.Record{Enterprise: a.who}
	req := httptest.NewRequest(a.method, "http://upstream.test"+a.path, nil).WithContext(exchange.With(a.ctx, g.record))
	req.Header = a.header
	x := &ex{rig: r, r: req, w: httptest.NewRecorder(), got: &g}
	defer func() {
		if fault := recover(); fault != nil {
			if fault != http.ErrAbortHandler {
				panic(fault)
			}
			g.aborted = true
		}
		g.status, g.header, g.body = x.w.Code, x.w.Header(), x.w.Body.String()
	}()
	r.cache.Serve(x, &Task{
		Partition: Partition{Route: "route", Upstream: "http://upstream.test", Client: a.client, Scopes: "s", Enterprise: a.who},
		Target:    a.path, Policy: &r.policy, Shares: r.policy.Sharing != SharedNever, Opening: a.open,
	})
	return g
}

// ex is the exchange of a test.
type ex struct {
	rig *rig
	r   *http.Request
	w   *httptest.ResponseRecorder
	got *got
}

func (x *ex) Request() *http.Request     { return x.r }
func (x *ex) Field(name string) []string { return x.r.Header[name] }
func (x *ex) Note(status string)         { x.w.Header()["Cache-Status"] = []string{status} }
func (x *ex) Failing(error) bool         { return true }
func (x *ex) Refuse()                    { x.w.WriteHeader(504) }

func (x *ex) Locate(ref string) (string, bool) {
	to, err := x.r.URL.Parse(ref)
	if err != nil || to.Host != "upstream.test" {
		return "", false
	}
	return (&url.URL{Path: to.Path, RawQuery: to.RawQuery}).String(), true
}

func (x *ex) Answer(resp *http.Response, body []byte, extra *Extra) {
	h := x.w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	h["Cache-Status"], h["Age"] = []string{extra.Status}, []string{extra.Age}
	x.w.WriteHeader(resp.StatusCode)
	if x.r.Method != "HEAD" {
		_, _ = x.w.Write(body)
	}
}

func (x *ex) Forward(prepare func(http.Header), receive func(*http.Response, error) (*http.Response, error)) {
	out := x.r.Clone(x.r.Context())
	if prepare != nil {
		prepare(out.Header)
	}
	resp, err := receive(x.rig.roundTrip(out))
	if err != nil {
		x.got.err = err
		x.w.WriteHeader(502)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		x.w.Header()[name] = values
	}
	x.w.WriteHeader(resp.StatusCode)
	if x.r.Method == "HEAD" {
		return
	}
	chunk := make([]byte, 7)
	for {
		if x.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		n, err := resp.Body.Read(chunk)
		_, _ = x.w.Write(chunk[:n])
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

func (x *ex) Again() Again {
	rec := &exchange.Record{Enterprise: exchange.From(x.r.Context()).Enterprise}
	send := func(ctx context.Context, prepare func(http.Header)) (*http.Response, error) {
		out := x.r.Clone(exchange.With(ctx, rec))
		prepare(out.Header)
		return x.rig.roundTrip(out)
	}
	end := func() {
		x.rig.mu.Lock()
		defer x.rig.mu.Unlock()
		x.rig.beside = append(x.rig.beside, rec)
	}
	return Again{Send: send, Record: rec, End: end}
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

func numbered() func(*http.Request) (*http.Response, error) {
	var mu sync.Mutex
	n := 0
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return reply(200, fmt.Sprint(n), "Cache-Control: max-age=60", "Vary: Accept"), nil
	}
}
