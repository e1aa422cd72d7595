package resilience

import "time"

// leastWait is how long a caller must have waited for its going away to say anything.
const leastWait = time.Second

// silence are calls that ended without anything of an answer, and no answer to anybody
// between them.
type silence struct {
	first         *try      // nil if there is none
	ended, latest time.Time // when the first and the latest of them ended
	timeouts      int
}

// frozen adds a call that ended without an answer, and reports whether the upstream is frozen.
// One that hangs gets few calls, since each of its callers waits for long, so that MinRequests
// would never be reached. It is frozen when
//
//   - this call began after the first had ended, and
//   - the silence has lasted for a third of the header time-out, and
//   - two of its calls were time-outs, or this one is of another caller or enterprise than the first.
//
// So callers who go away before the time-out are evidence too, but not of one caller alone,
// who may wait too little for any answer; and not if they go away at once. After a window
// without a further call, a new silence begins. b.mu is held.
func (b *breaker) frozen(t *try, timedOut bool) bool {
	now, s := time.Now(), &b.silence
	if !timedOut && now.Sub(t.began) < min(leastWait, b.patience) {
		return false
	}
	if s.first == nil || b.header.After(s.ended) || t.began.Sub(s.latest) > b.settings.Window {
		*s = silence{first: t, ended: now}
	}
	s.latest = now
	if timedOut {
		s.timeouts++
	}
	return !t.began.Before(s.ended) && now.Sub(s.first.began) >= b.patience &&
		(s.timeouts > 1 || t.who != s.first.who || t.caller != s.first.caller)
}

// others reports whether a call without an answer, and the first, were for two enterprises, or for
// none: then the upstream is frozen for all.
func (s *silence) others(t *try) bool { return t.who != s.first.who || t.who == (tenant{}) }
