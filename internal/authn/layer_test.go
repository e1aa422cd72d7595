package authn_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// provider is an upstream that accepts some values of Authorization, all if nil, and the transport to it.
type provider struct {
	accepts func(authorization string) bool
	refusal int      // 401 if 0
	bodies  []string // of the requests
}

func (p *provider) SendAs(_ context.Context, _ *call.Call, r *http.Request, authorization string) (*http.Response,
	error) {
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	p.bodies = append(p.bodies, string(body))
	answer := &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("fine"))}
	if p.accepts != nil && !p.accepts(authorization) {
		answer.StatusCode = cmp.Or(p.refusal, http.StatusUnauthorized)
		answer.Body = io.NopCloser(strings.NewReader("the upstream's own words"))
	}
	return answer, nil
}

// layers are both over an upstream.
func layers(p authn.Carrier) call.Sender {
	return authn.NewTokenLayer(authn.NewCredentials(p, false), "nsso")
}

// callOf makes a call with tokens of s.
func callOf(s *authn.Source) *call.Call {
	c := call.New()
	c.Credential = s.Session()
	return c
}

// send gives the status and the body of the answer, or else the error.
func send(t *testing.T, layer call.Sender, c *call.Call, body io.Reader) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "https://nsso.example/", body)
	testkit.Must(t, err)
	answer, err := layer.Send(t.Context(), c, r)
	if len(r.Header) > 0 {
		t.Errorf("the request's own headers were changed: %v", r.Header)
	}
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), nil
}

func TestTheTokenTravelsAndItsHashIsReported(t *testing.T) {
	now := time.Now()
	_, _, s := with(t, func(o *authn.Options) {
		o.Now = func() time.Time { now = now.Add(time.Second); return now }
	})
	token := mustToken(t, s)
	p := &provider{accepts: func(got string) bool { return got == token.Authorization() }}
	c := callOf(s)
	if status, body, err := send(t, layers(p), c, nil); status != 200 || body != "fine" {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if c.Record.TokenHash != token.Hash() || c.Record.Phases.Token != 2*time.Second {
		t.Errorf("hash %q, after %s", c.Record.TokenHash, c.Record.Phases.Token)
	}
}

func TestA401IsTriedOnceMoreWithANewToken(t *testing.T) {
	same := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"secret-token-1","token_type":"Bearer","expires_in":3600}`)
	}
	for name, of := range map[string]struct {
		body    io.Reader
		opening bool
		refusal int              // 401 if 0
		renewal http.HandlerFunc // nil for another token
		status  int
		sent    int
	}{
		"a request without a body":         {status: 200, sent: 2},
		"a body that can be sent again":    {body: strings.NewReader("content"), status: 200, sent: 2},
		"a body that cannot be sent again": {body: io.MultiReader(strings.NewReader("content")), status: 401, sent: 1},
		"the opening of a document":        {opening: true, status: 401, sent: 1},
		"no new token to be had":           {body: strings.NewReader("content"), renewal: down, status: 401, sent: 1},
		"the same token once more":         {renewal: same, status: 401, sent: 1},
		"a 403, which drops nothing":       {refusal: 403, status: 403, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			as, _, s := with(t)
			revoked := mustToken(t, s)
			as.set(func(as *authServer) { as.answer = of.renewal })
			p := &provider{refusal: of.refusal, accepts: func(got string) bool { return got != revoked.Authorization() }}
			c := callOf(s)
			c.Opening = of.opening
			status, body, err := send(t, layers(p), c, of.body)
			if status != of.status || len(p.bodies) != of.sent {
				t.Fatalf("%d %s %v after %d requests", status, body, err, len(p.bodies))
			}
			if status >= 400 && body != "the upstream's own words" || of.sent == 2 && p.bodies[0] != p.bodies[1] {
				t.Errorf("the refusal was changed, or the second body: %q, %q", body, p.bodies)
			}
			if of.renewal != nil {
				return
			}
			renewed := mustToken(t, s)
			if (renewed == revoked) != (status == 403) {
				t.Error("the refused token was not dropped, or another one was")
			}
			if of.sent == 2 && c.Record.TokenHash != renewed.Hash() {
				t.Error("the record names the token that was refused")
			}
		})
	}
}

func TestAnUpstreamThatRefusesEverythingCausesOneRenewal(t *testing.T) {
	as, _, s := with(t)
	p := &provider{accepts: func(string) bool { return false }}
	layer := layers(p)
	for range 10 {
		if status, body, err := send(t, layer, callOf(s), nil); status != 401 || body != "the upstream's own words" {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	if as.count() != 2 || len(p.bodies) != 11 {
		t.Errorf("%d token requests, %d to the upstream", as.count(), len(p.bodies))
	}
}

func TestASecondRevocationWithinAMinuteIsNoRefusalOfTheCaller(t *testing.T) {
	_, tokens, s := with(t)
	refused := mustToken(t, s).Authorization()
	layer := layers(&provider{accepts: func(got string) bool { return got != refused }})
	if status, body, err := send(t, layer, callOf(s), nil); status != 200 {
		t.Fatalf("after the first revocation %d %s %v", status, body, err)
	}
	refused = mustToken(t, s).Authorization()
	_, _, err := send(t, layer, callOf(s), nil)
	got := problem.From(err)
	if wait := got.Header.Get("Retry-After"); got.Status != 503 || wait == "" || len(wait) > 2 ||
		!strings.Contains(got.Detail, "refuses the gateway's access token again") {
		t.Errorf("%d, Retry-After %s: %s", got.Status, wait, got.Detail)
	}
	if mustToken(t, s).Authorization() != refused {
		t.Error("the token was renewed twice within a minute")
	}
	if left := time.Until(statusOf(tokens).RefusedBy["nsso"]); left <= 0 || left > time.Minute {
		t.Errorf("the platform team is told that it is renewed in %s", left)
	}
}

// closable notes that a request body was closed.
type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestTokensTravelOverHTTPSOnly(t *testing.T) {
	as, _, s := with(t)
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
			p, body := new(provider), &closable{Reader: strings.NewReader("x")}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", url, body)
			_, err := authn.NewTokenLayer(authn.NewCredentials(p, allowHTTP), "nsso").Send(t.Context(), callOf(s), r)
			if sent := len(p.bodies) == 1; sent != (allowed || allowHTTP) || (err == nil) != sent {
				t.Fatalf("%s, http allowed %t: sent %t, %v", url, allowHTTP, sent, err)
			}
			if err != nil {
				as.leaks(err.Error())
			}
			if err != nil && !body.closed {
				t.Error("the body was left open")
			}
		}
	}
}

func TestNoRequestLeavesWithoutAToken(t *testing.T) {
	down := source(t, setup(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("no route")
	})))
	p := new(provider)
	credentials := authn.NewCredentials(p, true)
	foreign := call.New()
	foreign.Credential = otherCredential{}
	for name, of := range map[string]struct {
		layer call.Sender
		c     *call.Call
	}{
		"no credential":         {layers(p), call.New()},
		"one of somebody else":  {layers(p), foreign},
		"no token layer above":  {credentials, callOf(down)},
		"none, without a layer": {credentials, call.New()},
		"no token to be had":    {layers(p), callOf(down)},
	} {
		body := &closable{Reader: strings.NewReader("x")}
		if _, _, err := send(t, of.layer, of.c, body); err == nil || !body.closed || len(p.bodies) > 0 {
			t.Errorf("%s: %v, body closed: %v, %d sent", name, err, body.closed, len(p.bodies))
		}
	}
}

// otherCredential is none of this package.
type otherCredential struct{}

func (otherCredential) Client() string         { return "other" }
func (otherCredential) Scopes() []string       { return nil }
func (otherCredential) Again() call.Credential { return otherCredential{} }

func TestACredentialForAnotherCallHasNoTokenYet(t *testing.T) {
	_, _, s := with(t)
	c, p := callOf(s), new(provider)
	if _, _, err := send(t, layers(p), c, nil); err != nil {
		t.Fatal(err)
	}
	again := c.Credential.Again()
	if again == c.Credential || again.Client() != s.Client() || !slices.Equal(again.Scopes(), s.Scopes()) {
		t.Errorf("client %q, scopes %q", again.Client(), again.Scopes())
	}
	beside := call.New()
	beside.Credential = again
	if _, _, err := send(t, authn.NewCredentials(p, false), beside, nil); err == nil {
		t.Error("it has a token already")
	}
	if _, _, err := send(t, layers(p), beside, nil); err != nil || beside.Record.TokenHash != c.Record.TokenHash {
		t.Errorf("%v with token %q", err, beside.Record.TokenHash)
	}
}
