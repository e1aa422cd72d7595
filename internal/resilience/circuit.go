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
	// probes is how many calls a half-open circuit lets pass, and how many of them
	// must succeed for it to close.
	probes = 3
	// probeWait is the least Retry-After of a refusal, also of a call that came while others were
	// probing. How long they take is not known; a moment later it will be.
	probeWait = time.Second
	// windowSteps is in how many steps a window slides.
	windowSteps = 10
)

// How a call counts for a circuit, as the library gets it; nil is a success.
var (
	errIgnored = errors.New("says nothing")
	errFailed  = errors.New("failed")
	// errHeld does not count, but for each failure that does one such makes up for a call of MinRequests.
	errHeld = errors.New("failed for one enterprise alone")
	// errFrozen opens the circuit, however few calls there were.
	errFrozen = errors.New("failed, as the upstream is frozen")
)

// circuit is gobreaker's two-step breaker, with what it does not say: since when and until when
// it is open. Everything of it is used while its owner's mutex is held.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	mu            *sync.Mutex
	open          time.Duration
	opened, until time.Time // when it last opened, and when it becomes half-open
	failed        time.Time // when a call last failed, whether or not it counted
	frozen        bool      // the failure that is counted now opens it
}

// changes are what the log says of a circuit that changes.
var changes = map[gobreaker.State]string{
	gobreaker.StateClosed:   "circuit closed: the upstream answers again",
	gobreaker.StateHalfOpen: "circuit half-open: a few calls probe the upstream",
	gobreaker.StateOpen:     "circuit open: too many calls failed, or a probe did, or none was answered",
}

// newCircuit makes a closed circuit that writes its changes into log and then calls changed, which
// must not use the circuit.
func newCircuit(s config.Breaker, mu *sync.Mutex, log *slog.Logger, changed func(to gobreaker.State)) *circuit {
	c := &circuit{mu: mu, open: s.Open}
	var calls, failures int // those that opened it
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: probes, Interval: s.Window, BucketPeriod: max(s.Window/windowSteps, 1), Timeout: s.Open,
		IsExcluded: func(err error) bool { return err == errIgnored || err == errHeld },
		ReadyToTrip: func(n gobreaker.Counts) bool {
			calls, failures = int(n.TotalSuccesses+n.TotalFailures), int(n.TotalFailures)
			held := min(int(n.TotalExclusions), failures)
			return c.frozen || calls+held >= s.MinRequests && float64(failures) >= s.FailureRatio*float64(calls)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.opened = time.Now()
				c.until = c.opened.Add(s.Open)
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
	return nil, max(time.Until(c.until), probeWait)
}

// outdated reports whether the circuit has opened since a call began, which then says nothing.
func (c *circuit) outdated(probe func(error), began time.Time) bool {
	return probe == nil && !began.After(c.opened)
}

// end counts a call as nil or one of the errors above.
//
// gobreaker counts a call in the step of the window in which it began, and one that lasted
// as long as the window not at all: an upstream that hangs until the header time-out would
// never open its circuit. So the two steps of a call of a closed circuit are made together,
// when it has ended.
func (c *circuit) end(probe func(error), began time.Time, err error) {
	if probe == nil {
		if err == errIgnored || c.outdated(probe, began) {
			return
		}
		done, refused := c.Allow()
		if refused != nil {
			return
		}
		probe = done
	}
	c.frozen = err == errFrozen
	if err != nil && err != errIgnored {
		c.failed = time.Now()
	}
	probe(err)
}
