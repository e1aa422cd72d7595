package resilience

import (
	"errors"
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

// How a call counts for a circuit, as the library is told; nil is a success.
var (
	errIgnored = errors.New("says nothing")
	errFailed  = errors.New("failed")
	// errHeld does not count, but for each failure that does one such makes up for a call of MinRequests.
	errHeld = errors.New("failed for one enterprise alone")
	// errFrozen opens the circuit, however few calls there were.
	errFrozen = errors.New("failed, as the upstream is frozen")
)

// circuit is gobreaker's two-step breaker, with what it does not tell: how long it stays open.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	open   time.Duration
	until  atomic.Pointer[time.Time] // when an open circuit becomes half-open
	opened atomic.Uint64             // how often it has
}

// newCircuit makes a closed circuit. changed is told of changes, with the calls that opened it, under
// the library's mutex: it must not call the circuit.
func newCircuit(s config.Breaker, changed func(from, to gobreaker.State, calls, failures int)) *circuit {
	c := &circuit{open: s.Open}
	c.until.Store(new(time.Time))
	var calls, failures int
	frozen := false
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: probes, Interval: s.Window, BucketPeriod: max(s.Window/windowSteps, 1), Timeout: s.Open,
		IsExcluded: func(err error) bool { return err == errIgnored || err == errHeld },
		// For each failure the library asks first whether it is one, then whether to open, under one mutex.
		IsSuccessful: func(err error) bool { frozen = err == errFrozen; return err == nil },
		ReadyToTrip: func(n gobreaker.Counts) bool {
			calls, failures = int(n.TotalSuccesses+n.TotalFailures), int(n.TotalFailures)
			held := min(int(n.TotalExclusions), failures)
			return frozen || calls+held >= s.MinRequests && float64(failures) >= s.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				until := time.Now().Add(s.Open)
				c.until.Store(&until)
				c.opened.Add(1)
			}
			changed(from, to, calls, failures)
		},
	})
	return c
}

// pass is a call that a circuit let pass.
type pass struct {
	circuit *circuit // nil for none
	opened  uint64
	// probe is the second step of a probe, nil for a call of a closed circuit.
	probe func(error)
}

// enter lets a call pass, or says how long to wait.
func (c *circuit) enter() (pass, time.Duration) {
	p := pass{circuit: c, opened: c.opened.Load()}
	switch c.State() {
	case gobreaker.StateClosed:
		return p, 0
	case gobreaker.StateHalfOpen:
		if done, err := c.Allow(); err == nil {
			// The library waits for ever for a probe. One that has not ended when another could have
			// begun, as a long upload, gives its place to that, and its end says nothing.
			timer := time.AfterFunc(c.open, func() { done(errIgnored) })
			p.probe = func(err error) {
				if timer.Stop() {
					done(err)
				}
			}
			return p, 0
		}
	case gobreaker.StateOpen:
	}
	if left := time.Until(*c.until.Load()); left > 0 {
		return pass{}, left
	}
	return pass{}, probeWait
}

// outdated tells that the circuit has opened since the call began, which then says nothing.
func (p *pass) outdated() bool { return p.probe == nil && p.circuit.opened.Load() != p.opened }

// end reports how the call counts: nil or one of the errors above.
//
// gobreaker counts a call in the step of the window in which it began, and one that lasted
// as long as the window not at all: an upstream that hangs until the header time-out would
// never open its circuit. So the two steps of a call of a closed circuit are made together,
// when it has ended.
func (p *pass) end(err error) {
	switch {
	case p.circuit == nil:
	case p.probe != nil:
		p.probe(err)
	case err != errIgnored && !p.outdated():
		if done, refused := p.circuit.Allow(); refused == nil {
			done(err)
		}
	}
}
