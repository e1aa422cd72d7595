package authn

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// provider is an upstream that accepts some tokens, over a real socket.
type provider struct {
	*httptest.Server
	accepts  func(authorization string) bool
	refusal  int // 401 if 0
	requests atomic.Int32
	bodies   []string
}

func newProvider(t *testing.T, accepts func(string) bool) *provider {
	p := &provider{accepts: accepts}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		p.bodies = append(p.bodies, string(body))
		if !p.accepts(r.Header.Get("Authorization")) {
			w.WriteHeader(cmp.Or(p.refusal, http.StatusUnauthorized))
			_, _ = io.WriteString(w, "the upstream's own words")
			return
		}
		_, _ = io.WriteString(w, "fine")
	}))
	t.Cleanup(p.Close)
	return p
}

func layers(t *testing.T, allowHTTP bool) call.Sender {
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	return NewTokenLayer(NewCredentials(carrier{transport(pool.RoundTrip)}, allowHTTP), "nsso")
}

// carrier stands for the transport: what is below it sees the field where the wire has it.
type carrier struct{ next call.Sender }

func (c carrier) SendAs(ctx context.Context, x *call.Call, r *http.Request,
	authorization string) (*http.Response, error) {
	sent := r.Clone(ctx)
	for name := range sent.Header {
		if strings.EqualFold(name, "Authorization") {
			delete(sent.Header, name)
		}
	}
	sent.Header.Set("Authorization", authorization)
	return c.next.Send(ctx, x, sent)
}

// callOf makes a call with tokens of s.
func callOf(s *Source) *call.Call {
	c := call.New()
	c.Credential = s.Session()
	return c
}

func send(t *testing.T, layer call.Sender, c *call.Call, url string, body io.Reader) (int, string) {
	t.Helper()
	method := "GET"
	if body != nil {
		method = "POST"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	before := maps.Clone(r.Header)
	answer, err := layer.Send(t.Context(), c, r)
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
	clock := &clock{now: time.Now()}
	s := source(t, setup(t, newAuthServer(t, mustLoad(t, newSource)), func(o *Options) {
		o.Now = func() time.Time { clock.add(time.Second); return clock.Now() }
	}))
	token := mustToken(t, s)
	p := newProvider(t, func(got string) bool { return got == token.Authorization() })
	c, layer := callOf(s), layers(t, false)
	if status, body := send(t, layer, c, p.URL, nil); status != 200 || body != "fine" {
		t.Fatalf("%d %s", status, body)
	}
	if c.Record.TokenHash != token.Hash() || c.Record.Phases.Token != 2*time.Second {
		t.Errorf("hash %q, after %s", c.Record.TokenHash, c.Record.Phases.Token)
	}
}

func TestA403DropsNothing(t *testing.T) {
	_, s := withSource(t)
	token := mustToken(t, s)
	p := newProvider(t, func(string) bool { return false })
	p.refusal = http.StatusForbidden
	if status, _ := send(t, layers(t, false), callOf(s), p.URL, nil); status != 403 || mustToken(t, s) != token {
		t.Errorf("%d, or the token was dropped", status)
	}
}

func TestA401IsTriedOnceMoreWithANewToken(t *testing.T) {
	same := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"secret-token-1","token_type":"Bearer","expires_in":3600}`)
	}
	cases := map[string]struct {
		body    io.Reader
		opening bool
		renewal http.HandlerFunc // nil for another token
		status  int
		sent    int32
	}{
		"a request without a body":         {nil, false, nil, 200, 2},
		"a body that can be sent again":    {strings.NewReader("content"), false, nil, 200, 2},
		"a body that cannot be sent again": {io.MultiReader(strings.NewReader("content")), false, nil, 401, 1},
		"the opening of a document":        {nil, true, nil, 401, 1},
		"no new token to be had":           {strings.NewReader("content"), false, down, 401, 1},
		"the same token once more":         {nil, false, same, 401, 1},
	}
	for name, of := range cases {
		t.Run(name, func(t *testing.T) {
			as, s := withSource(t)
			revoked := mustToken(t, s)
			as.set(func(as *authServer) { as.answer = of.renewal })
			p := newProvider(t, func(got string) bool { return got != revoked.Authorization() })
			c := callOf(s)
			c.Opening = of.opening
			status, body := send(t, layers(t, false), c, p.URL, of.body)
			if status != of.status || p.requests.Load() != of.sent {
				t.Fatalf("%d %s after %d requests", status, body, p.requests.Load())
			}
			if status == 401 && body != "the upstream's own words" {
				t.Errorf("the 401 was changed: %q", body)
			}
			if of.sent == 2 && p.bodies[0] != p.bodies[1] {
				t.Errorf("the second body is %q", p.bodies[1])
			}
			if of.renewal != nil {
				return
			}
			renewed := mustToken(t, s)
			if renewed == revoked {
				t.Error("the refused token was not dropped")
			}
			if of.sent == 2 && c.Record.TokenHash != renewed.Hash() {
				t.Error("the record names the token that was refused")
			}
		})
	}
}

func TestAnUpstreamThatRefusesEverythingCausesOneRenewal(t *testing.T) {
	as, s := withSource(t)
	p := newProvider(t, func(string) bool { return false })
	layer := layers(t, false)
	for range 10 {
		if status, body := send(t, layer, callOf(s), p.URL, nil); status != 401 || body != "the upstream's own words" {
			t.Fatalf("%d %s", status, body)
		}
	}
	if as.count() != 2 || p.requests.Load() != 11 {
		t.Errorf("%d token requests, %d to the upstream", as.count(), p.requests.Load())
	}
}

func TestASecondRevocationWithinAMinuteIsNoRefusalOfTheCaller(t *testing.T) {
	_, s := withSource(t)
	refused := mustToken(t, s).Authorization()
	p := newProvider(t, func(got string) bool { return got != refused })
	layer := layers(t, false)
	if status, body := send(t, layer, callOf(s), p.URL, nil); status != 200 {
		t.Fatalf("after the first revocation %d %s", status, body)
	}
	refused = mustToken(t, s).Authorization()
	r := httptest.NewRequest("GET", p.URL, nil)
	answer, err := layer.Send(t.Context(), callOf(s), r)
	var told problem.Reporter
	if !errors.As(err, &told) {
		t.Fatalf("answer %v, error %v", answer, err)
	}
	got := told.Problem()
	if seconds, _ := strconv.Atoi(got.Header.Get("Retry-After")); got.Status != 503 || seconds < 1 || seconds > 60 ||
		!strings.Contains(got.Detail, "refuses the gateway's access token again") {
		t.Errorf("%d, Retry-After %s: %s", got.Status, got.Header.Get("Retry-After"), got.Detail)
	}
	if mustToken(t, s).Authorization() != refused {
		t.Error("the token was renewed twice within a minute")
	}
	until := s.status(time.Now()).RefusedBy["nsso"]
	if left := time.Until(until); left <= 0 || left > forcedPause {
		t.Errorf("the platform team is told that it is renewed in %s", left)
	}
	if by := s.status(until).RefusedBy; len(by) > 0 {
		t.Errorf("a minute later it is still refused: %v", by)
	}
}

// transport makes a function the lowest layer.
func transport(f func(*http.Request) (*http.Response, error)) call.Sender {
	return call.SenderFunc(func(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) { return f(r) })
}

// closable notes that a request body was closed.
type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestTokensTravelOverHTTPSOnly(t *testing.T) {
	as, s := withSource(t)
	for url, allowed := range map[string]bool{
		"https://nsso.example/":          true,
		"http://nsso.example/":           false,
		"http://localhost:1/":            true,
		"http://127.0.0.9:1/":            true,
		"http://[::1]:1/":                true,
		"http://[::ffff:127.0.0.1]/":     true,
		"http://localhost.nsso.example/": false, // a name that begins like one of loopback
		"http://169.254.169.254/":        false,
		"http://127.0.0.1.nsso.example/": false,
		"ftp://nsso.example/":            false,
	} {
		for _, allowHTTP := range []bool{false, true} {
			sent := false
			next := transport(func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Get("Authorization") != ""
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			})
			body := &closable{Reader: strings.NewReader("x")}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", url, body)
			layer := NewTokenLayer(NewCredentials(carrier{next}, allowHTTP), "nsso")
			_, err := layer.Send(t.Context(), callOf(s), r)
			if sent != (allowed || allowHTTP) || (err == nil) != sent {
				t.Fatalf("%s, http allowed %t: sent %t, %v", url, allowHTTP, sent, err)
			}
			if err != nil {
				as.leaks(err.Error())
				if !body.closed {
					t.Error("the body was left open")
				}
			}
		}
	}
}

func TestNoRequestLeavesWithoutAToken(t *testing.T) {
	next := transport(func(r *http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("no")
	})
	down := source(t, setup(t, nil, func(o *Options) {
		o.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
	}))
	none := call.New()
	foreign := call.New()
	foreign.Credential = otherCredential{}
	for name, of := range map[string]struct {
		layer call.Sender
		c     *call.Call
	}{
		"no credential":         {NewTokenLayer(next, "nsso"), none},
		"one of somebody else":  {NewTokenLayer(next, "nsso"), foreign},
		"no token layer above":  {NewCredentials(carrier{next}, true), callOf(down)},
		"none, without a layer": {NewCredentials(carrier{next}, true), none},
		"no token to be had":    {NewTokenLayer(NewCredentials(carrier{next}, true), "nsso"), callOf(down)},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closable{Reader: strings.NewReader("x")}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", "https://nsso.example/", body)
			if _, err := of.layer.Send(t.Context(), of.c, r); err == nil || !body.closed {
				t.Fatalf("%v, body closed: %v", err, body.closed)
			}
		})
	}
}

// otherCredential is none of this package.
type otherCredential struct{}

func (otherCredential) Client() string         { return "other" }
func (otherCredential) Scopes() []string       { return nil }
func (otherCredential) Again() call.Credential { return otherCredential{} }

func TestACredentialForAnotherCallHasNoTokenYet(t *testing.T) {
	as := newAuthServer(t, mustLoad(t, newSource))
	s := source(t, setup(t, as, nil), "a", "b")
	p := newProvider(t, func(string) bool { return true })
	c := callOf(s)
	send(t, layers(t, false), c, p.URL, nil)
	again, ok := c.Credential.Again().(*Session)
	if !ok || again == c.Credential || again.token != (Token{}) {
		t.Fatalf("%T that has a token", c.Credential.Again())
	}
	if again.Client() != s.Client() || !slices.Equal(again.Scopes(), s.Scopes()) {
		t.Errorf("client %q, scopes %q", again.Client(), again.Scopes())
	}
	beside := call.New()
	beside.Credential = again
	if status, _ := send(t, layers(t, false), beside, p.URL, nil); status != 200 ||
		beside.Record.TokenHash != c.Record.TokenHash {
		t.Errorf("%d with token %q", status, beside.Record.TokenHash)
	}
}
