package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// TokenKey names a token by all that decides what the Authorization Server
// issues, and by nothing else. Every place that stores a token, in memory or
// elsewhere, finds it under a TokenKey.
//
// It has no room for a represented enterprise: the enterprise is not in the
// token, and a token per enterprise would be tens of thousands of them. It has
// the fingerprint of the key, so that a client with a wrong key can never live
// on a token that was got with another key.
type TokenKey struct {
	TokenURL string
	Audience string
	ClientID string
	// KeyFingerprint is Key.Fingerprint of the key that signed.
	KeyFingerprint string
	// Scopes are the scopes asked for: sorted, each once, parted by a space.
	Scopes string
}

// Digest is the SHA-256 of the key in hexadecimal, a name of fixed length that
// tells nothing of the client. The parts are hashed in quotes, so that no two keys can be written to
// look alike.
func (k TokenKey) Digest() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", k))
	return hex.EncodeToString(sum[:])
}

// canonicalScopes sorts the scopes, drops repetitions and refuses what RFC 6749,
// section 3.3, does not allow in a scope.
func canonicalScopes(scopes []string) ([]string, error) {
	canonical := make([]string, 0, len(scopes))
	for _, s := range scopes {
		if s == "" || strings.ContainsFunc(s, notInScope) {
			return nil, fmt.Errorf("reading scope %q: a scope is printable ASCII without blanks, quotes or backslashes; "+
				"list several as several", s)
		}
		canonical = append(canonical, s)
	}
	slices.Sort(canonical)
	return slices.Compact(canonical), nil
}

func notInScope(c rune) bool {
	return c < 0x21 || c > 0x7e || c == '"' || c == '\\'
}
