package simulator

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"ebox-gateway/internal/enterprise"
)

// authorization is what the token endpoint knows: client credentials (RFC 6749 §4.4)
// of clients that authenticate with a signed assertion (RFC 7523 §2.2).
type authorization struct {
	clients  map[string]Client
	lifetime time.Duration
	tokens   map[string]*issued // by the token itself
	spent    ends               // assertions seen, client id NUL jti, until they expire
	issued   map[string]int     // how many tokens, by client id and scopes
}

// issued is a token that the server gave out.
type issued struct {
	client  Client
	scopes  []string
	expires time.Time
	sum     string // hex SHA-256 of the token
}

// hasOneOf reports whether the token has any of the scopes.
func (t *issued) hasOneOf(scopes []string) bool {
	return slices.ContainsFunc(t.scopes, func(s string) bool { return slices.Contains(scopes, s) })
}

const (
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxForm bounds a token request, in bytes.
	maxForm = 64 << 10
)

func (s *Simulator) mountToken() {
	s.main.mount(tokenPath, &api{
		upstream: UpstreamToken, site: s.main, path: tokenPath, endpoints: []endpoint{{"POST", "", nil, s.issueToken}},
	})
}

// oauthError is an answer of RFC 6749 §5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// Error implements error.
func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func (e *oauthError) send(c *call) {
	status := http.StatusBadRequest
	if e.Code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	c.sendJSON(status, e)
}

// tokenAnswer is an answer of RFC 6749 §5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// issueToken serves POST /REST/oauth/v5/token.
func (s *Simulator) issueToken(c *call) (any, error) {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	form, err := c.form()
	if err != nil {
		return nil, err
	}
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
	client, err := s.authenticate(form.Get("client_assertion"))
	if err != nil {
		return nil, err
	}
	if id, ok := form["client_id"]; ok && id[0] != client.ID {
		return nil, &oauthError{"invalid_client", "client_id is not the client of the assertion"}
	}
	scopes, err := grantedScopes(client, form)
	if err != nil {
		return nil, err
	}
	c.entry.Client, c.entry.Scopes = client.ID, scopes
	return s.issue(client, scopes), nil
}

// form takes the request apart as RFC 6749 §3.2 asks: form-encoded, each
// parameter at most once, and one way of authenticating.
func (c *call) form() (url.Values, error) {
	form, err := url.ParseQuery(string(c.body))
	switch {
	case c.mediaType != "application/x-www-form-urlencoded":
		return nil, &oauthError{"invalid_request", "the content type must be application/x-www-form-urlencoded"}
	case c.r.URL.RawQuery != "":
		return nil, &oauthError{"invalid_request", "parameters belong in the body, not in the query"}
	case len(c.r.Header.Values("Authorization")) > 0 || form.Has("client_secret"):
		return nil, &oauthError{"invalid_request", "authenticate by the assertion alone"}
	case err != nil || len(c.body) > maxForm:
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
func grantedScopes(client Client, form url.Values) ([]string, error) {
	asked, has := form["scope"]
	if !has {
		return client.Scopes, nil
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
		}
	}
	return scopes, nil
}

const (
	// maxAssertionLife is the longest time from iat to exp: minutes, not hours.
	maxAssertionLife = 10 * time.Minute
	// clockSkew is how far ahead a client's clock may be.
	clockSkew = 10 * time.Second
	maxJTI    = 255
	// expiredKnown is how long an expired token is told from one that never was.
	expiredKnown = time.Hour
)

// signatures are the algorithms of an assertion. "none" and the symmetric ones
// are not among them, so that a certificate cannot be used as a shared secret.
var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// authenticate judges an assertion (RFC 7523 §3) and gives the client that made it.
func (s *Simulator) authenticate(assertion string) (Client, error) {
	refused := func(why string) (Client, error) {
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

// spend marks an assertion as used and reports whether it was the first time.
func (s *Simulator) spend(client string, claims jwt.Claims, now time.Time) bool {
	key := client + "\x00" + claims.ID
	if s.spent.has(key, now) {
		return false
	}
	s.spent[key] = claims.Expiry.Time()
	return true
}

func (s *Simulator) issue(client Client, scopes []string) *tokenAnswer {
	raw := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(raw))
	now := s.now()
	maps.DeleteFunc(s.tokens, func(_ string, t *issued) bool { return now.Sub(t.expires) >= expiredKnown })
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

// The scopes that the Authorization Server knows.
const (
	consult = "scope:document:management:consult:ws-eboxrestentreprise:"

	ScopeDocumentConsumer = consult + "documentconsumer"
	ScopeSummaryOwnEbox   = consult + "summaryownebox"
	ScopeMessagesFull     = consult + "messagesfull"
	ScopeReferenceData    = consult + "referencedata"
	// ScopePublicationSender is for publishing for oneself, the other two, which are the
	// two spellings of one page, for publishing for another enterprise.
	ScopePublicationSender         = consult + "publicationsender"
	ScopeRepresentativePublication = consult + "eboxrepresentativepublication"
	ScopeRepresentativeElsewhere   = "scope:document:management:ws-eboxrestentreprise:eboxrepresentativepublication"

	ScopeRegistry        = "scope:documentmanagement:ebox:enterprise:federation-rest:registry"
	ScopePreference      = "scope:documentmanagement:ebox:enterprise:federation-rest:preference"
	ScopeCitizenMandates = "scope:ksz-bcss:mandates:citizen:management:-managemandate"
)

var allScopes = []string{
	ScopeDocumentConsumer, ScopeSummaryOwnEbox, ScopeMessagesFull, ScopeReferenceData,
	ScopePublicationSender, ScopeRepresentativePublication, ScopeRepresentativeElsewhere,
	ScopeRegistry, ScopePreference, ScopeCitizenMandates,
}

// Client is an OAuth client as an office registers it in Chaman.
type Client struct {
	// ID is the client id, the iss and sub of its assertions.
	ID string
	// Certificate is the registered X.509 certificate. An expired one is refused.
	Certificate *x509.Certificate
	// Renewed are certificates that are registered besides it, as while one is renewed.
	Renewed []*x509.Certificate `json:"-"`
	// Enterprise is the office itself: whose e-Box a call without the
	// on-behalf-of header is for, and who is mandatary of its own citizen mandates.
	Enterprise enterprise.Number
	// Scopes are those activated for the client, of which the terms of use were accepted. Empty:
	// all there are.
	Scopes []string
}

// certificates are those of which any may sign the client's assertions.
func (c *Client) certificates() []*x509.Certificate {
	return append([]*x509.Certificate{c.Certificate}, c.Renewed...)
}

// RegisterClient registers a client, or replaces the one with its id, so that
// assertions of its former key are refused from now on.
func (s *Simulator) RegisterClient(c Client) error {
	if c.ID == "" {
		return errors.New("registering a client: it needs an id")
	}
	if c.Certificate == nil {
		return fmt.Errorf("registering client %s: give it a certificate", c.ID)
	}
	for _, certificate := range c.certificates() {
		switch certificate.PublicKey.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey:
		default:
			return fmt.Errorf("registering client %s: give it a certificate of kind RSA or EC", c.ID)
		}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = allScopes
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(allScopes, scope) {
			return fmt.Errorf("registering client %s: no API has the scope %q", c.ID, scope)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
	return nil
}

// UnregisterClient removes a client and every token it has.
func (s *Simulator) UnregisterClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
	maps.DeleteFunc(s.tokens, func(_ string, t *issued) bool { return t.client.ID == id })
}

// setTokenLifetime sets how long tokens issued from now on are valid.
func (s *Simulator) setTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifetime = d
}

// RevokeTokens makes every token issued so far unknown and returns how many were.
func (s *Simulator) RevokeTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.tokens)
	clear(s.tokens)
	return n
}

// TokensIssued counts the tokens issued since Start.
func (s *Simulator) TokensIssued() (total int) {
	for _, n := range s.TokensIssuedFor() {
		total += n
	}
	return total
}

// TokensIssuedFor counts them by client id and scopes, parted by blanks.
func (s *Simulator) TokensIssuedFor() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.issued)
}
