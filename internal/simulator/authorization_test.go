package simulator_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func TestAClientsKeysAreThoseRegistered(t *testing.T) {
	l := newLab(t)
	ec := testkit.NewCertificate(t, nil)
	renewed, err := simulator.SelfSigned("Renewed", l.now())
	testkit.Must(t, err)
	both := simulator.Client{Certificate: identity().Certificate, Renewed: []*x509.Certificate{renewed.Certificate}}
	after := simulator.Client{Certificate: renewed.Certificate}
	for _, c := range []struct {
		name        string
		client      simulator.Client
		method      jwt.SigningMethod
		good, wrong any
	}{
		{"an EC key", simulator.Client{Certificate: ec.Certificate}, jwt.SigningMethodES256, ec.Key, nil},
		{"during a renewal, the former", both, jwt.SigningMethodRS256, identity().Key, nil},
		{"during a renewal, the new one", both, jwt.SigningMethodRS256, renewed.Key, nil},
		{"after a renewal", after, jwt.SigningMethodRS256, renewed.Key, identity().Key},
	} {
		c.client.ID, c.client.Enterprise = clientID, office
		testkit.Must(t, l.RegisterClient(c.client))
		is(t, l.ask(l.signed(c.method, c.good, nil, nil), ""), 200, "", c.name)
		if c.wrong != nil {
			is(t, l.ask(l.signed(c.method, c.wrong, nil, nil), ""), 401, "", c.name+", the former key")
		}
	}
}

// thumbprint is the x5t#S256 of a certificate (RFC 7515 §4.1.8).
func thumbprint(i *simulator.Identity) string {
	sum := sha256.Sum256(i.Certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestAnAssertionIsJudged(t *testing.T) {
	l := newLab(t)
	other, err := simulator.SelfSigned("Somebody else", time.Now())
	testkit.Must(t, err)
	key, now := identity().Key, l.now()
	claims := l.assertion
	header := func(name string, value any) string {
		return l.signed(jwt.SigningMethodRS256, key, nil, map[string]any{name: value, "x": 1})
	}
	for name, assertion := range map[string]string{
		"RS256":                       l.assertion(nil),
		"PS256":                       l.signed(jwt.SigningMethodPS256, key, nil, nil),
		"audience as a list of one":   claims(jwt.MapClaims{"aud": []string{l.TokenURL()}}),
		"with the right x5t#S256":     header("x5t#S256", thumbprint(identity())),
		"client clock a little ahead": claims(jwt.MapClaims{"iat": now.Add(5 * time.Second).Unix()}),
	} {
		r := l.ask(assertion, simulator.ScopeRegistry)
		a := decode[tokenAnswer](t, r)
		if r.status != 200 || a.TokenType != "Bearer" || a.ExpiresIn != 300 || a.Scope != simulator.ScopeRegistry ||
			len(a.AccessToken) < 32 || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %+v", name, r.status, r.header, a)
		}
		is(t, l.ask(assertion, ""), 401, "jti", name+", again")
	}
	issued := l.TokensIssued()
	for name, assertion := range map[string]string{
		"signed with a key that is not registered": l.signed(jwt.SigningMethodRS256, other.Key, nil, nil),
		"alg none":                         l.signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
		"alg HS256 over the certificate":   l.signed(jwt.SigningMethodHS256, certificatePEM(), nil, nil),
		"alg RS512":                        l.signed(jwt.SigningMethodRS512, key, nil, nil),
		"no JWT":                           "abc",
		"unknown client":                   claims(jwt.MapClaims{"iss": "nobody", "sub": "nobody"}),
		"iss is not sub":                   claims(jwt.MapClaims{"iss": "nobody"}),
		"audience with a slash at the end": claims(jwt.MapClaims{"aud": l.TokenURL() + "/"}),
		"two audiences": claims(jwt.MapClaims{"aud": []string{l.TokenURL(),
			"https://elsewhere.example"}}),
		"no audience":                          claims(jwt.MapClaims{"aud": nil}),
		"no iat":                               claims(jwt.MapClaims{"iat": nil}),
		"no exp":                               claims(jwt.MapClaims{"exp": nil}),
		"no jti":                               claims(jwt.MapClaims{"jti": nil}),
		"expired":                              claims(jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}),
		"iat in the future":                    claims(jwt.MapClaims{"iat": now.Add(time.Minute).Unix()}),
		"nbf in the future":                    claims(jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()}),
		"lives for an hour":                    claims(jwt.MapClaims{"exp": now.Add(time.Hour).Unix()}),
		"x5t#S256 of another certificate":      header("x5t#S256", thumbprint(other)),
		"typ of another kind of token":         header("typ", "at+jwt"),
		"a critical header nobody understands": header("crit", []string{"x"}),
	} {
		is(t, l.ask(assertion, ""), 401, `"error":"invalid_client"`, name)
	}
	if n := l.TokensIssued(); n != issued {
		t.Errorf("%d tokens were issued", n-issued)
	}
	l.advance(366 * 24 * time.Hour)
	is(t, l.ask(l.assertion(nil), ""), 401, "certificate", "after a year")
}

func TestATokenRequestHasItsForm(t *testing.T) {
	l := newLab(t)
	const invalid = "invalid_request"
	for _, c := range []struct {
		name, code, parameter string // "name=value" that is other than it should be, without "=" missing
		query, field          string // beside the body
	}{
		{"a proper one", "", "x=y", "", ""},
		{"content type JSON", invalid, "x=y", "", "Content-Type: application/json"},
		{"no grant type", invalid, "grant_type", "", ""},
		{"another grant type", "unsupported_grant_type", "grant_type=password", "", ""},
		{"another assertion type", invalid, "client_assertion_type=saml2-bearer", "", ""},
		{"no assertion", invalid, "client_assertion", "", ""},
		{"a secret besides", invalid, "client_secret=s", "", ""},
		{"basic authentication besides", invalid, "x=y", "", "Authorization: Basic YTpi"},
		{"parameters in the query", invalid, "x=y", "?scope=" + simulator.ScopeRegistry, ""},
		{"client_id of another", "invalid_client", "client_id=nobody", "", ""},
		{"an unknown scope", "invalid_scope", "scope=scope:unheard:of", "", ""},
		{"one of two scopes unknown", "invalid_scope", "scope=" + simulator.ScopeRegistry + " scope:unheard:of", "", ""},
		{"two spaces between scopes", "invalid_scope",
			"scope=" + simulator.ScopeRegistry + "  " + simulator.ScopePreference, "", ""},
	} {
		form := tokenForm(l.assertion(nil), "")
		name, value, given := strings.Cut(c.parameter, "=")
		if form.Set(name, value); !given {
			form.Del(name)
		}
		headers := []string{"Content-Type", formType}
		if field, value, _ := strings.Cut(c.field, ": "); field == "Content-Type" {
			headers[1] = value
		} else if field != "" {
			headers = append(headers, field, value)
		}
		r := l.send("POST", l.TokenURL()+c.query, form.Encode(), headers...)
		if e := decode[tokenAnswer](t, r); e.Error != c.code || (r.status < 400) != (c.code == "") {
			t.Errorf("%s: %d %s, want %s", c.name, r.status, r.body, c.code)
		}
	}
	twice := tokenForm(l.assertion(nil), "").Encode() + "&grant_type=client_credentials"
	is(t, l.send("POST", l.TokenURL(), twice, "Content-Type", formType), 400, invalid, "a repeated parameter")
	if r := l.send("GET", l.TokenURL(), ""); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", r.status, r.header.Get("Allow"))
	}
}
