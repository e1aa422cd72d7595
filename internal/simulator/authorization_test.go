package simulator

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"ebox-gateway/internal/testkit"
)

func TestAProperAssertionGetsAToken(t *testing.T) {
	l := newLab(t)
	key := identity().Key
	for name, assertion := range map[string]string{
		"RS256":                     l.assertion(nil),
		"PS256":                     l.signed(jwt.SigningMethodPS256, key, nil, nil),
		"audience as a list of one": l.assertion(jwt.MapClaims{"aud": []string{l.TokenURL()}}),
		"with the right x5t#S256": l.signed(jwt.SigningMethodRS256, key, nil,
			map[string]any{"x5t#S256": thumbprint(identity().Certificate.Raw)}),
		"client clock a little ahead": l.assertion(jwt.MapClaims{"iat": l.now.Now().Add(5 * time.Second).Unix()}),
	} {
		t.Run(name, func(t *testing.T) {
			r := l.ask(assertion, ScopeRegistry)
			a := decode[tokenAnswer](t, r)
			if r.status != 200 || a.TokenType != "Bearer" || a.ExpiresIn != 300 || a.Scope != ScopeRegistry ||
				len(a.AccessToken) < 32 {
				t.Fatalf("%d %+v", r.status, a)
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control %q", r.header.Get("Cache-Control"))
			}
		})
	}
}

func TestAClientsKeysAreThoseRegistered(t *testing.T) {
	l := newLab(t)
	ec := testkit.NewCertificate(t, nil)
	renewed, err := SelfSigned("Renewed", l.now.Now())
	if err != nil {
		t.Fatal(err)
	}
	both := Client{Certificate: identity().Certificate, Renewed: []*x509.Certificate{renewed.Certificate}}
	for _, c := range []struct {
		name        string
		client      Client
		method      jwt.SigningMethod
		good, wrong any
	}{
		{"an EC key", Client{Certificate: ec.Certificate}, jwt.SigningMethodES256, ec.Key, nil},
		{"during a renewal, the former", both, jwt.SigningMethodRS256, identity().Key, nil},
		{"during a renewal, the new one", both, jwt.SigningMethodRS256, renewed.Key, nil},
		{"after a renewal", Client{Certificate: renewed.Certificate}, jwt.SigningMethodRS256, renewed.Key, identity().Key},
	} {
		c.client.ID, c.client.Enterprise = clientID, office
		if err := l.RegisterClient(c.client); err != nil {
			t.Fatal(err)
		}
		is(t, l.ask(l.signed(c.method, c.good, nil, nil), ""), 200, "", c.name)
		if c.wrong != nil {
			is(t, l.ask(l.signed(c.method, c.wrong, nil, nil), ""), 401, "", c.name+", the former key")
		}
	}
}

func TestAnImproperAssertionIsInvalidClient(t *testing.T) {
	l := newLab(t)
	other, err := SelfSigned("Somebody else", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key := identity().Key
	now := l.now.Now()
	for name, assertion := range map[string]string{
		"signed with a key that is not registered": l.signed(jwt.SigningMethodRS256, other.Key, nil, nil),
		"alg none":                         l.signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
		"alg HS256 over the certificate":   l.signed(jwt.SigningMethodHS256, certificatePEM(), nil, nil),
		"alg RS512":                        l.signed(jwt.SigningMethodRS512, key, nil, nil),
		"no JWT":                           "abc",
		"unknown client":                   l.assertion(jwt.MapClaims{"iss": "nobody", "sub": "nobody"}),
		"iss is not sub":                   l.assertion(jwt.MapClaims{"iss": "nobody"}),
		"no sub":                           l.assertion(jwt.MapClaims{"sub": nil}),
		"audience is the host":             l.assertion(jwt.MapClaims{"aud": l.main.base}),
		"audience with a slash at the end": l.assertion(jwt.MapClaims{"aud": l.TokenURL() + "/"}),
		"two audiences": l.assertion(jwt.MapClaims{"aud": []string{l.TokenURL(),
			"https://elsewhere.example"}}),
		"no audience": l.assertion(jwt.MapClaims{"aud": nil}),
		"no iat":      l.assertion(jwt.MapClaims{"iat": nil}),
		"no exp":      l.assertion(jwt.MapClaims{"exp": nil}),
		"no jti":      l.assertion(jwt.MapClaims{"jti": nil}),
		"expired": l.assertion(jwt.MapClaims{"iat": now.Add(-2 * time.Minute).Unix(),
			"exp": now.Add(-time.Second).Unix()}),
		"iat in the future": l.assertion(jwt.MapClaims{"iat": now.Add(time.Minute).Unix()}),
		"nbf in the future": l.assertion(jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()}),
		"lives for an hour": l.assertion(jwt.MapClaims{"exp": now.Add(time.Hour).Unix()}),
		"x5t#S256 of another certificate": l.signed(jwt.SigningMethodRS256, key, nil,
			map[string]any{"x5t#S256": thumbprint(other.Certificate.Raw)}),
		"typ of another kind of token": l.signed(jwt.SigningMethodRS256, key, nil, map[string]any{"typ": "at+jwt"}),
		"a critical header nobody understands": l.signed(jwt.SigningMethodRS256, key, nil,
			map[string]any{"crit": []string{"x"}, "x": 1}),
	} {
		t.Run(name, func(t *testing.T) {
			r := l.ask(assertion, "")
			if e := decode[oauthError](t, r); r.status != 401 || e.Code != "invalid_client" {
				t.Fatalf("%d %s", r.status, r.body)
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control %q", r.header.Get("Cache-Control"))
			}
		})
	}
	if n := l.TokensIssued(); n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
}

func TestAnAssertionServesOnceAndWhileTheCertificateIsValid(t *testing.T) {
	l := newLab(t)
	assertion := l.assertion(nil)
	is(t, l.ask(assertion, ""), 200, "", "first")
	is(t, l.ask(assertion, ""), 401, "jti", "again")
	l.now.advance(366 * 24 * time.Hour)
	is(t, l.ask(l.assertion(nil), ""), 401, "certificate", "after a year")
}

func TestATokenRequestHasItsForm(t *testing.T) {
	l := newLab(t)
	with := func(name, value string) url.Values {
		form := tokenForm(l.assertion(nil), "")
		form.Set(name, value)
		return form
	}
	without := func(name string) url.Values {
		form := tokenForm(l.assertion(nil), "")
		form.Del(name)
		return form
	}
	for _, c := range []struct {
		name, code string
		form       url.Values
		headers    []string
		query      string
	}{
		{name: "content type JSON", code: "invalid_request", form: with("x", "y"),
			headers: []string{"Content-Type", "application/json"}},
		{name: "no grant type", code: "invalid_request", form: without("grant_type")},
		{name: "another grant type", code: "unsupported_grant_type", form: with("grant_type", "password")},
		{name: "another assertion type", code: "invalid_request", form: with("client_assertion_type",
			"urn:ietf:params:oauth:client-assertion-type:saml2-bearer")},
		{name: "no assertion", code: "invalid_request", form: without("client_assertion")},
		{name: "a repeated parameter", code: "invalid_request", form: url.Values{"grant_type": {
			"client_credentials", "client_credentials"}}},
		{name: "a secret besides", code: "invalid_request", form: with("client_secret", "s")},
		{name: "basic authentication besides", code: "invalid_request", form: with("x", "y"),
			headers: []string{"Content-Type", formType, "Authorization", "Basic YTpi"}},
		{name: "parameters in the query", code: "invalid_request", form: with("x", "y"), query: "?scope=" + ScopeRegistry},
		{name: "client_id of another", code: "invalid_client", form: with("client_id", "nobody")},
		{name: "an unknown scope", code: "invalid_scope", form: with("scope", "scope:unheard:of")},
		{name: "one of two scopes unknown", code: "invalid_scope", form: with("scope", ScopeRegistry+" scope:unheard:of")},
		{name: "two spaces between scopes", code: "invalid_scope", form: with("scope", ScopeRegistry+"  "+ScopePreference)},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := c.headers
			if headers == nil {
				headers = []string{"Content-Type", formType}
			}
			r := l.send("POST", l.TokenURL()+c.query, c.form.Encode(), headers...)
			if e := decode[oauthError](t, r); e.Code != c.code || r.status < 400 {
				t.Fatalf("%d %s, want %s", r.status, r.body, c.code)
			}
		})
	}
	if r := l.send("GET", l.TokenURL(), ""); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", r.status, r.header.Get("Allow"))
	}
}

func TestScopesAreTheClientsOwn(t *testing.T) {
	l := newLab(t)
	register := func(c Client) {
		c.ID, c.Certificate, c.Enterprise = clientID, identity().Certificate, office
		if err := l.RegisterClient(c); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(scope string) reply {
		return l.ask(l.assertion(nil), scope)
	}
	register(Client{Scopes: []string{ScopeDocumentConsumer, ScopeRegistry}})
	if a := decode[tokenAnswer](t, ask("")); a.Scope != ScopeDocumentConsumer+" "+ScopeRegistry {
		t.Errorf("without scope: %q", a.Scope)
	}
	is(t, ask(ScopePreference), 400, "invalid_scope", "a scope not activated")
	register(Client{CitizenTermsRefused: true})
	is(t, ask(ScopeCitizenMandates), 400, "invalid_scope", "terms of use not accepted")
	if a := decode[tokenAnswer](t, ask("")); strings.Contains(a.Scope, ScopeCitizenMandates) {
		t.Errorf("terms of use not accepted, yet granted: %q", a.Scope)
	}
	if got := l.TokensIssuedFor()[clientID+" "+ScopeDocumentConsumer+" "+ScopeRegistry]; got != 1 {
		t.Errorf("issued for both scopes: %d", got)
	}
}
