package authn

import "time"

// ClientStatus is what people and metrics may know of one OAuth client. It holds
// no secret and is fit for JSON.
type ClientStatus struct {
	// Name is the client's name in the configuration, ID its client id.
	Name     string `json:"name"`
	ID       string `json:"clientId"`
	TokenURL string `json:"tokenUrl"`
	Audience string `json:"audience"`
	// Key signs now; nil if none could be loaded yet.
	Key *KeyStatus `json:"key,omitempty"`
	// Pending is a newer key that does not sign yet, and why.
	Pending *PendingStatus `json:"pendingKey,omitempty"`
	// KeyError says why the files as they are now cannot be loaded.
	KeyError *FailureStatus `json:"keyError,omitempty"`
	// Tokens are the tokens by their scopes, in order.
	Tokens []TokenStatus `json:"tokens"`
}

// States of a key.
const (
	KeyUsable        = "usable"
	KeyNoCertificate = "no-certificate"
	KeyExpiring      = "expiring"
	KeyExpired       = "expired"
	KeyNotYetValid   = "not-yet-valid"
)

// KeyStatus is what may be known of a key.
type KeyStatus struct {
	// Fingerprint is the SHA-256 of the public key (SPKI) in hexadecimal.
	Fingerprint string `json:"fingerprint"`
	Algorithm   string `json:"algorithm"`
	// Subject, NotBefore and NotAfter are the certificate's.
	Subject   string    `json:"subject,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	// DaysLeft are the whole days until NotAfter, negative after it, nil without
	// a certificate.
	DaysLeft *int `json:"daysLeft,omitempty"`
	// State is one of the Key… constants. All but KeyUsable and KeyNoCertificate
	// are warnings: the key signs all the same, since only the Authorization
	// Server decides what it accepts.
	State string `json:"state"`
}

// PendingStatus is a key that was loaded and has not yet earned a token.
type PendingStatus struct {
	KeyStatus
	// Since is when it was loaded, NextTry when it will be tried again.
	Since   time.Time `json:"since"`
	NextTry time.Time `json:"nextTry,omitzero"`
	// Reason says why it does not sign yet and what to do.
	Reason string `json:"reason"`
}

// FailureStatus is a failure that lasts.
type FailureStatus struct {
	// Code is the OAuth error code of a refusal, "unavailable" for an outage,
	// "key" for a key that cannot be loaded.
	Code string `json:"code"`
	// Text is for people.
	Text string `json:"text"`
	// Since is when the failures in a row began, Until when callers stop getting
	// the remembered error and the server is asked again.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// TokenStatus is what may be known of the token for one set of scopes.
type TokenStatus struct {
	Scopes []string `json:"scopes"`
	// Hash is the SHA-256 of the token, "" if there is no valid one.
	Hash     string    `json:"hash,omitempty"`
	Obtained time.Time `json:"obtained,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	// Extra are scopes that were granted without being asked for.
	Extra []string `json:"extraScopes,omitempty"`
	// Error is the last failure, if the last request failed.
	Error *FailureStatus `json:"error,omitempty"`
	// Requests counts the token requests, Refusals and Outages those that failed
	// so, Forced the renewals that an upstream's 401 forced.
	Requests uint64 `json:"requests"`
	Refusals uint64 `json:"refusals"`
	Outages  uint64 `json:"outages"`
	Forced   uint64 `json:"forcedRenewals"`
}
