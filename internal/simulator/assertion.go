package simulator

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// maxAssertionLife is the longest time from iat to exp: minutes, not hours.
	maxAssertionLife = 10 * time.Minute
	// clockSkew is how far ahead a client's clock may be.
	clockSkew = 10 * time.Second
	maxJTI    = 255
)

// signatures are the algorithms of an assertion. "none" and the symmetric ones
// are not among them, so that a certificate cannot be used as a shared secret.
var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// authenticate judges an assertion (RFC 7523 §3) and gives the client that made it.
func (s *Simulator) authenticate(assertion string) (Client, *oauthError) {
	refused := func(why string) (Client, *oauthError) {
		return Client{}, &oauthError{"invalid_client", why}
	}
	token, err := jwt.ParseSigned(assertion, signatures)
	if err != nil {
		return refused("the assertion is no JWT signed with RS256, PS256 or ES256")
	}
	// The claims are read before the signature is checked only to find whose key
	// is to check it.
	var claimed jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&claimed); err != nil {
		return refused("the claims of the assertion cannot be read")
	}
	client, known := s.clients[claimed.Subject]
	if !known {
		return refused("the client is not registered")
	}
	var claims jwt.Claims
	registered := client.certificates()
	signer := slices.IndexFunc(registered, func(c *x509.Certificate) bool {
		claims = jwt.Claims{}
		return token.Claims(c.PublicKey, &claims) == nil
	})
	if signer < 0 {
		return refused("the assertion is not signed with the key of the registered certificate")
	}
	if why := s.fault(token.Headers[0], claims, client.ID, registered[signer]); why != "" {
		return refused(why)
	}
	return client, nil
}

// fault says what is wrong with an assertion of a client, signed with the certificate.
func (s *Simulator) fault(h jose.Header, claims jwt.Claims, client string, cert *x509.Certificate) string {
	now := s.now()
	typ, typed := h.ExtraHeaders[jose.HeaderType]
	print, printed := h.ExtraHeaders["x5t#S256"]
	switch {
	case typed && typ != "JWT":
		return "typ must be JWT"
	case printed && print != thumbprint(cert.Raw):
		return "x5t#S256 is of another certificate than the registered one"
	case now.After(cert.NotAfter) || now.Before(cert.NotBefore):
		return "the registered certificate is not valid at this time"
	case claims.Issuer != client:
		return "iss and sub must both be the client id"
	case len(claims.Audience) != 1 || claims.Audience[0] != s.TokenURL():
		return "aud must be the token endpoint's URL and nothing else"
	case claims.Expiry == nil || claims.IssuedAt == nil:
		return "iat and exp are required"
	case !now.Before(claims.Expiry.Time()):
		return "the assertion has expired"
	case claims.IssuedAt.Time().After(now.Add(clockSkew)):
		return "iat is in the future"
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(clockSkew)):
		return "nbf is in the future"
	case claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > maxAssertionLife:
		return "the assertion lives too long: minutes, not hours"
	case claims.ID == "" || len(claims.ID) > maxJTI:
		return "jti is required, at most 255 characters"
	case !s.spend(client, claims, now):
		return "the assertion was used before: jti must be unique"
	}
	return ""
}

// spend marks an assertion as used and tells whether it was the first time.
func (s *Simulator) spend(client string, claims jwt.Claims, now time.Time) bool {
	key := client + "\x00" + claims.ID
	maps.DeleteFunc(s.spent, func(_ string, expiry time.Time) bool { return !now.Before(expiry) })
	if _, again := s.spent[key]; again {
		return false
	}
	s.spent[key] = claims.Expiry.Time()
	return true
}
