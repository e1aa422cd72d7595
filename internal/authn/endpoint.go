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
	"time"

	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"

	"github.com/google/uuid"
)

// tolerableSkew is the difference between our clock and the server's from which
// a refusal mentions it. Whole seconds of the Date field and the way there and
// back are in it.
const tolerableSkew = 30 * time.Second

// tokenRequest is a request for one token, made of all that decides what is issued. It has no
// memory: sources and keys under trial remember what came of theirs.
type tokenRequest struct {
	client *client
	key    *Key     // signs
	scopes []string // canonical
}

// tokenKey names the token that is asked for.
func (q tokenRequest) tokenKey() TokenKey {
	oauth := &q.client.tokens.o.OAuth
	return TokenKey{
		TokenURL: oauth.TokenURL, Audience: oauth.Audience, ClientID: q.client.config.ClientID,
		KeyFingerprint: q.key.about.Fingerprint, Scopes: strings.Join(q.scopes, " "),
	}
}

// obtain gets the token from the copy that replicas share, if there is one, or else from the
// Authorization Server. stale is the hash of the token that is to be replaced, "" for none. The
// error is a *Failure.
func (q tokenRequest) obtain(ctx context.Context, stale string) (t Token, err error) {
	defer q.contain(&err)
	tokens := q.client.tokens
	if tokens.o.Shared == nil {
		return q.fetch(ctx)
	}
	// The store has the time of one request more: waiting for another replica's.
	ctx, cancel := context.WithTimeout(ctx, 2*tokens.o.OAuth.Timeout)
	defer cancel()
	name := q.tokenKey()
	t, err = tokens.o.Shared.Obtain(ctx, name, stale, q.fetch)
	switch {
	case err == nil && (t.Key() != name || !t.Valid(tokens.o.Now())):
		return Token{}, q.client.unavailable("the shared copy gave a token that does not belong here", nil)
	case err == nil || failureOf(err) != nil:
		return t, err
	}
	return Token{}, q.client.unavailable("the shared copy of the tokens failed", err)
}

// fetch asks the Authorization Server. The error is that of obtain.
func (q tokenRequest) fetch(ctx context.Context) (t Token, err error) {
	defer q.contain(&err)
	ctx, cancel := context.WithTimeout(ctx, q.client.tokens.o.OAuth.Timeout)
	defer cancel()

	// A server closes idle connections when it likes, at worst when a request is
	// on its way in. On a connection that had been used before, that is the likely
	// reason of a failure, and one more request goes on another. It has an
	// assertion of its own: the server may have seen the first one's jti.
	t, stale, err := q.try(ctx)
	if err != nil && stale && ctx.Err() == nil {
		t, _, err = q.try(ctx)
	}
	return t, err
}

// contain makes a panic over what a server or Redis answered a failure of that one request.
// Requests run on goroutines of their own, where it would end the gateway.
func (q tokenRequest) contain(err *error) {
	if fault := recover(); fault != nil {
		q.client.tokens.o.Log.Error("a token request panicked", "client", q.client.name, "error", printable.Panic(fault))
		*err = q.client.unavailable("a fault of the gateway, which its log shows", nil)
	}
}

// try sends one request. stale says that it failed without an answer on a
// connection that had been used before.
func (q tokenRequest) try(ctx context.Context) (t Token, stale bool, err error) {
	tokens := q.client.tokens
	sent := tokens.o.Now()
	r, err := q.request(ctx, sent)
	if err != nil {
		return Token{}, false, q.client.unavailable("the request could not be made", err)
	}
	// RoundTrip, not a Client: redirects are never followed. An assertion is for
	// the audience it names and nobody else.
	answer, err := tokens.o.Transport.RoundTrip(r)
	if err != nil {
		failed := q.client.unavailable("the Authorization Server did not answer", printable.Error(err))
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			failed.reason += " in time"
		}
		failed.RetryAfter = waitOf(err, sent)
		var exchange *wire.Error
		return Token{}, errors.As(err, &exchange) && exchange.Stale, failed
	}
	defer answer.Body.Close()
	ahead, dated := ClockAhead(answer.Header, sent, tokens.o.Now())
	if dated {
		tokens.clock.Store(&ClockStatus{AheadSeconds: math.Round(ahead.Seconds()*10) / 10, At: tokens.o.Now().UTC()})
	}
	body, err := wire.Uncoded(answer.Header, answer.Body, maxAnswer)
	if errors.Is(err, wire.ErrTooLong) {
		return Token{}, false, q.client.unavailable(fmt.Sprintf("the Authorization Server's answer has more than %d bytes",
			maxAnswer), nil)
	}
	if err != nil {
		return Token{}, false, q.client.unavailable("the Authorization Server's answer cannot be read", printable.Error(err))
	}
	t, err = q.judge(answer, body, sent, ahead)
	return t, false, err
}

// request makes a token request with a fresh assertion (RFC 7521, section 4.2).
func (q tokenRequest) request(ctx context.Context, now time.Time) (*http.Request, error) {
	oauth := &q.client.tokens.o.OAuth
	assertion, err := q.key.assertion(q.client.config, oauth.Audience, now)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	if len(q.scopes) > 0 {
		form.Set("scope", strings.Join(q.scopes, " "))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, oauth.TokenURL, strings.NewReader(form.Encode()))
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
func (q tokenRequest) judge(answer *http.Response, body []byte, sent time.Time, ahead time.Duration) (Token, error) {
	now, status := q.client.tokens.o.Now(), answer.StatusCode
	unavailable := func(reason string, err error) (Token, error) {
		failed := q.client.unavailable("the Authorization Server"+reason, err)
		failed.RetryAfter = retryAfter(answer.Header, now)
		return Token{}, failed
	}
	refused := &Failure{Client: q.client.name, status: status, environment: q.client.tokens.o.Environment,
		scope: strings.Join(q.scopes, " ")}
	if ahead.Abs() >= tolerableSkew {
		refused.skew = ahead.Round(time.Second)
	}
	switch {
	case status == http.StatusOK:
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		code, ok := parseRefusal(body)
		if !ok {
			return unavailable(fmt.Sprintf(" answers %d without an OAuth error: check the token URL, and what stands between",
				status), nil)
		}
		switch code {
		// RFC 6749 has the first two for the authorization endpoint; servers use them here too, and
		// mean an outage. The others are no codes of OAuth, and are codes of ours.
		case "temporarily_unavailable", "server_error", Unavailable, noKey:
			return unavailable(" answers "+code, nil)
		}
		refused.Code = code
		return Token{}, refused
	case status == http.StatusTooManyRequests, status >= 500:
		return unavailable(fmt.Sprintf(" answers %d", status), nil)
	default:
		return unavailable(fmt.Sprintf(" answers %d, which is no answer to a token request: check the token URL",
			status), nil)
	}

	g, err := parseGrant(body)
	if err != nil {
		return unavailable("'s answer cannot be used", err)
	}
	if len(g.scopes) > 0 {
		if missing := without(q.scopes, g.scopes); len(missing) > 0 {
			refused.Code, refused.missing = "invalid_scope", missing
			return Token{}, refused
		}
	}
	t := newToken(g.secret, q.tokenKey(), sent, g.lifetime, without(g.scopes, q.scopes))
	if !t.Valid(now) {
		return unavailable("'s token had expired when it arrived", nil)
	}
	return t, nil
}

// maxNamed bounds the scopes of an answer that are told apart, kept and logged: an answer of a
// megabyte could name a hundred thousand.
const maxNamed = 100

// without gives the members of a that b does not have, each that can be a scope, the first
// maxNamed of them.
func without(a, b []string) []string {
	var rest []string
	for _, s := range a {
		if len(rest) == maxNamed {
			break
		}
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

// ClockAhead is how far the clock of a server that answers now to a request sent at that moment
// is ahead of ours, to half a second; false if the answer has no date.
func ClockAhead(h http.Header, sent, now time.Time) (time.Duration, bool) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	// The field is cut to whole seconds, and was written somewhere between.
	middle := sent.Add(now.Sub(sent) / 2)
	return theirs.Add(500 * time.Millisecond).Sub(middle), true
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
