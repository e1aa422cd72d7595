package resilience

import (
	"context"
	"time"

	"ebox-gateway/internal/enterprise"
)

// Kind says whose rate a Key stands for.
type Kind uint8

// The kinds of rates in front of everything.
const (
	// ByEnterprise is the rate of a represented enterprise.
	ByEnterprise Kind = iota + 1
	// ByClient is the rate of an OAuth client's own e-Box; Name is the client's.
	ByClient
	// ByCaller is the rate of a caller rule; Name is the rule's.
	ByCaller
)

// Key names one rate.
type Key struct {
	Kind       Kind
	Enterprise enterprise.Number
	Name       string
}

// Limits are the rates of enterprises and callers. They are spent by every request,
// also by one that the cache answers.
type Limits struct {
	max int
	now func() time.Time
}

// NewLimits makes Limits that remember the rates of the max keys that were used
// last, 100,000 if max is not positive; now tells the time, time.Now if nil. A key
// that was forgotten begins anew with its whole burst and never with more.
func NewLimits(max int, now func() time.Time) *Limits {
	return &Limits{max: max, now: now}
}

// Take spends one call of the rate r of key. If there is none left, it waits for at
// most pace, less what the exchange has waited for limits already, in the order of
// arrival; a pace of 0 does not wait.
//
// The error is a *problem.Problem, 429 with limit, retryAfterSec and Retry-After, or
// the cause of ctx, if that ended first. A refused call spends nothing. Take the
// enterprise's rate before the caller's: an enterprise beyond its own rate then uses
// up nothing of the others'.
func (l *Limits) Take(ctx context.Context, key Key, r Rate, pace time.Duration) error {
	return nil
}
