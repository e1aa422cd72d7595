package resilience

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/config"
)

const (
	// probes is how many calls a half-open circuit lets pass, and how many of them
	// must succeed for it to close.
	probes = 3
	// probeWait is the Retry-After of a call that came while others were probing. How
	// long they take is not known; a moment later it will be.
	probeWait = time.Second
	// windowSteps is in how many steps a window slides.
	windowSteps = 10
)

// How a call counts for a circuit, as the breaker library is told; nil is a success.
var (
	// errIgnored is a call that says nothing, errHeld a failure that does not count but shows
	// in the window.
	errIgnored = errors.New("says nothing")
	errHeld    = errors.New("failed for one enterprise alone")
	errFailed  = errors.New("failed")
	// errFrozen opens the circuit, however few calls there were.
	errFrozen = errors.New("failed, as the upstream is frozen")
)

// circuit is gobreaker's two-step breaker, with the time that it stays open.
//
// gobreaker counts a call in the step of the window in which it began, and one that lasted
// as long as the window not at all: an upstream that hangs until the header time-out would
// never open its circuit. So the two steps of a call of a closed circuit are made together,
// when it has ended; those of a probe are made as the library means them.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	open  time.Duration
	until atomic.Pointer[time.Time] // when an open circuit becomes half-open
	era   atomic.Uint64             // counts the changes of state
	trip  atomic.Bool               // the next failure opens it
}

// newCircuit makes a closed circuit. changed is told of changes, with the counts that opened
// it, under the library's mutex: it must not call the circuit.
func newCircuit(s config.Breaker, changed func(from, to gobreaker.State, n gobreaker.Counts)) *circuit {
	c := &circuit{open: s.Open}
	c.until.Store(new(time.Time))
	var counts gobreaker.Counts
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: probes, Interval: s.Window, BucketPeriod: max(s.Window/windowSteps, 1), Timeout: s.Open,
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return err == errIgnored || err == errHeld },
		ReadyToTrip: func(n gobreaker.Counts) bool {
			counts = n
			// For each failure that counts, one that is held counts for MinRequests.
			calls := n.TotalSuccesses + n.TotalFailures
			return c.trip.Load() || int(calls+min(n.TotalExclusions, n.TotalFailures)) >= s.MinRequests &&
				float64(n.TotalFailures) >= s.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				until := time.Now().Add(s.Open)
				c.until.Store(&until)
			}
			c.era.Add(1)
			changed(from, to, counts)
			counts = gobreaker.Counts{}
		},
	})
	return c
}

// pass is a call that a circuit let pass. done is its second step if it is a probe.
type pass struct {
	circuit *circuit // nil for none
	era     uint64
	done    func(error)
}

// enter lets a call pass, or says how long to wait.
func (c *circuit) enter() (pass, time.Duration) {
	p := pass{circuit: c, era: c.era.Load()}
	switch c.State() {
	case gobreaker.StateClosed:
		return p, 0
	case gobreaker.StateHalfOpen:
		if done, err := c.Allow(); err == nil {
			p.done = c.bounded(done)
			return p, 0
		}
	case gobreaker.StateOpen:
	}
	if left := time.Until(*c.until.Load()); left > 0 {
		return pass{}, left
	}
	return pass{}, probeWait
}

// bounded gives the place of a probe to another call if it has not ended when another could
// have begun, as a long upload would not, and its end says nothing. Otherwise nobody else
// could call while it lasts, and if it never ended, nobody ever.
func (c *circuit) bounded(done func(error)) func(error) {
	var once sync.Once
	timer := time.AfterFunc(c.open, func() { once.Do(func() { done(errIgnored) }) })
	return func(err error) {
		timer.Stop()
		once.Do(func() { done(err) })
	}
}

// outdated tells that the circuit has changed since the call began, which then says nothing.
func (p *pass) outdated() bool { return p.done == nil && p.circuit.era.Load() != p.era }

// end reports how the call counts: nil or one of the errors above.
func (p *pass) end(err error) {
	c := p.circuit
	if c == nil || p.done == nil && (err == errIgnored || p.outdated()) {
		return
	}
	done := p.done
	if done == nil {
		var refused error
		if done, refused = c.Allow(); refused != nil {
			return
		}
	}
	if err == errFrozen {
		c.trip.Store(true)
		defer c.trip.Store(false)
	}
	done(err)
}
