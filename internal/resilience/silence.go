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
// who may wait too little for any answer; and not if they go away at once.
type silence struct {
	enough time.Duration // how long it must have lasted

	began             time.Time // the first call; zero if there is none
	firstEnd, lastEnd time.Time // of the first and the last call
	who               tenant    // of the first call, as caller is
	caller            memory.Party
	timeouts          int
	// enterprises says that it met more than one enterprise, or calls for none; mixed that it
	// met more than one enterprise or caller.
	enterprises, mixed bool
}

// add adds a call that ended without an answer, and reports whether the upstream is frozen, for
// the call's enterprise and for all. header is when the last answer began. After window
// without a further call, a new silence begins.
func (q *silence) add(
	t *try, now, header time.Time, timedOut bool, window time.Duration,
) (forAll, forOwn bool) {
	if !timedOut && now.Sub(t.began) < min(leastWait, q.enough) {
		return false, false
	}
	if q.began.IsZero() || header.After(q.firstEnd) || t.began.Sub(q.lastEnd) > window {
		*q = silence{enough: q.enough, began: t.began, firstEnd: now, who: t.who, caller: t.caller}
	}
	if timedOut {
		q.timeouts++
	}
	q.lastEnd = now
	q.enterprises = q.enterprises || t.who != q.who || t.who == (tenant{})
	q.mixed = q.mixed || t.who != q.who || t.caller != q.caller
	forOwn = !t.began.Before(q.firstEnd) && now.Sub(q.began) >= q.enough && (q.mixed || q.timeouts > 1)
	return forOwn && q.enterprises, forOwn
}
