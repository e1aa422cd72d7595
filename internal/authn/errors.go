package authn

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
)

// RefusedError says that the Authorization Server is up and does not give this
// client a token: it, its key or a scope is not accepted. Waiting does not help;
// somebody has to change a registration or the configuration. It holds nothing
// of the server's answer but the OAuth error code (RFC 6749, section 5.2).
type RefusedError struct {
	// Client is the name that the configuration gives the client.
	Client string
	// Environment is the environment in which the registration has to be looked up.
	Environment string
	// Code is the OAuth error code. A token with fewer scopes than asked for
	// counts as "invalid_scope".
	Code string
	// Scope are the scopes that were asked for, parted by blanks.
	Scope string
	// Missing are the scopes that were asked for and not granted, if a token came.
	Missing []string
	// Status is the HTTP status of the answer.
	Status int
	// Skew is how much the server's clock is ahead of ours, if by half a minute or
	// more; the server may then take the assertion for expired or not yet valid.
	Skew time.Duration
	// Since is when the refusals in a row began.
	Since time.Time
}

// Error implements error.
func (e *RefusedError) Error() string {
	s := "fetching token for " + e.Client + ": the Authorization Server refuses with " + e.Code
	if len(e.Missing) > 0 {
		return s + ": it does not grant " + strings.Join(e.Missing, " ")
	}
	s = fmt.Sprintf("%s (status %d) for scope %q", s, e.Status, e.Scope)
	if e.Skew != 0 {
		s += fmt.Sprintf("; its clock differs from ours by %s: set the clock", e.Skew)
	}
	return s
}

// Problem implements problem.Reporter: 502 clientRefused.
func (e *RefusedError) Problem() *problem.Problem {
	scope := e.Scope
	if len(e.Missing) > 0 {
		scope = strings.Join(e.Missing, " ")
	}
	return problem.ClientRefused(e.Code, scope, e.advice()).Because(e)
}

// advice says where to look. The registrations are the enterprise's own, so the
// caller may read the client's name; the certificate's particulars are in the
// gateway's status, for the platform team.
func (e *RefusedError) advice() string {
	where := ""
	if e.Environment != "" {
		where = " of the " + e.Environment + " environment"
	}
	client := "OAuth client " + e.Client
	switch e.Code {
	case "invalid_client":
		return "The Authorization Server" + where + " does not recognise " + client + ". " +
			"Look in Chaman whether its client id and the certificate that the gateway's status shows are registered there " +
			"and valid, and whether the gateway's clock is right."
	case "unauthorized_client":
		return "The Authorization Server" + where + " does not let " + client + " ask for tokens in this way. " +
			"Ask whoever did the onboarding to allow client_credentials with private_key_jwt for it."
	case "invalid_scope":
		return "The Authorization Server" + where + " does not grant " + client + " the scope. " +
			"Check that the onboarding of the client includes it, that the API's terms of use were accepted, " +
			"and that the route's scopes are spelled as the onboarding gives them."
	case "access_denied", "invalid_grant":
		return "The Authorization Server" + where + " denies " + client + " access. Check that the API's terms of use were " +
			"accepted and that the onboarding of the client is complete."
	default:
		return "The Authorization Server" + where + " refuses the token request of " + client +
			". Check the token URL and the audience in the configuration, " +
			"then the client's registration in Chaman and its onboarding."
	}
}

// scopeRefused tells an error that says nothing about the client and its key: another set of
// scopes may be granted.
func scopeRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Code == "invalid_scope"
}

// UnavailableError says that there is no token for want of a working
// Authorization Server, or of a key to sign with. It passes without a change of
// registration.
type UnavailableError struct {
	// Client is the name that the configuration gives the client.
	Client string
	// Reason says in a few words what is the matter, for the log and the status:
	// no secret and nothing of the server's answer is in it.
	Reason string
	// NoKey is true if the client has no key: the Authorization Server was not asked.
	NoKey bool
	// Status is the HTTP status of the answer, 0 if there was none.
	Status int
	// RetryAfter is how long it takes until the next try, 0 if that is not known.
	RetryAfter time.Duration
	// Since is when the failures in a row began.
	Since time.Time
	// Err is the cause, if there is one.
	Err error
	// held is true if nothing was sent, since the endpoint has been failing.
	held bool
}

// Error implements error.
func (e *UnavailableError) Error() string {
	s := "fetching token for " + e.Client + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Problem implements problem.Reporter: 503 serviceUnavailable.
func (e *UnavailableError) Problem() *problem.Problem {
	detail := "The Authorization Server gives no usable answer at the moment, so that there is no token to call the " +
		"service with. Try again later."
	if e.NoKey {
		detail = "The gateway cannot read the key of OAuth client " + e.Client + ". The platform team finds the reason in " +
			"the gateway's status; no call will succeed before it is mended."
	}
	return problem.Unavailable(detail, e.RetryAfter).Because(e)
}
