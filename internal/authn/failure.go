package authn

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// The codes of failures that are no refusals.
const (
	// Unavailable is an outage: the Authorization Server gives no usable answer. It passes by itself.
	Unavailable = "unavailable"
	// noKey is a client whose key cannot be loaded: the Authorization Server was not asked.
	noKey = "key"
)

// Failure says why there is no token: the last of one or more failures of a kind in a row. Callers
// get copies. It holds nothing of the server's answer but the OAuth error code (RFC 6749, section 5.2).
type Failure struct {
	// Client is the name that the configuration gives the client.
	Client string
	// Code is Unavailable, "key", or the OAuth error code of a refusal: the Authorization Server is
	// up, and does not accept the client, its key or a scope. Waiting does not help then; somebody
	// has to change a registration or the configuration. A token with fewer scopes than asked for
	// counts as "invalid_scope".
	Code string
	// Since is when the failures in a row began, RetryAfter how long it takes until the next try, 0
	// if that is not known.
	Since      time.Time
	RetryAfter time.Duration

	// reason says in a few words what is the matter if it is no refusal, and cause why.
	reason string
	cause  error

	// What follows is about a refusal: the status of the answer, the environment in which the
	// registration has to be looked up, the scopes that were asked for, parted by blanks, and those
	// of them that a token came without.
	status             int
	environment, scope string
	missing            []string
	// skew is how much the server's clock is ahead of ours, if by half a minute or more; the server
	// may then take the assertion for expired or not yet valid.
	skew time.Duration

	inRow int
	until time.Time // callers get the failure again until then
}

// failureOf finds the failure in an error's chain; nil if there is none.
func failureOf(err error) *Failure {
	var f *Failure
	errors.As(err, &f)
	return f
}

// Refusal finds a refusal of the Authorization Server in an error's chain; nil if there is none.
func Refusal(err error) *Failure {
	if f := failureOf(err); f != nil && f.refused() {
		return f
	}
	return nil
}

func (f *Failure) refused() bool { return f.Code != Unavailable && f.Code != noKey }

// scopeRefused reports whether an error says nothing about the client and its key: another set of
// scopes may be granted.
func scopeRefused(err error) bool {
	f := failureOf(err)
	return f != nil && f.Code == "invalid_scope"
}

// After a failure, callers get it again at once until a pause is over, and the
// first caller after that asks the server anew. The pauses double with every
// failure in a row. An outage may end any moment; a refusal ends when a person
// has done something.
const (
	firstOutagePause  = time.Second
	longestOutage     = 15 * time.Second
	firstRefusalPause = 5 * time.Second
	longestRefusal    = 5 * time.Minute
)

// after is f as the failure that follows last, which may be nil. jitter is in [0, 1)
// and moves the pause by up to a quarter to either side.
func (f *Failure) after(last *Failure, now time.Time, jitter float64) *Failure {
	next := *f
	next.inRow, next.Since = 1, now
	if last != nil && last.refused() == f.refused() {
		next.inRow, next.Since = last.inRow+1, last.Since
	}
	first, longest := firstOutagePause, longestOutage
	if f.refused() {
		first, longest = firstRefusalPause, longestRefusal
	}
	pause := min(longest, first<<min(next.inRow-1, 16)) // 2^16 is past every limit
	pause = min(longest, time.Duration(float64(pause)*(0.75+jitter/2)))
	next.until = now.Add(max(pause, f.RetryAfter)) // the server's own Retry-After is a minimum
	return &next
}

// at is the failure for a caller at that moment.
func (f *Failure) at(now time.Time) *Failure {
	told := *f
	if !f.refused() {
		told.RetryAfter = max(f.until.Sub(now), 0)
	}
	return &told
}

// Error implements error.
func (f *Failure) Error() string {
	s := "fetching token for " + f.Client + ": "
	switch {
	case !f.refused() && f.cause == nil:
		return s + f.reason
	case !f.refused():
		return s + f.reason + ": " + f.cause.Error()
	case len(f.missing) > 0:
		return s + "the Authorization Server refuses with " + f.Code + ": it does not grant " + strings.Join(f.missing, " ")
	}
	s += fmt.Sprintf("the Authorization Server refuses with %s (status %d) for scope %q", f.Code, f.status, f.scope)
	if f.skew != 0 {
		s += fmt.Sprintf("; its clock differs from ours by %s: set the clock", f.skew)
	}
	return s
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.cause }

// Problem implements problem.Reporter: 502 clientRefused for a refusal, or else 503
// serviceUnavailable. The registrations are the enterprise's own, so the caller may read the
// client's name; the certificate's particulars are in the gateway's status, for the platform team.
func (f *Failure) Problem() *problem.Problem {
	switch f.Code {
	case Unavailable:
		return problem.Unavailable("The Authorization Server gives no usable answer at the moment, so that there is no "+
			"token to call the service with. Try again later.", f.RetryAfter).Because(f)
	case noKey:
		return problem.Unavailable("The gateway cannot read the key of OAuth client "+f.Client+". The platform team finds "+
			"the reason in the gateway's status; no call will succeed before it is mended.", 0).Because(f)
	}
	scope := f.scope
	if len(f.missing) > 0 {
		scope = strings.Join(f.missing, " ")
	}
	server := "The Authorization Server"
	if f.environment != "" {
		server += " of the " + f.environment + " environment"
	}
	text, known := advice[f.Code]
	if !known {
		text = "refuses the token request of %s. Check the token URL and the audience in the configuration, then the " +
			"client's registration in Chaman and its onboarding."
	}
	return problem.ClientRefused(f.Code, scope, server+" "+fmt.Sprintf(text, "OAuth client "+f.Client)).Because(f)
}

// advice says by the code of a refusal where to look.
var advice = map[string]string{
	"invalid_client": "does not recognise %s. Look in Chaman whether its client id and the certificate that the " +
		"gateway's status shows are registered there and valid, and whether the gateway's clock is right.",
	"unauthorized_client": "does not let %s ask for tokens in this way. Ask whoever did the onboarding to allow " +
		"client_credentials with private_key_jwt for it.",
	"invalid_scope": "does not grant %s the scope. Check that the onboarding of the client includes it, that the API's " +
		"terms of use were accepted, and that the route's scopes are spelled as the onboarding gives them.",
	"access_denied": deniesAccess, "invalid_grant": deniesAccess,
}

const deniesAccess = "denies %s access. Check that the API's terms of use were accepted and that the onboarding of " +
	"the client is complete."

// forStatus is the failure as people may know it, nil for none. Transport errors may be long, and
// name addresses, which is what the platform team needs.
func (f *Failure) forStatus() *FailureStatus {
	if f == nil {
		return nil
	}
	return &FailureStatus{Code: f.Code, Text: f.Error(), Since: f.Since, Until: f.until}
}
