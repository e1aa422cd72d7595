package resilience

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// share is the part of a rate, a bulkhead and its queue that batch calls may use:
// three tenths stay with the others. Of very small limits it is at least one, since
// otherwise batch would never be served.
const share = 0.7

func batchShare(whole int) int { return min(whole, max(1, int(float64(whole)*share))) }

// bulkhead hands out places, in the order of arrival within a class, interactive
// calls first. A place that is given back goes straight to the next in line, so
// nobody who comes later can be quicker.
type bulkhead struct {
	max, maxBatch     int
	queue, queueBatch int

	mu                   sync.Mutex
	taken, takenBatch    int
	interactive, batched list.List // of *waiter
	refused              uint64
}

// waiter is a call in the queue. granted is closed when it has its place.
type waiter struct {
	granted chan struct{}
}

func newBulkhead(s Settings) *bulkhead {
	queue := max(s.Queue, 0)
	h := &bulkhead{max: s.Max, maxBatch: batchShare(s.Max), queue: queue}
	if queue > 0 {
		h.queueBatch = batchShare(queue)
	}
	return h
}

// tryEnter takes a place if one is free. Then nobody waits for it: a place that
// somebody in the queue could use is never free.
func (h *bulkhead) tryEnter(batch bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tryLocked(batch)
}

func (h *bulkhead) tryLocked(batch bool) bool {
	if !h.free(batch) {
		return false
	}
	h.take(batch)
	return true
}

// enter takes a place, waiting for one for at most wait. It returns whether it has
// one; the error is the cause of ctx, if that was cancelled first.
func (h *bulkhead) enter(ctx context.Context, batch bool, wait time.Duration) (bool, error) {
	h.mu.Lock()
	if h.tryLocked(batch) {
		h.mu.Unlock()
		return true, nil
	}
	if !h.room(batch) || wait <= 0 {
		h.refused++
		h.mu.Unlock()
		return false, nil
	}
	w := &waiter{granted: make(chan struct{})}
	place := h.line(batch).PushBack(w)
	h.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-w.granted:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) { // out of time is a refusal like any other
			err = context.Cause(ctx)
		}
	}
	return h.leaveQueue(w, place, batch, err)
}

// leaveQueue is for a waiter whose time is over or whose caller went away. It may
// have got its place in the same moment: one in time is used, an abandoned one
// given back.
func (h *bulkhead) leaveQueue(w *waiter, place *list.Element, batch bool, err error) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-w.granted:
		if err != nil {
			h.release(batch)
			return false, err
		}
		return true, nil
	default:
	}
	h.line(batch).Remove(place)
	if err == nil {
		h.refused++
	}
	return false, err
}

// leave gives a place back.
func (h *bulkhead) leave(batch bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release(batch)
}

func (h *bulkhead) release(batch bool) {
	h.taken--
	if batch {
		h.takenBatch--
	}
	for _, batch := range [...]bool{false, true} {
		line := h.line(batch)
		for line.Len() > 0 && h.free(batch) {
			w := line.Remove(line.Front()).(*waiter)
			h.take(batch)
			close(w.granted)
		}
	}
}

func (h *bulkhead) line(batch bool) *list.List {
	if batch {
		return &h.batched
	}
	return &h.interactive
}

func (h *bulkhead) free(batch bool) bool {
	return h.taken < h.max && (!batch || h.takenBatch < h.maxBatch)
}

func (h *bulkhead) take(batch bool) {
	h.taken++
	if batch {
		h.takenBatch++
	}
}

func (h *bulkhead) room(batch bool) bool {
	return h.interactive.Len()+h.batched.Len() < h.queue && (!batch || h.batched.Len() < h.queueBatch)
}
