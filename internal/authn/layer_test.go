package authn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/exchange"
)

// provider is an upstream that accepts some tokens, over a real socket.
type provider struct {
	*httptest.Server
	accepts  atomic.Pointer[func(authorization string) bool]
	requests atomic.Int32
	bodies   []string
}

func newProvider(t *testing.T, accepts func(string) bool) *provider {
	p := &provider{}
	p.accepts.Store(&accepts)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		p.bodies = append(p.bodies, string(body))
		if !(*p.accepts.Load())(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "the upstream's own words")
			return
		}
		_, _ = io.WriteString(w, "fine")
	}))
	t.Cleanup(p.Close)
	return p
}

func layers(t *testing.T, allowHTTP bool) http.RoundTripper {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return NewTokenLayer(NewCredentials(transport, allowHTTP), "nsso", nil)
}

func send(t *testing.T, rt http.RoundTripper, s *Source, record *exchange.Record, url string, body io.Reader) (int, string) {
	t.Helper()
	method := "GET"
	if body != nil {
		method = "POST"
	}
	ctx := exchange.With(WithSource(t.Context(), s), record)
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	before := maps.Clone(r.Header)
	answer, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if len(r.Header) != len(before) || r.Header.Get("Authorization") != "" {
		t.Errorf("the request's own headers were changed: %v", r.Header)
	}
	return answer.StatusCode, string(text)
}

func TestTheTokenTravelsAndItsHashIsReported(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	token := mustToken(t, s)
	p := newProvider(t, func(got string) bool { return got == token.Authorization() })
	record := &exchange.Record{}
	if status, body := send(t, layers(t, false), s, record, p.URL, nil); status != 200 || body != "fine" {
		t.Fatalf("%d %s", status, body)
	}
	if record.TokenHash != token.Hash() {
		t.Errorf("hash %q", record.TokenHash)
	}
}

func TestTheTimeSpentOnATokenIsMeasured(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	as.before = func(int, *http.Request) { time.Sleep(20 * time.Millisecond) }
	s := source(t, setup(t, as, nil))
	p := newProvider(t, func(string) bool { return true })
	record := &exchange.Record{}
	send(t, layers(t, false), s, record, p.URL, nil)
	if record.Phases.Token < 20*time.Millisecond {
		t.Errorf("%s", record.Phases.Token)
	}
}

func TestA401IsTriedOnceMoreWithANewToken(t *testing.T) {
	cases := map[string]struct {
		body    io.Reader
		opening bool
		status  int
		sent    int32
	}{
		"a request without a body":         {nil, false, 200, 2},
		"a body that can be sent again":    {strings.NewReader("content"), false, 200, 2},
		"a body that cannot be sent again": {io.MultiReader(strings.NewReader("content")), false, 401, 1},
		"the opening of a document":        {nil, true, 401, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			as := newAuthServer(t, mustLoad(t, newSource))
			s := source(t, setup(t, as, nil))
			revoked := mustToken(t, s)
			p := newProvider(t, func(got string) bool { return got != revoked.Authorization() })
			record := &exchange.Record{Opening: c.opening}
			status, body := send(t, layers(t, false), s, record, p.URL, c.body)
			if status != c.status || p.requests.Load() != c.sent {
				t.Fatalf("%d %s after %d requests", status, body, p.requests.Load())
			}
			if status == 401 && body != "the upstream's own words" {
				t.Errorf("the 401 was changed: %q", body)
			}
			if c.sent == 2 && p.bodies[0] != p.bodies[1] {
				t.Errorf("the second body is %q", p.bodies[1])
			}
			renewed := mustToken(t, s)
			if renewed == revoked {
				t.Error("the refused token was not dropped")
			}
			if c.sent == 2 && record.TokenHash != renewed.Hash() {
				t.Error("the record names the token that was refused")
			}
		})
	}
}

func TestTheSecondTryHasTheWholeBody(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	var bodies []string
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		return &http.Response{StatusCode: 401, Body: http.NoBody}, nil
	})
	send(t, NewTokenLayer(next, "nsso", nil), s, &exchange.Record{}, "https://nsso.example/", strings.NewReader("content"))
	if len(bodies) != 2 || bodies[0] != "content" || bodies[1] != "content" {
		t.Errorf("sent %q", bodies)
	}
}

func TestTheCredentialsLayerChangesNothingOfItsRequest(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	token := mustToken(t, source(t, setup(t, as, nil)))
	next := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	r, _ := http.NewRequestWithContext(&tokenContext{t.Context(), token}, "GET", "https://nsso.example/", nil)
	if _, err := NewCredentials(next, false).RoundTrip(r); err != nil || len(r.Header) != 0 {
		t.Errorf("headers %v, %v", r.Header, err)
	}
}

func TestAnUpstreamThatRefusesEverythingCausesOneRenewal(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	p := newProvider(t, func(string) bool { return false })
	rt := layers(t, false)
	for range 10 {
		if status, body := send(t, rt, s, &exchange.Record{}, p.URL, nil); status != 401 || body != "the upstream's own words" {
			t.Fatalf("%d %s", status, body)
		}
	}
	if as.count() != 2 || p.requests.Load() != 11 {
		t.Errorf("%d token requests, %d to the upstream", as.count(), p.requests.Load())
	}
}

func TestTheUpstreams401StaysIfThereIsNoNewToken(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	p := newProvider(t, func(string) bool { return false })
	mustToken(t, s)
	as.set(func(as *authServer) { as.answer = down })
	if status, body := send(t, layers(t, false), s, &exchange.Record{}, p.URL, strings.NewReader("x")); status != 401 || body != "the upstream's own words" {
		t.Fatalf("%d %s", status, body)
	}
}

func TestAServerThatIssuesTheSameTokenAgainCausesNoSecondTry(t *testing.T) {
	as := newAuthServer(t)
	as.answer = func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"always-the-same","token_type":"Bearer","expires_in":3600}`)
	}
	s := source(t, setup(t, as, nil))
	p := newProvider(t, func(string) bool { return false })
	if status, _ := send(t, layers(t, false), s, &exchange.Record{}, p.URL, nil); status != 401 || p.requests.Load() != 1 {
		t.Fatalf("%d after %d requests", status, p.requests.Load())
	}
}

func TestA403DropsNothing(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	token := mustToken(t, s)
	next := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 403, Body: http.NoBody}, nil
	})
	rt := NewTokenLayer(next, "nsso", time.Now)
	if status, _ := send(t, rt, s, &exchange.Record{}, "https://nsso.example/", nil); status != 403 {
		t.Fatal(status)
	}
	if mustToken(t, s) != token {
		t.Error("the token was dropped")
	}
}

// closable notes that a request body was closed.
type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestTokensTravelOverHTTPSOnly(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	cases := map[string]struct {
		url       string
		allowHTTP bool
		sent      bool
	}{
		"https":                          {"https://nsso.example/", false, true},
		"http":                           {"http://nsso.example/", false, false},
		"http, allowed":                  {"http://nsso.example/", true, true},
		"loopback by name":               {"http://localhost:1/", false, true},
		"loopback in IPv4":               {"http://127.0.0.9:1/", false, true},
		"loopback in IPv6":               {"http://[::1]:1/", false, true},
		"loopback in IPv6-mapped IPv4":   {"http://[::ffff:127.0.0.1]/", false, true},
		"a name that begins like one":    {"http://localhost.nsso.example/", false, false},
		"an address of the link":         {"http://169.254.169.254/", false, false},
		"an address that names loopback": {"http://127.0.0.1.nsso.example/", false, false},
		"another scheme":                 {"ftp://nsso.example/", false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sent := false
			next := roundTripper(func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Get("Authorization") != ""
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			})
			body := &closable{Reader: strings.NewReader("x")}
			r, _ := http.NewRequestWithContext(WithSource(t.Context(), s), "POST", c.url, body)
			_, err := NewTokenLayer(NewCredentials(next, c.allowHTTP), "nsso", nil).RoundTrip(r)
			if sent != c.sent || (err == nil) != c.sent {
				t.Fatalf("sent %v, %v", sent, err)
			}
			if err != nil {
				as.leaks(err.Error())
				if !body.closed {
					t.Error("the body was left open")
				}
			}
		})
	}
}

func TestNoRequestLeavesWithoutAToken(t *testing.T) {
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("no")
	})
	down := source(t, setup(t, nil, func(o *Options) {
		o.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
	}))
	for name, c := range map[string]struct {
		rt  http.RoundTripper
		ctx context.Context
	}{
		"no source in the context": {NewTokenLayer(next, "nsso", nil), t.Context()},
		"no token layer above":     {NewCredentials(next, true), WithSource(t.Context(), down)},
		"no token to be had":       {NewTokenLayer(next, "nsso", nil), WithSource(t.Context(), down)},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closable{Reader: strings.NewReader("x")}
			r, _ := http.NewRequestWithContext(c.ctx, "POST", "https://nsso.example/", body)
			if _, err := c.rt.RoundTrip(r); err == nil || !body.closed {
				t.Fatalf("%v, body closed: %v", err, body.closed)
			}
		})
	}
}

func TestACallersAuthorizationNeverStandsBesideTheToken(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil))
	token := mustToken(t, s)
	var wire bytes.Buffer
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		_ = r.Header.Write(&wire)
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	r, _ := http.NewRequestWithContext(WithSource(t.Context(), s), "GET", "https://nsso.example/", nil)
	r.Header["authorization"] = []string{"Basic caller"}
	r.Header["Authorization"] = []string{"Basic caller"}
	if _, err := NewTokenLayer(NewCredentials(next, false), "nsso", nil).RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if got := wire.String(); got != "Authorization: "+token.Authorization()+"\r\n" {
		t.Errorf("sent %q", got)
	}
}

func BenchmarkLayers(b *testing.B) {
	as := newAuthServer(b, mustLoad(b, newSource))
	s := source(b, setup(b, as, nil))
	answer := &http.Response{StatusCode: 200, Body: http.NoBody}
	rt := NewTokenLayer(NewCredentials(roundTripper(func(*http.Request) (*http.Response, error) { return answer, nil }), false), "nsso", nil)
	ctx := exchange.With(WithSource(b.Context(), s), &exchange.Record{})
	r, _ := http.NewRequestWithContext(ctx, "GET", "https://nsso.example/", nil)
	for _, name := range []string{"Accept", "Accept-Language", "User-Agent", "On-Behalf-Of-Enterprise-Number", "BelGov-Trace-Id"} {
		r.Header.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.RoundTrip(r); err != nil {
			b.Fatal(err)
		}
	}
}
