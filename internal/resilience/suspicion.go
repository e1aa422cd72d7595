package resilience

import (
	"sync/atomic"
	"time"
)

// suspectedCalls are enough, during a suspicion, for the failure ratio to count.
const suspectedCalls = 3

// suspicion is what another replica's circuit makes of this one's: a hint, not a
// verdict. While it lasts, the calls made since it began are counted by themselves, and
// a few of them decide, where otherwise a window full of old successes would have to be
// outweighed first. Without failures of its own, a circuit stays closed.
type suspicion struct {
	until           atomic.Int64 // a time.Duration of the breaker's clock, 0 for none
	calls, failures atomic.Uint32
}

// Suspect makes the circuit open sooner than usual for a while, since another replica's
// is open. It does nothing to a circuit that is not closed.
func (u *Upstream) Suspect(lasting time.Duration) {
	b := u.breaker
	if b == nil || lasting <= 0 || !b.closed() {
		return
	}
	now := b.clock()
	if !b.suspicion.active(now) { // its calls are counted from here on, and none before
		b.suspicion.calls.Store(0)
		b.suspicion.failures.Store(0)
		b.log.Info("another replica's circuit is open: this one opens after a few failures of its own",
			"upstream", b.name, "for", lasting)
	}
	b.suspicion.until.Store(int64(now + lasting))
}

// active tells whether a suspicion lasts.
func (s *suspicion) active(now time.Duration) bool { return int64(now) < s.until.Load() }

// count counts a call that ended while it lasts.
func (s *suspicion) count(now time.Duration, failed bool) {
	if !s.active(now) {
		return
	}
	s.calls.Add(1)
	if failed {
		s.failures.Add(1)
	}
}

// end ends it: the circuit has opened, or closed again and begins anew.
func (s *suspicion) end() { s.until.Store(0) }

// condemns tells whether the calls since it began are enough to open the circuit, and
// which they are.
func (s *suspicion) condemns(now time.Duration, minRequests int, ratio float64) (calls, failures uint32, enough bool) {
	if !s.active(now) {
		return 0, 0, false
	}
	calls, failures = s.calls.Load(), s.failures.Load()
	return calls, failures, int(calls) >= min(minRequests, suspectedCalls) && failures > 0 &&
		float64(failures) >= ratio*float64(calls)
}
