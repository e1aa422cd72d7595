package authn_test

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	password = "changeit"
	tokenURL = "https://as.example/REST/oauth/v5/token"

	// What the pauses after failures are bounded by, and how often key files are read.
	longestOutage  = 15 * time.Second
	longestRefusal = 5 * time.Minute
	poll           = 10 * time.Second
	// requestTime is more than a machine stands still; where it ends a request, time is synctest's.
	requestTime = 2 * time.Minute
)

func fixture(name string) string { return filepath.Join("testdata", name) }

// authServer is an Authorization Server that takes nothing on trust: it verifies
// assertions with another JOSE implementation than the one that made them. It is
// a RoundTripper: where a socket is read, the time of a bubble does not run.
type authServer struct {
	t testing.TB

	mu         sync.Mutex
	registered []crypto.PublicKey
	anyKey     bool // no assertion is verified
	lifetime   any  // expires_in
	granted    func(asked string) string
	answer     http.HandlerFunc             // instead of a token, if not nil
	before     func(n int, r *http.Request) // before every answer
	jtis       map[string]bool
	forms      []url.Values
	secrets    []string // all that must not show anywhere
}

// newAuthServer knows the certificates of clients.
func newAuthServer(t testing.TB, registered ...config.Client) *authServer {
	s := &authServer{t: t, lifetime: 3600, jtis: map[string]bool{}}
	for _, c := range registered {
		s.register(c)
	}
	return s
}

func (s *authServer) register(c config.Client) {
	public := certificateOf(s.t, c.Certificate.File).PublicKey
	s.set(func(s *authServer) { s.registered = append(s.registered, public) })
}

func (s *authServer) set(f func(*authServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *authServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forms)
}

func (s *authServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, _ := io.ReadAll(r.Body)
	form, err := url.ParseQuery(string(body))
	if err != nil {
		s.t.Errorf("the form does not parse: %v", err)
	}
	s.mu.Lock()
	s.forms = append(s.forms, form)
	n, before, answer := len(s.forms), s.before, s.answer
	s.secrets = append(s.secrets, form.Get("client_assertion"))
	s.mu.Unlock()
	if before != nil {
		before(n, r)
	}
	w := httptest.NewRecorder()
	if answer != nil {
		answer(w, r)
	} else {
		s.grant(w, n, form)
	}
	return w.Result(), r.Context().Err()
}

// grant answers the nth request with a token, if it was signed by a key that is registered.
func (s *authServer) grant(w http.ResponseWriter, n int, form url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	assertion, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.RS256, jose.PS256,
		jose.ES256})
	if err != nil {
		s.t.Errorf("the assertion does not parse: %v", err)
		return
	}
	var claims jwt.Claims
	verified := s.anyKey || slices.ContainsFunc(s.registered, func(k crypto.PublicKey) bool {
		return assertion.Claims(k, &claims) == nil
	})
	if !verified || claims.Subject != claims.Issuer || s.jtis[claims.ID] || claims.ID == "" && !s.anyKey {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"quite-private-description"}`)
		return
	}
	s.jtis[claims.ID] = !s.anyKey
	secret := fmt.Sprintf("secret-token-%d", n)
	s.secrets = append(s.secrets, secret)
	reply := map[string]any{"access_token": secret, "token_type": "bearer"}
	if s.lifetime != nil {
		reply["expires_in"] = s.lifetime
	}
	if s.granted != nil {
		reply["scope"] = s.granted(form.Get("scope"))
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// leaks fails the test if text holds anything secret that this server saw or gave.
func (s *authServer) leaks(text string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range append(s.secrets, "quite-private-description", password) {
		if secret != "" && strings.Contains(text, secret) {
			s.t.Errorf("a secret shows in %q", text)
		}
	}
}

func mustLoad(t testing.TB, c config.Client) *authn.Key {
	t.Helper()
	k, err := authn.LoadKey(c)
	testkit.Must(t, err)
	return k
}

// fingerprint is that of a client's key.
func fingerprint(t testing.TB, c config.Client) string {
	return mustLoad(t, c).Status(time.Now()).Fingerprint
}

var (
	oldClient = clientOf("key=rsa-pkcs8.pem cert=rsa-cert.pem")
	newClient = clientOf("key=ec-pkcs8.pem cert=ec-cert.pem")
)

// setup makes tokens of one client "payroll" with the new key.
func setup(t testing.TB, transport http.RoundTripper, changes ...func(*authn.Options)) *authn.Tokens {
	t.Helper()
	o := authn.Options{Transport: transport, Environment: "simulation", Now: time.Now, Log: textLog(io.Discard),
		OAuth: config.OAuth{TokenURL: tokenURL, Audience: tokenURL, Timeout: requestTime,
			Clients: map[string]config.Client{"payroll": newClient}}}
	for _, change := range changes {
		change(&o)
	}
	return authn.New(o)
}

// signedBy has a key sign, see clientOf.
func signedBy(key string) func(*authn.Options) {
	return func(o *authn.Options) { o.OAuth.Clients["payroll"] = clientOf(key) }
}

// logging has the tokens log to w.
func logging(w io.Writer) func(*authn.Options) { return func(o *authn.Options) { o.Log = textLog(w) } }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func source(t testing.TB, tokens *authn.Tokens, scopes ...string) *authn.Source {
	t.Helper()
	if len(scopes) == 0 {
		scopes = []string{"scope:a"}
	}
	s, err := tokens.Source("payroll", scopes)
	testkit.Must(t, err)
	return s
}

func mustToken(t testing.TB, s *authn.Source) authn.Token {
	t.Helper()
	token, err := s.Token(t.Context())
	testkit.Must(t, err)
	return token
}

// with is a server that knows the new key, and tokens and a source of it.
func with(t testing.TB, changes ...func(*authn.Options)) (*authServer, *authn.Tokens, *authn.Source) {
	t.Helper()
	as := newAuthServer(t, newClient)
	tokens := setup(t, as, changes...)
	return as, tokens, source(t, tokens)
}

// bubble runs a test with them in a synctest bubble, where Run is running.
func bubble(t *testing.T, f func(t *testing.T, as *authServer, tokens *authn.Tokens, s *authn.Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		as, tokens, s := with(t)
		testkit.Running(t, tokens.Run)
		f(t, as, tokens, s)
	})
}

// statusOf is that of the first source's token.
func statusOf(tokens *authn.Tokens) authn.TokenStatus { return tokens.Status()[0].Tokens[0] }

// failureOf is the failure that an error is; an empty one for another error.
func failureOf(err error) authn.Failure {
	var f *authn.Failure
	errors.As(err, &f)
	return *cmp.Or(f, new(authn.Failure))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	return []byte(testkit.Read(t, path))
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	testkit.Write(t, to, read(t, from))
}

func certificateOf(t testing.TB, path string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(read(t, path))
	c, err := x509.ParseCertificate(block.Bytes)
	testkit.Must(t, err)
	return c
}

func textLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// again has an upstream refuse a token, and reports whether another is worth a try.
func again(s *authn.Source, t authn.Token, upstream string) bool {
	again, _ := s.Refused(t, upstream)
	return again
}

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

func refuse(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
}
