package authn

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

func TestAssertionsAreWhatTheAuthorizationServerWants(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 999, time.UTC)
	cases := map[string]struct {
		src string
		alg jose.SignatureAlgorithm
	}{
		"RS256": {"key=rsa-pkcs8.pem", jose.RS256},
		"PS256": {"key=rsa-pkcs8.pem alg=PS256", jose.PS256},
		"ES256": {"key=ec-pkcs8.pem", jose.ES256},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := mustLoad(t, clientOf(tc.src))
			text, err := k.assertion(newSource, "https://as.example/token", now)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{tc.alg})
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := parsed.Claims(k.private.Public(), &claims); err != nil {
				t.Fatalf("verifying the signature: %v", err)
			}
			jti, _ := claims["jti"].(string)
			if len(jti) != 36 {
				t.Errorf("jti %q", jti)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "client-1", "sub": "client-1", "aud": "https://as.example/token",
				"iat": float64(now.Unix() - 10), "exp": float64(now.Unix() + 60),
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAssertionsNameTheCertificateIfAsked(t *testing.T) {
	leaf := certificateOf(t, fixture("rsa-cert.pem"))
	sum := sha256.Sum256(leaf.Raw)
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	src := clientOf("key=rsa-pkcs8.pem cert=chain-root-first.pem head=kid,x5t#S256,x5c")
	text, err := mustLoad(t, src).assertion(src, tokenURL, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	first, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	x5c := header["x5c"].([]any)
	delete(header, "x5c")
	want := map[string]any{"alg": "RS256", "typ": "JWT", "kid": thumbprint, "x5t#S256": thumbprint}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Error(diff)
	}
	if len(x5c) != 2 || x5c[0] != base64.StdEncoding.EncodeToString(leaf.Raw) {
		t.Errorf("x5c has %d certificates", len(x5c))
	}
	if _, err := parsed.Verify(leaf.PublicKey); err != nil {
		t.Errorf("the certificate that x5c names does not verify it: %v", err)
	}
}
