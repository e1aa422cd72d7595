package authn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"

	"github.com/google/uuid"
)

// tolerableSkew is the difference between our clock and the server's from which
// a refusal mentions it. Whole seconds of the Date field and the way there and
// back are in it.
const tolerableSkew = 30 * time.Second

// endpoint asks the Authorization Server for tokens, one request at a time and
// without memory.
type endpoint struct {
	transport   http.RoundTripper
	now         func() time.Time
	oauth       config.OAuth
	environment string
	// clock is what the last answer said of the server's clock.
	clock atomic.Pointer[ClockStatus]
}

// fetch asks for one token. The error is a *RefusedError or an *UnavailableError.
func (e *endpoint) fetch(ctx context.Context, c *client, key *Key, scopes []string) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, e.oauth.Timeout)
	defer cancel()

	// A server closes idle connections when it likes, at worst when a request is
	// on its way in. On a connection that had been used before, that is the likely
	// reason of a failure, and one more request goes on another. It has an
	// assertion of its own: the server may have seen the first one's jti.
	t, stale, err := e.try(ctx, c, key, scopes)
	if err != nil && stale && ctx.Err() == nil {
		t, _, err = e.try(ctx, c, key, scopes)
	}
	return t, err
}

// try sends one request. stale says that it failed without an answer on a
// connection that had been used before.
func (e *endpoint) try(ctx context.Context, c *client, key *Key, scopes []string) (t Token, stale bool, err error) {
	unavailable := func(reason string, err error) *UnavailableError {
		return &UnavailableError{Client: c.name, Reason: reason, Err: err}
	}
	sent := e.now()
	r, err := e.request(ctx, c, key, scopes)
	if err != nil {
		return Token{}, false, unavailable("the request could not be made", err)
	}
	// RoundTrip, not a Client: redirects are never followed. An assertion is for
	// the audience it names and nobody else.
	answer, err := e.transport.RoundTrip(r)
	if err != nil {
		failed := unavailable("the Authorization Server did not answer", printable.Error(err))
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			failed.Reason += " in time"
		}
		failed.RetryAfter = waitOf(err, sent)
		var exchange *wire.Error
		return Token{}, errors.As(err, &exchange) && exchange.Stale, failed
	}
	defer answer.Body.Close()
	if ahead, dated := e.ahead(answer.Header, sent); dated {
		e.clock.Store(&ClockStatus{AheadSeconds: math.Round(ahead.Seconds()*10) / 10, At: e.now().UTC()})
	}
	body, err := wire.Uncoded(answer.Header, answer.Body, maxAnswer)
	if err != nil {
		failed := unavailable("the Authorization Server's answer cannot be read", printable.Error(err))
		if errors.Is(err, wire.ErrTooLong) {
			failed = unavailable(fmt.Sprintf("the Authorization Server's answer has more than %d bytes", maxAnswer), nil)
		}
		failed.Status = answer.StatusCode
		return Token{}, false, failed
	}
	t, err = e.judge(c, key, scopes, answer, body, sent)
	return t, false, err
}

// request makes a token request with a fresh assertion (RFC 7521, section 4.2).
func (e *endpoint) request(ctx context.Context, c *client, key *Key, scopes []string) (*http.Request, error) {
	assertion, err := key.assertion(c.config, e.oauth.Audience, e.now())
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.oauth.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"identity"},
		"Content-Type":    {"application/x-www-form-urlencoded"},
		"User-Agent":      {problem.Pseudonym},
		"BelGov-Trace-Id": {uuid.NewString()},
	}
	return r, nil
}

// judge makes a token or an error of an answer.
func (e *endpoint) judge(c *client, key *Key, scopes []string, answer *http.Response, body []byte,
	sent time.Time) (Token, error) {
	status := answer.StatusCode
	unavailable := func(reason string, err error) error {
		return &UnavailableError{Client: c.name, Reason: reason, Status: status, RetryAfter: retryAfter(answer.Header,
			e.now()), Err: err}
	}
	switch {
	case status == http.StatusOK:
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		code, ok := parseRefusal(body)
		if !ok {
			return Token{}, unavailable(fmt.Sprintf("the Authorization Server answers %d without an OAuth error: check the "+
				"token URL, and what stands between", status), nil)
		}
		// RFC 6749 has these two for the authorization endpoint; servers use them
		// here too, and mean an outage.
		if code == "temporarily_unavailable" || code == "server_error" {
			return Token{}, unavailable("the Authorization Server answers "+code, nil)
		}
		refused := &RefusedError{
			Client: c.name, Environment: e.environment, Code: code, Scope: strings.Join(scopes, " "), Status: status,
		}
		if ahead, dated := e.ahead(answer.Header, sent); dated && ahead.Abs() >= tolerableSkew {
			refused.Skew = ahead.Round(time.Second)
		}
		return Token{}, refused
	case status == http.StatusTooManyRequests, status >= 500:
		return Token{}, unavailable(fmt.Sprintf("the Authorization Server answers %d", status), nil)
	default:
		return Token{}, unavailable(fmt.Sprintf("the Authorization Server answers %d, which is no answer to a token "+
			"request: check the token URL", status), nil)
	}

	g, err := parseGrant(body)
	if err != nil {
		return Token{}, unavailable("the Authorization Server's answer cannot be used", err)
	}
	var missing, extra []string
	if g.named {
		missing = without(scopes, g.scopes)
		// With no scope asked for, whatever comes is what was asked for.
		if len(scopes) > 0 {
			extra = without(g.scopes, scopes)
		}
	}
	if len(missing) > 0 {
		return Token{}, &RefusedError{
			Client: c.name, Environment: e.environment, Code: "invalid_scope", Scope: strings.Join(scopes, " "),
			Missing: missing, Status: status,
		}
	}
	t := newToken(g.secret, c.tokenKey(key, scopes), sent, g.lifetime, extra)
	if len(scopes) == 0 {
		t.h.granted = without(g.scopes, nil)
	}
	if !t.Valid(e.now()) {
		return Token{}, unavailable("the Authorization Server's token had expired when it arrived", nil)
	}
	return t, nil
}

func (c *client) tokenKey(key *Key, scopes []string) TokenKey {
	return TokenKey{
		TokenURL: c.tokens.endpoint.oauth.TokenURL, Audience: c.tokens.endpoint.oauth.Audience,
		ClientID:       c.config.ClientID,
		KeyFingerprint: key.Fingerprint(), Scopes: strings.Join(scopes, " "),
	}
}

// without gives the members of a that b does not have, each that can be a scope.
func without(a, b []string) []string {
	var rest []string
	for _, s := range a {
		if !slices.Contains(b, s) && !slices.Contains(rest, s) && !strings.ContainsFunc(s, notInScope) {
			rest = append(rest, s)
		}
	}
	return rest
}

// ClockStatus compares the Authorization Server's clock with ours, by the Date of its last
// answer. The field has whole seconds.
type ClockStatus struct {
	// AheadSeconds is how far the server's clock is ahead, negative if it is behind.
	AheadSeconds float64   `json:"aheadSeconds"`
	At           time.Time `json:"at"`
}

// ahead is how far the clock of a server that answers now to a request sent at that moment is
// ahead of ours, to half a second; false if the answer has no date.
func (e *endpoint) ahead(h http.Header, sent time.Time) (time.Duration, bool) {
	theirs, err := http.ParseTime(h.Get("Date"))
	// The field is cut to whole seconds, and was written somewhere between.
	middle := sent.Add(e.now().Sub(sent) / 2)
	return theirs.Add(500 * time.Millisecond).Sub(middle), err == nil
}

// waitOf finds the Retry-After of an error that the layers above the transport
// made, an open circuit for one.
func waitOf(err error, now time.Time) time.Duration {
	var r problem.Reporter
	if !errors.As(err, &r) {
		return 0
	}
	return retryAfter(r.Problem().Header, now)
}
