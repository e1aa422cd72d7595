package authn

import (
	"maps"
	"math"
	"time"
)

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
	// Clock is the Authorization Server's clock against ours; nil before its first answer.
	Clock *ClockStatus `json:"clock,omitempty"`
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

// PendingStatus is a key that was loaded and has not yet got a token.
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
	// Code is the OAuth error code of a refusal, Unavailable for an outage,
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
	// RefusedBy are the upstreams that refuse the token although it was renewed for that
	// less than a minute ago, and when it is renewed for them again.
	RefusedBy map[string]time.Time `json:"refusedBy,omitempty"`
	// Requests counts the token requests, Granted those that brought a token (be it
	// another replica's), Refusals and Outages those that failed so, Forced the renewals that an upstream's 401 forced.
	Requests uint64 `json:"requests"`
	Granted  uint64 `json:"granted"`
	Refusals uint64 `json:"refusals"`
	Outages  uint64 `json:"outages"`
	Forced   uint64 `json:"forcedRenewals"`
}

// expiryWarning is how long before its end a certificate is a warning: ordering
// and registering a new one takes weeks.
const expiryWarning = 30 * 24 * time.Hour

// Status gives the state of every client, in the order of their names.
func (t *Tokens) Status() []ClientStatus {
	now := t.o.Now()
	list := make([]ClientStatus, 0, len(t.clients))
	for _, c := range t.clients {
		list = append(list, c.status(now))
	}
	return list
}

func (c *client) status(now time.Time) ClientStatus {
	s := ClientStatus{Name: c.name, ID: c.config.ClientID, TokenURL: c.tokens.o.OAuth.TokenURL,
		Audience: c.tokens.o.OAuth.Audience, Clock: c.tokens.clock.Load(), Tokens: []TokenStatus{}}
	if key := c.key.Load(); key != nil {
		s.Key = new(key.Status(now))
	}
	c.mu.Lock()
	if p := c.pending; p != nil {
		s.Pending = &PendingStatus{KeyStatus: p.key.Status(now), Since: p.since, Reason: p.reason(now)}
		if p.last != nil {
			s.Pending.NextTry = p.last.until
		}
	}
	if f := c.keyFailure; f != nil {
		s.KeyError = &FailureStatus{Code: noKey, Text: f.cause.Error(), Since: f.Since}
	}
	c.mu.Unlock()
	for _, source := range c.sourceList() {
		s.Tokens = append(s.Tokens, source.status(now))
	}
	return s
}

// Status is what may be known of the key at a moment.
func (k *Key) Status(now time.Time) KeyStatus {
	s := k.about
	if s.State == KeyNoCertificate {
		return s
	}
	left := s.NotAfter.Sub(now)
	s.DaysLeft = new(int(math.Floor(left.Hours() / 24)))
	switch {
	case left < 0:
		s.State = KeyExpired
	case now.Before(s.NotBefore):
		s.State = KeyNotYetValid
	case left < expiryWarning:
		s.State = KeyExpiring
	}
	return s
}

func (s *Source) status(now time.Time) TokenStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.counted
	status.Scopes, status.Error = s.scopes, s.failure.forStatus()
	if h := s.current.Load(); h != nil && h.valid(now) {
		status.Hash, status.Obtained, status.Expires, status.Extra = h.hash, h.obtained, h.expires, h.extra
	}
	for upstream, until := range s.waits {
		if !now.Before(until) {
			delete(s.waits, upstream)
		}
	}
	status.RefusedBy = maps.Clone(s.waits)
	return status
}
