package resilience

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ebox-gateway/internal/problem"
)

// probes is how many calls a half-open circuit lets pass, and how many of them
// must succeed for it to close.
const probes = 3

// probeWait is the Retry-After of a call that came while others were probing. How
// long they take is not known; a moment later it will be.
const probeWait = time.Second

// outcome is what a call said about the upstream.
type outcome uint8

const (
	// neutral says nothing: the caller went away, or the gateway itself failed.
	neutral outcome = iota
	// succeeded is an answer, whatever it says.
	succeeded
	// unreached is a connection that was never made, whoever the call was for.
	unreached
	// failed is a failure that may have to do with whom the call was for.
	failed
)

// What the breaker library is told about neutral calls and failures.
var (
	errNeutral = errors.New("says nothing")
	errFailed  = errors.New("failed")
)

// breaker is gobreaker's two-step breaker with what it does not have: the time that
// an open circuit has left, blame by enterprise, and calls that last longer than a
// step of the window. All times are durations since base, of the monotonic clock.
type breaker struct {
	settings BreakerSettings
	name     string
	log      *slog.Logger
	base     time.Time
	step     time.Duration
	cb       *gobreaker.TwoStepCircuitBreaker[struct{}]
	ledger   *ledger

	// era counts the changes of state, with the state itself in the last two bits.
	era       atomic.Uint64
	openUntil atomic.Int64 // a time.Duration
	quietFrom atomic.Int64 // a time.Duration: half-open, and no probe has failed, since then
	opened    atomic.Uint64
	refused   atomic.Uint64

	mu sync.Mutex
	// barred failed as a probe: until barredUntil the circuit is open for it alone,
	// so that it can neither open it again for all nor use up every probe.
	barred      tenant
	barredUntil time.Duration // 0 is none

	// changes wait for the log: gobreaker tells of them under its mutex, where
	// nobody may write or call it.
	changesMu sync.Mutex
	changes   []change
	unlogged  atomic.Bool
}

type change struct {
	to              gobreaker.State
	calls, failures uint32
}

func newBreaker(o Options) *breaker {
	s := o.Settings.Breaker
	if s.FailureRatio <= 0 {
		s.FailureRatio = 0.5
	}
	if s.Window <= 0 {
		s.Window = 30 * time.Second
	}
	if s.Open <= 0 {
		s.Open = 15 * time.Second
	}
	b := &breaker{
		settings: s, name: o.Name, log: o.Log, base: time.Now(),
		step: max(s.Window/windowSteps, 1), ledger: newLedger(s.Window),
	}
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: o.Name, MaxRequests: probes, Interval: s.Window, BucketPeriod: b.step, Timeout: s.Open,
		ReadyToTrip: b.trips, OnStateChange: b.changed,
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return err == errNeutral },
	})
	return b
}

// clock is gobreaker's clock, which cannot be given another.
func (b *breaker) clock() time.Duration { return time.Since(b.base) }

// trips is asked by gobreaker, under its mutex, after each failure. Calls that have
// not ended are left out: they have neither failed nor succeeded.
func (b *breaker) trips(c gobreaker.Counts) bool {
	now := b.clock()
	calls, failures := c.TotalSuccesses+c.TotalFailures, c.TotalFailures
	if int64(calls) < int64(b.settings.MinRequests) || float64(failures) < b.settings.FailureRatio*float64(calls) {
		return false
	}
	if !b.ledger.widespread(calls, failures, b.settings.FailureRatio, now) {
		return false
	}
	b.note(change{gobreaker.StateOpen, calls, failures})
	return true
}

// changed is told by gobreaker, under its mutex.
func (b *breaker) changed(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		b.openUntil.Store(int64(b.clock() + b.settings.Open))
		b.opened.Add(1)
	}
	if to == gobreaker.StateHalfOpen {
		b.quietFrom.Store(b.openUntil.Load()) // which was over, perhaps long before anybody looked
	}
	b.ledger.forget()
	b.mu.Lock()
	b.barredUntil = 0
	b.mu.Unlock()
	b.era.Store((b.era.Load()>>2+1)<<2 | uint64(to))
	if from != gobreaker.StateClosed { // opening was noted with its numbers
		b.note(change{to: to})
	}
}

func (b *breaker) note(c change) {
	b.changesMu.Lock()
	b.changes = append(b.changes, c)
	b.changesMu.Unlock()
	b.unlogged.Store(true)
}

// announce logs what changed; it must be called outside of gobreaker.
func (b *breaker) announce() {
	if !b.unlogged.Load() || !b.unlogged.CompareAndSwap(true, false) {
		return
	}
	b.changesMu.Lock()
	changes := b.changes
	b.changes = nil
	b.changesMu.Unlock()
	for _, c := range changes {
		switch c.to {
		case gobreaker.StateClosed:
			b.log.Info("circuit closed: the upstream answers again", "upstream", b.name)
		case gobreaker.StateHalfOpen:
			b.log.Info("circuit half-open: a few calls probe the upstream", "upstream", b.name)
		case gobreaker.StateOpen:
			if c.calls == 0 {
				b.log.Warn("circuit open again: a probe failed", "upstream", b.name, "for", b.settings.Open)
				continue
			}
			b.log.Warn("circuit open: too many calls failed", "upstream", b.name, "for", b.settings.Open,
				"calls", c.calls, "failures", c.failures)
		}
	}
}

// try is one try that the breaker let pass. It must be settled exactly once.
type try struct {
	done  func(error)
	who   tenant
	era   uint64
	began time.Duration
}

func stateOf(era uint64) gobreaker.State { return gobreaker.State(era & 3) }

// probing tells whether the call decides about a half-open circuit.
func (c *try) probing() bool { return stateOf(c.era) == gobreaker.StateHalfOpen }

// admit lets a call pass or says why not: the error is a 503 with the time left.
func (b *breaker) admit(who tenant) (try, error) {
	now := b.clock()
	b.ledger.arrived(who, now)
	if stateOf(b.era.Load()) == gobreaker.StateHalfOpen {
		if left := b.barredFor(who, now); left > 0 {
			return try{}, b.refuse(left)
		}
	}
	done, err := b.cb.Allow()
	b.announce()
	switch {
	case err == nil:
		c := try{done: done, who: who, era: b.era.Load(), began: now}
		if c.probing() {
			c.done = b.bounded(done)
		}
		return c, nil
	case errors.Is(err, gobreaker.ErrOpenState):
		return try{}, b.refuse(max(time.Duration(b.openUntil.Load())-now, 1))
	default:
		return try{}, b.refuse(probeWait)
	}
}

// bounded lets a probe go that has not ended when another could have begun, as a
// long upload would not: its place goes to another call, and its end says nothing.
// Nobody else could call while it lasts, and if it never ended, nobody ever.
func (b *breaker) bounded(done func(error)) func(error) {
	var once sync.Once
	timer := time.AfterFunc(b.settings.Open, func() { once.Do(func() { done(errNeutral) }) })
	return func(err error) {
		timer.Stop()
		once.Do(func() { done(err) })
	}
}

func (b *breaker) refuse(wait time.Duration) error {
	b.refused.Add(1)
	return problem.Unavailable("The upstream has been failing and is not called for the moment, so that it can recover. "+
		"Nothing was sent. Try again after the time in Retry-After.", wait).Because(ErrCircuitOpen)
}

// settle reports what came of a call.
func (b *breaker) settle(c *try, o outcome) {
	now := b.clock()
	switch {
	case c.probing():
		c.done(b.verdict(c.who, o, now))
	case b.era.Load() != c.era: // it began before the circuit changed: an old story
		c.done(errNeutral)
	default:
		b.count(c, o, now)
	}
	b.announce()
}

// count counts a call of a closed circuit.
func (b *breaker) count(c *try, o outcome, now time.Duration) {
	var err error
	switch o {
	case neutral:
		c.done(errNeutral)
		return
	case succeeded:
		b.ledger.succeeded(c.who, now)
	case unreached:
		err = errFailed
	case failed:
		b.ledger.failed(c.who, now)
		err = errFailed
	}
	if now-c.began <= b.step {
		c.done(err)
		return
	}
	// gobreaker counts a call where it began, and one that lasted as long as the
	// window not at all. An upstream that hangs until the header time-out would
	// never open its circuit; so the call is counted now, when its outcome is known.
	c.done(errNeutral)
	if done, refused := b.cb.Allow(); refused == nil {
		done(err)
	}
}

// verdict is what a probe decides. A failure that may be one enterprise's alone
// shuts out that enterprise for as long as an open circuit would; the second
// enterprise to fail opens the circuit for all.
func (b *breaker) verdict(who tenant, o outcome, now time.Duration) error {
	switch o {
	case succeeded:
		return nil
	case neutral:
		return errNeutral
	case unreached:
		return errFailed
	}
	if b.ledger.alone(now) {
		return errFailed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.barredUntil > now && b.barred != who {
		return errFailed
	}
	b.barred, b.barredUntil = who, now+b.settings.Open
	b.quietFrom.Store(int64(now))
	return errNeutral
}

func (b *breaker) barredFor(who tenant, now time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.barred != who {
		return 0
	}
	return b.barredUntil - now
}

// closed tells whether calls pass freely.
func (b *breaker) closed() bool { return stateOf(b.era.Load()) == gobreaker.StateClosed }

// circuit is the state for people, and until when an open one stays open.
func (b *breaker) circuit() (Circuit, time.Time) {
	state := b.cb.State() // an open circuit whose time is over becomes half-open here
	b.announce()
	switch state {
	case gobreaker.StateOpen:
		return Open, b.base.Add(time.Duration(b.openUntil.Load()))
	case gobreaker.StateHalfOpen:
		return HalfOpen, time.Time{}
	}
	return Closed, time.Time{}
}

// untried is since when a half-open circuit has seen no failure, if that is longer
// than the window in which a closed one would have forgotten it; else zero.
func (b *breaker) untried() time.Time {
	quiet := time.Duration(b.quietFrom.Load())
	if stateOf(b.era.Load()) != gobreaker.StateHalfOpen || b.clock()-quiet <= b.settings.Window {
		return time.Time{}
	}
	return b.base.Add(quiet)
}
