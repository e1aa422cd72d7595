package proxy

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Waiting are the calls of one upstream that wait for its header: how a frozen one is
// seen before the first time-out. The zero value is ready, and safe for concurrent use.
type Waiting struct {
	mu sync.Mutex
	// calls are in the order in which they began, so that the oldest is the first.
	calls    []waitingCall
	next     uint64
	answered time.Time
}

type waitingCall struct {
	id    uint64
	since time.Time
}

// WaitingState is what is shown of them.
type WaitingState struct {
	Calls int
	// Oldest is since when the oldest waits, zero if none does; Answered when the upstream
	// last sent a header, zero if it has not since the start.
	Oldest, Answered time.Time
}

// State shows the calls that wait now.
func (w *Waiting) State() WaitingState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := WaitingState{Calls: len(w.calls), Answered: w.answered}
	if len(w.calls) > 0 {
		s.Oldest = w.calls[0].since
	}
	return s
}

func (w *Waiting) begin(now time.Time) (id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	w.calls = append(w.calls, waitingCall{w.next, now})
	return w.next
}

func (w *Waiting) end(id uint64, now time.Time, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := slices.BinarySearchFunc(w.calls, id, func(c waitingCall, id uint64) int { return cmp.Compare(c.id, id) }); ok {
		w.calls = slices.Delete(w.calls, i, i+1)
	}
	if answered {
		w.answered = now
	}
}
