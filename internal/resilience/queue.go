package resilience

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/memory"
)

// batchPart is the part of a rate, a bulkhead and its queue that batch calls may use:
// three tenths stay with the others. Of very small limits it is at least one, since
// otherwise batch would never be served.
const batchPart = 0.7

func batchShare(whole int, part float64) int { return min(whole, max(1, int(float64(whole)*part))) }

// queue hands out places, and fairly. A call that finds one takes it. If there is none,
// it waits, and a place that is given back goes to whoever is first by queue.before. One
// caller alone has all places but the reserve; as soon as others want in, they come first
// until they have as much. Those who wait are bounded by the same rules, so that no caller
// can fill the queue.
type queue struct {
	mu              sync.Mutex
	places, waiting room
	line            []*entry // who waits, in the order of arrival
	// refused and refusedShare count who found no place, and who had its share of them.
	refused, refusedShare uint64
}

// room is where so many calls may be at once: the places, or those who wait for one.
type room struct {
	max, batchMax int
	// share is how many one caller, or one enterprise, has before it must leave the last
	// places free for others: reserve of them if both are beyond their share, half of that
	// if one is. So whoever comes new finds a place, also while one caller holds all others
	// for hours. Of fewer than four places there is no reserve.
	share, reserve int

	all, batch int
	of         map[party]int // how many are each caller's, and each enterprise's
}

// party is a caller or an enterprise, one of the two fields: those that share fairly.
type party struct {
	caller     memory.Party
	enterprise tenant
}

// entry is a call that has a place, or waits for one. granted is closed when it has it.
type entry struct {
	// parties are its caller and its enterprise; of a call that is for none, the caller counts for both.
	parties [2]party
	batch   bool
	granted chan struct{}
}

// newQueue makes a queue for so many places, and so many calls that wait for one. One party has a
// share of both, 0 for all, and batch calls have part of them.
func newQueue(places, waiting int, share, part float64) *queue {
	return &queue{places: newRoom(places, share, part), waiting: newRoom(waiting, share, part)}
}

func newRoom(whole int, share, part float64) room {
	r := room{max: whole, batchMax: batchShare(whole, part), share: whole, of: make(map[party]int)}
	if share > 0 && share < 1 {
		r.share = min(whole, max(1, int(math.Ceil(float64(whole)*share)))) // of no places, none
		r.reserve = min((whole+4)/8, whole-r.share)
	}
	return r
}

// add adds n calls like e.
func (r *room) add(e *entry, n int) {
	r.all += n
	if e.batch {
		r.batch += n
	}
	for i, p := range e.parties {
		if i > 0 && p == e.parties[0] {
			continue
		}
		if of := r.of[p] + n; of > 0 {
			r.of[p] = of
		} else {
			delete(r.of, p)
		}
	}
}

// beyond is how many of the two parties of e have their share.
func (r *room) beyond(e *entry) (n int) {
	for _, p := range e.parties {
		if r.of[p] >= r.share {
			n++
		}
	}
	return n
}

// admits reports whether there is room for e.
func (r *room) admits(e *entry) bool {
	if e.batch && r.batch >= r.batchMax {
		return false
	}
	free := r.max - r.all
	return free > r.reserve || free > r.reserve*r.beyond(e)/2 // mostly, nobody has to leave anything free
}

// before reports whether e is served before o, who came earlier: interactive before batch; then
// the one whose caller and enterprise hold less.
func (q *queue) before(e, o *entry) bool {
	if e.batch != o.batch {
		return o.batch
	}
	held := q.places.of
	return held[e.parties[0]]+held[e.parties[1]] < held[o.parties[0]]+held[o.parties[1]]
}

// enter takes a place for c, waiting for one for at most wait. Without one it returns
// why, for people, or as error the cause of a ctx that was cancelled.
func (q *queue) enter(ctx context.Context, c *call.Call, wait time.Duration) (_ *entry, why string, _ error) {
	caller := party{caller: memory.PartyOf(c.Caller, c.Source)}
	e := &entry{parties: [2]party{caller, caller}, batch: c.Batch}
	if who := tenantOf(c); who != (tenant{}) {
		e.parties[1] = party{enterprise: who}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	// If there is a place, nobody waits for it: one that somebody in the queue could use is never free.
	if q.places.admits(e) {
		q.places.add(e, 1)
		return e, "", nil
	}
	if wait <= 0 || !q.waiting.admits(e) {
		return nil, q.refuse(e), nil
	}
	e.granted = make(chan struct{})
	q.line = append(q.line, e)
	q.waiting.add(e, 1)
	q.mu.Unlock()
	var err error
	select {
	case <-e.granted:
	case <-time.After(wait):
	case <-ctx.Done():
		err = cancelled(ctx)
	}
	q.mu.Lock()
	place := slices.Index(q.line, e)
	switch {
	case place < 0 && err == nil: // perhaps in the very moment in which its time was over
		return e, "", nil
	case place < 0:
		q.release(e)
		return nil, "", err
	case err == nil:
		why = q.refuse(e)
	}
	q.line = slices.Delete(q.line, place, place+1)
	q.waiting.add(e, -1)
	return nil, why, err
}

// refuse counts a refusal and says why it is one.
func (q *queue) refuse(e *entry) string {
	places, waiting := &q.places, &q.waiting
	if places.share < places.max {
		for i, p := range e.parties {
			if places.of[p] < places.share && (waiting.of[p] == 0 || waiting.of[p] < waiting.share) {
				continue
			}
			q.refusedShare++
			whose, others := "This caller has its share of the calls", "callers"
			if i > 0 {
				whose, others = "The calls for this enterprise have their share of those", "enterprises"
			}
			return fmt.Sprintf("%s that this upstream may have in flight, %d of %d; what is left is for other %s. "+
				"Wait for some of them to end.", whose, places.share, places.max, others)
		}
	}
	q.refused++
	return "The upstream has as many calls in flight as the gateway allows, and the queue is full " +
		"or did not move in time."
}

// leave gives a place back.
func (q *queue) leave(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(e)
}

// release gives the place of e to whoever is first in the queue, if it is of use there. q.mu is held.
func (q *queue) release(e *entry) {
	q.places.add(e, -1)
	for q.places.all < q.places.max {
		first := -1
		for i, w := range q.line {
			if q.places.admits(w) && (first < 0 || q.before(w, q.line[first])) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		w := q.line[first]
		q.line = slices.Delete(q.line, first, first+1)
		q.waiting.add(w, -1)
		q.places.add(w, 1)
		close(w.granted)
	}
}

// length is how many calls have a place or wait for one.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.places.all + q.waiting.all
}
