package authn

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// tokenCopy is a token as other replicas find it.
type tokenCopy struct {
	// Key is TokenKey.Digest.
	Key      string        `json:"key"`
	Secret   string        `json:"secret"`
	Obtained int64         `json:"obtained"` // Unix time in nanoseconds
	Lifetime time.Duration `json:"lifetime"`
	Extra    []string      `json:"extra,omitempty"`
}

// MarshalSecret gives the token with its secret, for a store that seals what it
// keeps. RestoreToken reads it.
func (t Token) MarshalSecret() ([]byte, error) {
	if t.h == nil {
		return nil, errors.New("copying a token: there is none")
	}
	return json.Marshal(tokenCopy{
		Key: t.h.key.Digest(), Secret: t.h.secret(), Obtained: t.h.obtained.UnixNano(),
		Lifetime: t.h.expires.Sub(t.h.obtained), Extra: t.h.extra,
	})
}

var errCopy = errors.New("reading the copy of a token: it is none")

// RestoreToken reads what MarshalSecret gave, possibly of another replica. key is what
// the token has to be for. The token is valid for left at most from now on, a span
// that somebody else has measured: the clock of the replica that obtained it may
// differ from ours, and neither may make a token last longer.
func RestoreToken(b []byte, key TokenKey, now time.Time, left time.Duration) (Token, error) {
	var c tokenCopy
	if err := json.Unmarshal(b, &c); err != nil {
		return Token{}, errCopy // json's own error may quote it
	}
	if c.Key != key.Digest() {
		return Token{}, fmt.Errorf("%w for this client, key and scopes", errCopy)
	}
	if !isSecret(c.Secret) || c.Lifetime <= 0 || c.Obtained <= 0 {
		return Token{}, errCopy
	}
	// Reckoned from now, which has a monotonic reading.
	age := max(now.Sub(time.Unix(0, c.Obtained)), 0)
	left = min(left, c.Lifetime-age)
	if left <= 0 {
		return Token{}, errors.New("reading the copy of a token: it has expired")
	}
	return newToken(c.Secret, key, now.Add(-age), age+left, c.Extra), nil
}
