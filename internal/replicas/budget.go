package replicas

import (
	"context"
	"errors"
	"sync"
	"time"

	"ebox-gateway/internal/call"
)

// budget is how long one request may wait for Redis in all, however often it asks: for
// the rates of its enterprise, its caller and its upstream, for two partitions of the
// cache. A Redis that answers each time just before the patience ends would otherwise
// cost it many times the patience.
const budget = 50 * time.Millisecond

const (
	// strikes are how many requests, within striking, may use up their budget before
	// Redis is left alone.
	strikes  = 5
	striking = 10 * time.Second
)

var (
	// errSpent is what a request gets that has waited for Redis long enough.
	errSpent = errors.New("asking Redis: this request has waited for it long enough")
	errSlow  = errors.New("Redis answers, but so slowly that requests use up the time that they may wait for it")
)

// call makes one call, or a few, bounded by the patience as a whole and by what is left
// of the request's allowance. Whoever gets an error goes on without Redis. While the circuit
// is open the error comes at once.
func (r *Redis) call(ctx context.Context, a *call.Allowance, f func(ctx context.Context) error) error {
	if a == nil { // nobody's request
		return r.attempt(ctx, false, r.patience, f)
	}
	whole := max(budget, r.patience)
	left := whole - a.Spent()
	if left <= 0 {
		return errSpent
	}
	done, err := r.circuit.admit(false)
	if err != nil {
		return err
	}
	patience := min(r.patience, left)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err = f(limited)
	a.Spend(time.Since(began))
	v := judge(ctx, err)
	if v == away && patience < r.patience && limited.Err() != nil {
		v = neutral // it had less time than Redis may take
	}
	if v != away && a.Spent() >= whole && r.slow.strike(r.now()) {
		v, err = away, errSlow
	}
	done(v, err)
	return err
}

// slowness counts the requests that used up their budget.
type slowness struct {
	mu    sync.Mutex
	begun time.Time
	count int
}

// strike counts one, and tells whether they are too many.
func (s *slowness) strike(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 || now.Sub(s.begun) > striking {
		s.begun, s.count = now, 0
	}
	if s.count++; s.count < strikes {
		return false
	}
	s.count = 0
	return true
}
