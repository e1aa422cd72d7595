package resilience

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// batchPart is the part of a rate, a bulkhead and its queue that batch calls may use:
// three tenths stay with the others. Of very small limits it is at least one, since
// otherwise batch would never be served.
const batchPart = 0.7

func batchShare(whole int) int { return min(whole, max(1, int(float64(whole)*batchPart))) }

// bounds are how many calls may be somewhere at once, and whose.
type bounds struct {
	max, batch int
	// share is how many one caller, or one enterprise, has before it must leave the last
	// places free for others: reserve of them if both are beyond their share, half of that
	// if one is. So whoever comes new finds a place, also while one caller holds all others
	// for hours. Of fewer than four places there is no reserve.
	share, reserve int
}

func newBounds(whole int, share float64) bounds {
	b := bounds{max: whole, batch: batchShare(whole), share: whole}
	if share > 0 && share < 1 {
		b.share = max(1, int(math.Ceil(float64(whole)*share)))
	}
	b.reserve = min((whole+4)/8, whole-b.share)
	return b
}

// admits reports whether there is room for one more beside taken, of which batched are
// batch. beyond is how many of the call's caller and enterprise have their share.
func (b *bounds) admits(taken, batched, beyond int, batch bool) bool {
	return taken < b.max-b.reserve*beyond/2 && (!batch || batched < b.batch)
}

// party is a caller or an enterprise, one of the two fields: those that share fairly.
type party struct {
	caller     memory.Party
	enterprise tenant
}

// account is what one party has of an upstream.
type account struct {
	party         party
	held, waiting int
}

// entry is a call that has a place, or waits for one. granted is closed when it has it.
type entry struct {
	caller     *account
	enterprise *account // nil for a call that is for none
	batch      bool
	granted    chan struct{}
}

// heldBeyond is how many of caller and enterprise hold their share of the places, as
// bounds.admits counts them; where there is no enterprise, the caller counts for both.
func (e *entry) heldBeyond(share int) int {
	return e.beyond(e.caller.held >= share, e.enterprise != nil && e.enterprise.held >= share)
}

func (e *entry) waitingBeyond(share int) int {
	return e.beyond(e.caller.waiting >= share, e.enterprise != nil && e.enterprise.waiting >= share)
}

func (e *entry) beyond(caller, enterprise bool) (n int) {
	if caller {
		n++
	}
	if enterprise || caller && e.enterprise == nil {
		n++
	}
	return n
}

// before reports whether e is served before o, who came earlier: the one who is less beyond
// its share; then interactive before batch; then the one whose caller and enterprise hold
// less.
func (e *entry) before(o *entry, share int) bool {
	if a, b := e.heldBeyond(share), o.heldBeyond(share); a != b {
		return a < b
	}
	if e.batch != o.batch {
		return o.batch
	}
	return e.held() < o.held()
}

func (e *entry) held() int {
	if e.enterprise == nil {
		return 2 * e.caller.held
	}
	return e.caller.held + e.enterprise.held
}

// bulkhead hands out places, and fairly. A call that finds one takes it. If there is none,
// it waits in the queue, and a place that is given back goes to whoever is first by
// entry.before. One caller alone has all places but the reserve; as soon as others want
// in, they come first until they have as much.
//
// The queue is shared by the same rules, so that no caller can fill it.
type bulkhead struct {
	places, queue bounds

	mu           sync.Mutex
	accounts     map[party]*account
	taken, batch int       // places
	line         list.List // of *entry, in the order of arrival
	batchWaiting int
	refused      uint64
	refusedShare uint64
}

func newBulkhead(s config.Concurrency) *bulkhead {
	h := &bulkhead{places: newBounds(s.Max, s.Share), accounts: make(map[party]*account)}
	if s.Queue > 0 {
		h.queue = newBounds(s.Queue, s.Share)
	}
	return h
}

// entryOf finds or opens the accounts of a call.
func (h *bulkhead) entryOf(c *call.Call) *entry {
	e := &entry{batch: c.Batch, caller: h.account(party{caller: memory.PartyOf(c.Caller, c.Source)})}
	if who := tenantOf(c); who != (tenant{}) {
		e.enterprise = h.account(party{enterprise: who})
	}
	return e
}

func (h *bulkhead) account(p party) *account {
	a := h.accounts[p]
	if a == nil {
		a = &account{party: p}
		h.accounts[p] = a
	}
	return a
}

// settle adds to what the parties of e hold and how many of their calls wait, and closes
// accounts that are empty.
func (h *bulkhead) settle(e *entry, held, waiting int) {
	for _, a := range [...]*account{e.caller, e.enterprise} {
		if a == nil {
			continue
		}
		a.held += held
		a.waiting += waiting
		if a.held == 0 && a.waiting == 0 {
			delete(h.accounts, a.party)
		}
	}
	h.taken += held
	if e.batch {
		h.batch += held
		h.batchWaiting += waiting
	}
}

// fits reports whether there is a place for e. If there is, nobody waits for it: a place that
// somebody in the queue could use is never free.
func (h *bulkhead) fits(e *entry) bool {
	return h.places.admits(h.taken, h.batch, e.heldBeyond(h.places.share), e.batch)
}

// enter takes a place for c, waiting for one for at most wait. Without one it returns
// why, for people, or as error the cause of a ctx that was cancelled.
func (h *bulkhead) enter(ctx context.Context, c *call.Call, wait time.Duration) (_ *entry, why string, _ error) {
	h.mu.Lock()
	e := h.entryOf(c)
	if h.fits(e) {
		h.settle(e, 1, 0)
		h.mu.Unlock()
		return e, "", nil
	}
	if wait <= 0 || !h.queue.admits(h.line.Len(), h.batchWaiting, e.waitingBeyond(h.queue.share), e.batch) {
		why = h.refuse(e)
		h.settle(e, 0, 0)
		h.mu.Unlock()
		return nil, why, nil
	}
	e.granted = make(chan struct{})
	place := h.line.PushBack(e)
	h.settle(e, 0, 1)
	h.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-e.granted:
		return e, "", nil
	case <-timer.C:
	case <-ctx.Done():
		_, err = givenUp(ctx, 0)
	}
	return h.leaveQueue(e, place, err)
}

// leaveQueue is for a call whose time is over or whose caller went away. It may have got
// its place in the same moment: one in time is used, an abandoned one given back.
func (h *bulkhead) leaveQueue(e *entry, place *list.Element, err error) (_ *entry, why string, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-e.granted:
		if err != nil {
			h.release(e)
			return nil, "", err
		}
		return e, "", nil
	default:
	}
	h.line.Remove(place)
	if err == nil {
		why = h.refuse(e)
	}
	h.settle(e, 0, -1)
	return nil, why, err
}

// refuse counts a refusal and says why it is one.
func (h *bulkhead) refuse(e *entry) string {
	over := func(a *account) bool {
		return a != nil && (a.held >= h.places.share || a.waiting >= h.queue.share && a.waiting > 0)
	}
	switch {
	case h.places.share == h.places.max: // nothing is shared
	case over(e.caller):
		h.refusedShare++
		return fmt.Sprintf("This caller has its share of the calls that this upstream may have in flight, %d of %d; "+
			"what is left is for other callers. Wait for some of them to end.", h.places.share, h.places.max)
	case over(e.enterprise):
		h.refusedShare++
		return fmt.Sprintf("The calls for this enterprise have their share of those that this upstream may have in flight, "+
			"%d of %d; what is left is for other enterprises. Wait for some of them to end.", h.places.share, h.places.max)
	}
	h.refused++
	return "The upstream has as many calls in flight as the gateway allows, and the queue is full " +
		"or did not move in time."
}

// leave gives a place back.
func (h *bulkhead) leave(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release(e)
}

// release gives the place of e to whoever is first in the queue, if it is of use there.
func (h *bulkhead) release(e *entry) {
	h.settle(e, -1, 0)
	for h.line.Len() > 0 && h.taken < h.places.max {
		var first *list.Element
		for at := h.line.Front(); at != nil; at = at.Next() {
			if w := at.Value.(*entry); h.fits(w) && (first == nil || w.before(first.Value.(*entry), h.places.share)) {
				first = at
			}
		}
		if first == nil {
			return
		}
		w := h.line.Remove(first).(*entry)
		h.settle(w, 1, -1)
		close(w.granted)
	}
}

// Bulkhead is the layer below Rate. It bounds how many calls are in flight, shares them
// fairly between callers and enterprises and, if there is no place, lets some wait; who
// finds no place, or gets none in time, is refused with ErrBulkheadFull as 503. A place is
// held until the answer's body has ended or was closed, since a download uses the upstream
// as much as a slow answer does.
func (u *Upstream) Bulkhead(next call.Sender) call.Sender {
	if u.bulkhead == nil {
		return next
	}
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		place, err := u.enterBulkhead(ctx, c)
		if err != nil {
			call.CloseBody(r)
			return nil, err
		}
		held := true
		defer func() {
			if held {
				u.bulkhead.leave(place)
			}
		}()
		answer, err := next.Send(ctx, c, r)
		if err != nil {
			return nil, err
		}
		if !empty(answer) {
			answer.Body = &endedBody{ReadCloser: answer.Body, end: func(error) { u.bulkhead.leave(place) }}
			held = false
		}
		return answer, nil
	})
}

// enterBulkhead waits for a place and notes for how long.
func (u *Upstream) enterBulkhead(ctx context.Context, c *call.Call) (*entry, error) {
	s := &u.o.Settings.Concurrency
	start := u.o.Now()
	place, why, err := u.bulkhead.enter(ctx, c, max(s.Wait, c.PaceLeft(start)))
	c.Record.Phases.Limits += u.o.Now().Sub(start)
	if place != nil || err != nil {
		return place, err
	}
	// After Wait all who wait now have left the queue: that much is known.
	why += " Nothing was sent. Try again after the time in Retry-After, with fewer calls at once."
	return nil, problem.Unavailable(why, max(s.Wait, time.Second)).Proxy(problem.ProxyConnectionLimit).
		Because(ErrBulkheadFull)
}
