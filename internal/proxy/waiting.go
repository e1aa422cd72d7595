package proxy

import (
	"slices"
	"sync"
	"time"
)

// Waiting are the calls of one upstream that wait for its header: how a frozen one is
// seen before the first time-out. The zero value is ready, and safe for concurrent use.
type Waiting struct {
	mu sync.Mutex
	// calls are when those began, in their order, so that the oldest is the first.
	calls []*time.Time
	// unanswered is since when there were calls and no answer, ended when a call last went.
	unanswered, ended time.Time
}

// WaitingState is what is shown of them.
type WaitingState struct {
	Calls int `json:"waiting"`
	// Oldest is since when the oldest waits, Unanswered since when the upstream has had calls
	// and answered none, those included that gave up. Both are zero if none waits.
	Oldest     time.Time `json:"waitingSince,omitzero"`
	Unanswered time.Time `json:"unansweredSince,omitzero"`
}

// pause is how long there may be no call within one stretch without an answer.
const pause = 10 * time.Second

// State shows the calls that wait now.
func (w *Waiting) State() WaitingState {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 {
		return WaitingState{}
	}
	return WaitingState{Calls: len(w.calls), Oldest: *w.calls[0], Unanswered: w.unanswered}
}

func (w *Waiting) begin(now time.Time) (since *time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 && (w.unanswered.IsZero() || now.Sub(w.ended) > pause) {
		w.unanswered = now
	}
	w.calls = append(w.calls, &now)
	return &now
}

// end takes a call out. known says that it ended by an answer or an error of the
// connection: neither by a time-out nor since its caller gave up.
func (w *Waiting) end(since *time.Time, now time.Time, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.calls, since); i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
	}
	w.ended = now
	switch {
	case known && len(w.calls) > 0:
		w.unanswered = now
	case known:
		w.unanswered = time.Time{}
	}
}
