package simulator_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// office is the enterprise of the client that the tests use.
const office enterprise.Number = 406798006

// Enterprises of the demo with a mandate for every client.
const (
	mandated     enterprise.Number = 206731645
	alsoMandated enterprise.Number = 212148896
)

const (
	jsonType   = "application/json"
	mergePatch = "application/merge-patch+json"
	clientID   = "payroll-office"
	nssoPath   = "/REST/ebox/enterprise/messageRegistry/v3"
	onBehalfOf = "On-Behalf-Of-Enterprise-Number"
)

var identity = sync.OnceValue(func() *simulator.Identity {
	i, err := simulator.SelfSigned("Payroll Office", time.Now())
	if err != nil {
		panic(err)
	}
	return i
})

// certificatePEM is what a client registers.
func certificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity().Certificate.Raw})
}

// lab is a simulator on two hosts with one registered client, and an HTTP client.
type lab struct {
	*simulator.Simulator
	t     *testing.T
	http  *http.Client
	began time.Time
	// passed is how far the clock was advanced, which otherwise stands still.
	passed atomic.Int64
}

func (l *lab) advance(d time.Duration) { l.passed.Add(int64(d)) }

// now is what the simulator takes for the time.
func (l *lab) now() time.Time { return l.began.Add(time.Duration(l.passed.Load())) }

// control has the control endpoint do something, which must succeed.
func (l *lab) control(method, path, order string) reply {
	l.t.Helper()
	r := l.send(method, l.ControlURL()+path, order)
	if r.status != http.StatusOK && r.status != http.StatusNoContent {
		l.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	return r
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, began: time.Now()}
	s, err := simulator.Start(simulator.Options{
		ListenRegional: "127.0.0.1:0",
		Clients:        []simulator.Client{{ID: clientID, Certificate: identity().Certificate, Enterprise: office}},
		Now:            l.now,
	})
	testkit.Must(t, err)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	l.Simulator, l.http = s, &http.Client{Transport: transport, CheckRedirect: noRedirect, Timeout: time.Minute}
	return l
}

// assertion signs claims that are right but for the changes; a nil value removes one.
func (l *lab) assertion(changes jwt.MapClaims) string {
	l.t.Helper()
	return l.signed(jwt.SigningMethodRS256, identity().Key, changes, nil)
}

func (l *lab) signed(method jwt.SigningMethod, key any, changes jwt.MapClaims, header map[string]any) string {
	l.t.Helper()
	now := l.now()
	claims := jwt.MapClaims{
		"iss": clientID, "sub": clientID, "aud": l.TokenURL(), "jti": uuid.NewString(),
		"iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	testkit.Must(l.t, err)
	return text
}

func tokenForm(assertion, scope string) url.Values {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	if scope != "" {
		form.Set("scope", scope)
	}
	return form
}

const formType = "application/x-www-form-urlencoded"

// ask asks for a token.
func (l *lab) ask(assertion, scope string) reply {
	l.t.Helper()
	return l.send("POST", l.TokenURL(), tokenForm(assertion, scope).Encode(), "Content-Type", formType)
}

// tokenAnswer is an answer of the token endpoint: of RFC 6749 §5.1, or with an error of §5.2.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
}

// token gets a token or fails the test.
func (l *lab) token(scopes ...string) string {
	l.t.Helper()
	r := l.ask(l.assertion(nil), strings.Join(scopes, " "))
	var answer tokenAnswer
	if r.status != http.StatusOK || json.Unmarshal(r.body, &answer) != nil {
		l.t.Fatalf("no token: %d %s", r.status, r.body)
	}
	return answer.AccessToken
}

// reply is an answer, read whole.
type reply struct {
	status int // 0 without an answer
	header http.Header
	body   []byte
	err    error // of the request, or of reading the body
}

// send sends a request; headers are name, value, name, value, …, and a body is JSON unless they say otherwise.
func (l *lab) send(method, target, body string, headers ...string) reply {
	l.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(l.t.Context(), method, target, reader)
	testkit.Must(l.t, err)
	if body != "" && !slices.Contains(headers, "Content-Type") {
		headers = append(headers, "Content-Type", jsonType)
	}
	r.GetBody = nil // net/http would repeat what has an Idempotency-Key by itself
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	answer, err := l.http.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, text, err}
}

// sending sends a request with a token.
type sending func(method, target, body string, headers ...string) reply

// as gives a sender for one enterprise with one token.
func (l *lab) as(token string, e enterprise.Number) sending {
	return func(method, target, body string, headers ...string) reply {
		l.t.Helper()
		headers = append([]string{"Authorization", "Bearer " + token}, headers...)
		if e != 0 {
			headers = append(headers, onBehalfOf, e.String())
		}
		return l.send(method, target, body, headers...)
	}
}

// is checks the status of an answer, and that its body has a text.
func is(t *testing.T, r reply, status int, says, what string) {
	t.Helper()
	if r.status != status || !strings.Contains(string(r.body), says) {
		t.Errorf("%s: %d %.500s %v, want %d and %q", what, r.status, r.body, r.err, status, says)
	}
}

func decode[T any](t *testing.T, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(bytes.TrimSpace(r.body), &v); err != nil {
		t.Fatalf("%v in %d %s", err, r.status, r.body)
	}
	return v
}
