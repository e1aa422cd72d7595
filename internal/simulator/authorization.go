package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// authorization is what the token endpoint knows: client credentials (RFC 6749 §4.4)
// of clients that authenticate with a signed assertion (RFC 7523 §2.2).
type authorization struct {
	clients  map[string]Client
	lifetime time.Duration
	tokens   map[string]*issued   // by the token itself
	spent    map[string]time.Time // assertions seen, client id NUL jti, until they expire
	issued   map[string]int       // how many tokens, by client id and scopes
}

// issued is a token that the server gave out.
type issued struct {
	client  Client
	scopes  []string
	expires time.Time
	sum     string // hex SHA-256 of the token
}

const (
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxForm bounds a token request, in bytes.
	maxForm = 64 << 10
)

func newAuthorization(lifetime time.Duration) authorization {
	return authorization{
		lifetime: lifetime, clients: map[string]Client{}, tokens: map[string]*issued{}, spent: map[string]time.Time{},
		issued: map[string]int{},
	}
}

func (s *Simulator) mountToken() {
	s.main.mounts[tokenPath] = &api{
		upstream: UpstreamToken, site: s.main, path: tokenPath, endpoints: []endpoint{{"POST", "", nil, s.issueToken}},
	}
}

// oauthError is an answer of RFC 6749 §5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *oauthError) status() int {
	if e.Code == "invalid_client" {
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

// tokenAnswer is an answer of RFC 6749 §5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// issueToken serves POST /REST/oauth/v5/token.
func (s *Simulator) issueToken(c *call) response {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	form, refusal := readForm(c.r)
	if refusal == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		var answer *tokenAnswer
		if answer, refusal = s.grant(c, form); refusal == nil {
			return c.send(http.StatusOK, answer)
		}
	}
	return c.send(refusal.status(), refusal)
}

func (s *Simulator) grant(c *call, form url.Values) (*tokenAnswer, *oauthError) {
	switch {
	case form.Get("grant_type") == "":
		return nil, &oauthError{"invalid_request", "grant_type is missing"}
	case form.Get("grant_type") != "client_credentials":
		return nil, &oauthError{"unsupported_grant_type", "only client_credentials is supported"}
	case form.Get("client_assertion_type") != jwtBearer:
		return nil, &oauthError{"invalid_request", "client_assertion_type must be " + jwtBearer}
	case form.Get("client_assertion") == "":
		return nil, &oauthError{"invalid_request", "client_assertion is missing"}
	}
	client, refusal := s.authenticate(form.Get("client_assertion"))
	if refusal != nil {
		return nil, refusal
	}
	if id, ok := form["client_id"]; ok && id[0] != client.ID {
		return nil, &oauthError{"invalid_client", "client_id is not the client of the assertion"}
	}
	scopes, refusal := grantedScopes(client, form)
	if refusal != nil {
		return nil, refusal
	}
	c.entry.Client, c.entry.Scopes = client.ID, scopes
	return s.issue(client, scopes), nil
}

// readForm takes the request apart as RFC 6749 §3.2 asks: form-encoded, each
// parameter at most once, and one way of authenticating.
func readForm(r *http.Request) (url.Values, *oauthError) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // an unreadable one is another
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	form, errForm := url.ParseQuery(string(body))
	switch {
	case mediaType != "application/x-www-form-urlencoded":
		return nil, &oauthError{"invalid_request", "the content type must be application/x-www-form-urlencoded"}
	case r.URL.RawQuery != "":
		return nil, &oauthError{"invalid_request", "parameters belong in the body, not in the query"}
	case len(r.Header.Values("Authorization")) > 0 || form.Has("client_secret"):
		return nil, &oauthError{"invalid_request", "authenticate by the assertion alone"}
	case err != nil || errForm != nil || len(body) > maxForm:
		return nil, &oauthError{"invalid_request", "the body is not form-encoded, or too long"}
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, &oauthError{"invalid_request", name + " is repeated"}
		}
	}
	return form, nil
}

// grantedScopes are those asked for, all of them or none; without any, all that
// the client has.
func grantedScopes(client Client, form url.Values) ([]string, *oauthError) {
	asked, has := form["scope"]
	if !has {
		scopes := client.Scopes
		if client.CitizenTermsRefused {
			scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == ScopeCitizenMandates })
		}
		return scopes, nil
	}
	scopes := strings.Split(asked[0], " ")
	for i, s := range scopes {
		switch {
		case s == "":
			return nil, &oauthError{"invalid_scope", "scope is empty or has stray spaces"}
		case slices.Contains(scopes[:i], s):
			return nil, &oauthError{"invalid_scope", "a scope is repeated"}
		case !slices.Contains(allScopes, s):
			return nil, &oauthError{"invalid_scope", "the scope is not known"}
		case !slices.Contains(client.Scopes, s):
			return nil, &oauthError{"invalid_scope", "the scope is not activated for this client"}
		case s == ScopeCitizenMandates && client.CitizenTermsRefused:
			return nil, &oauthError{"invalid_scope", "the terms of use of citizen mandates were not accepted"}
		}
	}
	return scopes, nil
}

func (s *Simulator) issue(client Client, scopes []string) *tokenAnswer {
	raw := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(raw))
	now := s.now()
	if len(s.tokens) >= mostKept { // expired ones are otherwise told from unknown ones
		maps.DeleteFunc(s.tokens, func(_ string, t *issued) bool { return !now.Before(t.expires) })
	}
	s.tokens[raw] = &issued{client: client, scopes: scopes, expires: now.Add(s.lifetime), sum: hex.EncodeToString(sum[:])}
	joined := strings.Join(scopes, " ")
	s.issued[client.ID+" "+joined]++
	return &tokenAnswer{AccessToken: raw, TokenType: "Bearer", ExpiresIn: int64(s.lifetime / time.Second), Scope: joined}
}

// thumbprint is the x5t#S256 of a certificate (RFC 7515 §4.1.8).
func thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
