package resilience

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/config"
)

const (
	// probes is how many calls a half-open circuit lets pass, and how many of them must succeed for it to close.
	probes = 3
	// probeWait is the least Retry-After of a refusal, also of a call that came while others were
	// probing. How long they take is not known; a moment later it will be.
	probeWait = time.Second
	// windowSteps is in how many steps a window slides.
	windowSteps = 10
)

// How a call counts for a circuit; nil is a success. Only errFailed counts as a failure.
var (
	errIgnored = errors.New("says nothing about the upstream")
	errHeld    = errors.New("failed for one enterprise alone")
	errFailed  = errors.New("failed")
)

// circuit is gobreaker's two-step breaker, with what it does not tell: since when it is open. Everything of it
// is used while its owner's mutex is held.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	mu     *sync.Mutex
	open   time.Duration // how long it stays open
	opened time.Time     // when it last opened
	failed time.Time     // when a call last failed, counted or held
}

// changes are what the log says of a circuit that changes.
var changes = map[gobreaker.State]string{
	gobreaker.StateClosed:   "circuit closed: the upstream answers again",
	gobreaker.StateHalfOpen: "circuit half-open: a few calls probe the upstream",
	gobreaker.StateOpen:     "circuit open: too many calls failed, or a probe did",
}

// newCircuit makes a closed circuit that writes its changes into log and then calls changed, which
// must not use the circuit.
func newCircuit(s config.Breaker, mu *sync.Mutex, log *slog.Logger, changed func(to gobreaker.State)) *circuit {
	c := &circuit{mu: mu, open: s.Open}
	var calls, failures uint32 // those that opened it
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: probes, Interval: s.Window, BucketPeriod: max(s.Window/windowSteps, 1), Timeout: s.Open,
		IsExcluded: func(err error) bool { return err == errIgnored || err == errHeld },
		ReadyToTrip: func(n gobreaker.Counts) bool {
			calls, failures = n.TotalSuccesses+n.TotalFailures, n.TotalFailures
			return int(calls) >= s.MinRequests && float64(failures) >= s.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.opened = time.Now()
				log.Warn(changes[to], "was", from.String(), "for", s.Open, "calls", calls, "failures", failures)
				calls, failures = 0, 0 // a probe that opens it again is one call
			} else {
				log.Info(changes[to])
			}
			changed(to)
		},
	})
	return c
}

// until is when an open circuit becomes half-open.
func (c *circuit) until() time.Time { return c.opened.Add(c.open) }

// enter lets a call pass, or says how long to wait. probe, unless nil, is the second step of one
// that decides about a half-open circuit.
func (c *circuit) enter() (probe func(error), wait time.Duration) {
	switch c.State() {
	case gobreaker.StateClosed:
		return nil, 0
	case gobreaker.StateHalfOpen:
		if done, err := c.Allow(); err == nil {
			// The library waits for ever for a probe. One that has not ended when another could have
			// begun, as a long upload, gives its place to that, and its end says nothing.
			timer := time.AfterFunc(c.open, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				done(errIgnored)
			})
			return func(err error) {
				if timer.Stop() {
					done(err)
				}
			}, 0
		}
	case gobreaker.StateOpen:
	}
	return nil, max(time.Until(c.until()), probeWait)
}

// end counts a call: nil or one of the errors above. One that began before the circuit opened says nothing.
//
// gobreaker counts a call in the step of the window in which it began, and one that lasted
// as long as the window not at all: an upstream that hangs until the header time-out would
// never open its circuit. So the two steps of a call of a closed circuit are made together,
// when it has ended.
func (c *circuit) end(probe func(error), began time.Time, err error) {
	if !began.After(c.opened) {
		err = errIgnored
	}
	if err == errFailed || err == errHeld {
		c.failed = time.Now()
	}
	if probe != nil {
		probe(err)
	} else if err != errIgnored {
		if done, refused := c.Allow(); refused == nil {
			done(err)
		}
	}
}
