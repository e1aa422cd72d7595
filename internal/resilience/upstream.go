package resilience

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Upstream is the protection of one upstream. It outlives reloads and is safe for
// concurrent use. Its four layers belong around one transport in this order, from
// the outside in: Retry, whatever gets the token, Rate, Bulkhead, Breaker.
//
// Every try passes Rate, Bulkhead and Breaker anew, so a retry is paid for like a
// call; a try that Rate or Bulkhead refuses is not held against the upstream; and
// a token that could not be had has passed none of them.
type Upstream struct {
	o Options

	// Those that the settings do without are nil.
	breaker  *breaker
	bulkhead *queue
	rate     *line
	budget   budget

	refusedRate atomic.Uint64
}

// NewUpstream makes the protection of one upstream, its circuit closed, its rate
// unspent. It starts no goroutine and needs no closing.
func NewUpstream(o Options) *Upstream {
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	u := &Upstream{o: o, budget: budget{balance: maxBalance}}
	if o.Settings.Breaker.Enabled {
		u.breaker = newBreaker(o)
	}
	if c := o.Settings.Concurrency; c.Max > 0 {
		u.bulkhead = newQueue(c.Max, c.Queue, c.Share, batchPart)
	}
	if r := o.Settings.Rate; r.PerSecond > 0 {
		u.rate = newLine(o.Shared, o.SharedName, r, batchPart, o.Now)
	}
	return u
}

// Circuit is the state of a circuit breaker.
type Circuit string

// The states of a circuit. An upstream without a breaker is always closed.
const (
	// Closed lets every call pass.
	Closed Circuit = "closed"
	// Open lets none pass until State.Until.
	Open Circuit = "open"
	// HalfOpen lets a few pass to see how they fare.
	HalfOpen Circuit = "half-open"
)

// State is what status and metrics show of an upstream. The counts only grow.
type State struct {
	// Circuit is the breaker's state; Until is when an open circuit becomes
	// half-open, zero otherwise.
	Circuit Circuit   `json:"circuit"`
	Until   time.Time `json:"openUntil,omitzero"`
	// UntriedSince is since when a half-open circuit has seen no failure, once that is
	// longer than its window: nobody calls, or too few do to close it. Zero otherwise.
	UntriedSince time.Time `json:"untriedSince,omitzero"`
	// OpenFor are the enterprises, "own" for the client's own e-Box, for which alone the
	// circuit is not closed. It is shown as theirs while nobody else was answered.
	OpenFor []string `json:"openFor,omitempty"`
	// Opened counts how often the circuit opened for all.
	Opened uint64 `json:"opened"`
	// InFlight and Queued are the calls that have a place and that wait for one.
	InFlight int `json:"inFlight"`
	Queued   int `json:"queued"`
	// Retries counts the tries after the first; RetriesDenied those that would
	// have been made if the budget had allowed them.
	Retries       uint64 `json:"retries"`
	RetriesDenied uint64 `json:"retriesDenied"`
	// RefusedOpen, RefusedFull, RefusedShare and RefusedRate count the tries that were
	// refused by the breaker, by the bulkhead since it was full, by the bulkhead since the
	// caller or the enterprise had its share of it, and by the rate.
	RefusedOpen  uint64 `json:"refusedOpen"`
	RefusedFull  uint64 `json:"refusedFull"`
	RefusedShare uint64 `json:"refusedShare"`
	RefusedRate  uint64 `json:"refusedRate"`
}

// State shows the upstream as it is now.
func (u *Upstream) State() State {
	s := State{Circuit: Closed, RefusedRate: u.refusedRate.Load()}
	u.budget.mu.Lock()
	s.Retries, s.RetriesDenied = u.budget.spent, u.budget.denied
	u.budget.mu.Unlock()
	if b := u.breaker; b != nil {
		b.show(&s)
	}
	if q := u.bulkhead; q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		s.InFlight, s.Queued = q.places.all, q.waiting.all
		s.RefusedFull, s.RefusedShare = q.refused, q.refusedShare
	}
	return s
}
