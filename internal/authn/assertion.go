package authn

import (
	"fmt"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"ebox-gateway/internal/config"
)

// issuedBefore is how far iat lies back: a server whose clock is a little behind would
// otherwise refuse an assertion from its future.
const issuedBefore = 10 * time.Second

// assertion signs the JWT by which the client authenticates (RFC 7523, section
// 3): issuer and subject are the client id, the audience is the Authorization
// Server, and jti is used once.
func (k *Key) assertion(c config.Client, audience string, now time.Time) (string, error) {
	t := jwt.NewWithClaims(k.method, jwt.MapClaims{
		"iss": c.ClientID,
		"sub": c.ClientID,
		"aud": audience,
		"iat": now.Add(-issuedBefore).Unix(),
		"exp": now.Add(c.AssertionLifetime).Unix(),
		"jti": uuid.NewString(),
	})
	maps.Copy(t.Header, k.header)
	signed, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("signing the assertion: %w", err)
	}
	return signed, nil
}
