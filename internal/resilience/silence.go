package resilience

import (
	"time"

	"ebox-gateway/internal/memory"
)

// leastWait is how long a caller must have waited for its going away to say anything.
const leastWait = time.Second

// silence are calls that ended without anything of an answer, and no answer to anybody
// between them. An upstream that hangs gets few calls, since each of its callers waits for
// long, so that MinRequests would never be reached. It is frozen when
//
//   - one such call began after another had ended, and
//   - the silence has lasted for a third of the header time-out, and
//   - two of them were time-outs, or two callers or two enterprises met it.
//
// So callers who go away before the time-out are evidence too, but not of one caller alone,
// whose patience may be too short; and not if they go away at once.
type silence struct {
	enough time.Duration // how long it must have lasted

	calls, timeouts   int
	began             time.Time // the first call
	firstEnd, lastEnd time.Time // of the first and the last call
	who               tenant    // of the first call, as caller is
	caller            memory.Party
	// enterprises says that it met more than one enterprise, or calls for none; mixed that it
	// met more than one enterprise or caller.
	enterprises, mixed bool
}

// end is an answer.
func (q *silence) end() { *q = silence{enough: q.enough} }

// add adds a call that ended without an answer, and tells whether the upstream is frozen.
// After window without a further call, a new silence begins.
func (q *silence) add(t *try, now time.Time, timedOut bool, window time.Duration) (frozen bool) {
	if !timedOut && now.Sub(t.began) < min(leastWait, q.enough) {
		return false
	}
	if q.calls > 0 && t.began.Sub(q.lastEnd) > window {
		q.end()
	}
	if q.calls == 0 {
		q.began, q.firstEnd, q.who, q.caller = t.began, now, t.who, t.caller
	}
	q.calls++
	if timedOut {
		q.timeouts++
	}
	q.lastEnd = now
	q.enterprises = q.enterprises || t.who != q.who || t.who == (tenant{})
	q.mixed = q.mixed || t.who != q.who || t.caller != q.caller
	return q.calls > 1 && !t.began.Before(q.firstEnd) && now.Sub(q.began) >= q.enough && (q.mixed || q.timeouts > 1)
}
