package authn

import (
	"errors"
	"time"
)

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

// failure is the last of one or more failures in a row, of one kind. It does not
// change once it is made.
type failure struct {
	err   error // *RefusedError, *UnavailableError
	inRow int
	since time.Time
	until time.Time
}

// next makes the failure that follows f, which may be nil. jitter is in [0, 1)
// and moves the pause by up to a quarter to either side.
func (f *failure) next(err error, now time.Time, jitter float64) *failure {
	n := &failure{err: err, inRow: 1, since: now}
	if f != nil && f.refusal() == n.refusal() {
		n.inRow, n.since = f.inRow+1, f.since
	}
	first, longest := firstOutagePause, longestOutage
	if n.refusal() {
		first, longest = firstRefusalPause, longestRefusal
	}
	pause := longest
	if doublings := n.inRow - 1; doublings < 16 { // 5 s × 2^16 is past every limit
		pause = min(longest, first<<doublings)
	}
	pause = min(longest, time.Duration(float64(pause)*(0.75+jitter/2)))
	// The server's own Retry-After is a minimum.
	var u *UnavailableError
	if errors.As(err, &u) {
		pause = max(pause, u.RetryAfter)
		n.err = u.asMet(f)
	}
	n.until = now.Add(pause)
	return n
}

// asMet is what the last request met that was sent, f being the failure before: an open circuit
// tells nobody what is wrong with the server.
func (e *UnavailableError) asMet(f *failure) error {
	var before *UnavailableError
	if !e.held || f == nil || !errors.As(f.err, &before) {
		return e
	}
	met := *before
	met.RetryAfter = e.RetryAfter
	return &met
}

func (f *failure) refusal() bool {
	var r *RefusedError
	return errors.As(f.err, &r)
}

// report is the error for a caller at the moment now: a copy, since many callers
// get one.
func (f *failure) report(now time.Time) error {
	var r *RefusedError
	if errors.As(f.err, &r) {
		e := *r
		e.Since = f.since
		return &e
	}
	var u *UnavailableError
	if errors.As(f.err, &u) {
		e := *u
		e.Since, e.RetryAfter = f.since, max(f.until.Sub(now), 0)
		return &e
	}
	return f.err
}

// status is the failure for people. Transport errors may be long, and name
// addresses, which is what the platform team needs.
func (f *failure) status() *FailureStatus {
	if f == nil {
		return nil
	}
	s := &FailureStatus{Code: Unavailable, Text: f.err.Error(), Since: f.since, Until: f.until}
	var r *RefusedError
	if errors.As(f.err, &r) {
		s.Code = r.Code
	}
	return s
}
