package proxy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ebox-gateway/internal/call"
)

const (
	// maxScopes is how many scopes of an answer are noted, maxScope how long one may be, in
	// bytes, maxRefusal the longest refusal that is read for them.
	maxScopes, maxScope, maxRefusal = 10, 160, 16 << 10
)

// noteScopes notes the scopes that an upstream's refusal asks for: those of WWW-Authenticate
// (RFC 6750, section 3), and requiredScopes of a problem, which is read as it passes.
func noteScopes(resp *http.Response, rec *call.Record) {
	rec.MissingScopes = nil // those of an earlier try
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
		return
	}
	for _, challenge := range resp.Header["Www-Authenticate"] {
		addScopes(rec, scopesOf(challenge)...)
	}
	if !strings.Contains(strings.Join(resp.Header["Content-Type"], ","), "json") ||
		len(resp.Header["Content-Encoding"]) > 0 {
		return
	}
	call.Watch(resp, maxRefusal, nil, func(body []byte, _ bool) {
		var refusal struct {
			RequiredScopes []string `json:"requiredScopes"`
		}
		if json.Unmarshal(body, &refusal) == nil { // or it is another answer, or no whole one
			addScopes(rec, refusal.RequiredScopes...)
		}
	})
}

// scopesOf gives the parameter scope of a challenge.
func scopesOf(challenge string) []string {
	const name = `scope="`
	challenge = challenge[:min(len(challenge), maxRefusal)]
	i := strings.Index(strings.ToLower(challenge), name)
	if i < 0 || i > 0 && challenge[i-1] != ' ' && challenge[i-1] != ',' {
		return nil
	}
	scopes, _, closed := strings.Cut(challenge[i+len(name):], `"`)
	if !closed {
		return nil
	}
	return strings.Fields(scopes)
}

// addScopes notes those that are scope tokens (RFC 6749, section 3.3) of sensible length:
// they are an upstream's bytes, and are shown.
func addScopes(rec *call.Record, scopes ...string) {
	for _, s := range scopes {
		if len(rec.MissingScopes) == maxScopes {
			return
		}
		if isScope(s) && !slices.Contains(rec.MissingScopes, s) {
			rec.MissingScopes = append(rec.MissingScopes, strings.Clone(s))
		}
	}
}

func isScope(s string) bool {
	return s != "" && len(s) <= maxScope && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '"' || r == '\\'
	})
}
