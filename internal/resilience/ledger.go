package resilience

import (
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
)

// tenant is whom a call was for, as far as the blame for a failure goes.
type tenant struct {
	number enterprise.Number
	own    bool
}

func tenantOf(c *call.Call) tenant { return tenant{c.Enterprise, c.Own} }

const (
	// windowSteps is in how many steps a window slides.
	windowSteps = 10
	// maxSuspects bounds how many failing enterprises are told apart. Beyond it a
	// new one takes the place of the one that failed least: with so many failing,
	// none of them is to blame alone.
	maxSuspects = 64
)

// ledger remembers which enterprises failed in the window, so that one whose every
// call fails (a mandate that an upstream answers with 503, a mailbox that times
// out) does not close the way for the others. It knows the enterprises that failed
// and nothing about the rest, which keeps it small and the healthy case cheap.
type ledger struct {
	window time.Duration

	mu sync.Mutex
	// seen are the last two different enterprises and when they last called: enough
	// to know whether the window saw more than one.
	seen     [2]sighting
	step     int64 // counted since the beginning of time
	suspects map[tenant]*suspect
}

type sighting struct {
	who tenant
	at  time.Duration
	ok  bool
}

// suspect is an enterprise that failed in the window: all of its calls since then,
// and how many failed, by step.
type suspect struct {
	calls, failures [windowSteps]uint32
}

func (s *suspect) sums() (calls, failures uint32) {
	for i := range s.calls {
		calls += s.calls[i]
		failures += s.failures[i]
	}
	return calls, failures
}

func newLedger(window time.Duration) *ledger {
	return &ledger{window: window, suspects: make(map[tenant]*suspect)}
}

// arrived notes that who calls, at a moment of the breaker's clock.
func (l *ledger) arrived(who tenant, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.seen[0].ok && l.seen[0].who == who:
		l.seen[0].at = at
	case l.seen[1].ok && l.seen[1].who == who, !l.seen[1].ok && l.seen[0].ok:
		l.seen[1] = sighting{who, at, true}
	case !l.seen[0].ok || l.seen[0].at <= l.seen[1].at:
		l.seen[0] = sighting{who, at, true}
	default:
		l.seen[1] = sighting{who, at, true}
	}
}

// alone tells whether the window saw one enterprise only.
func (l *ledger) alone(at time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aloneLocked(at)
}

func (l *ledger) aloneLocked(at time.Duration) bool {
	for _, s := range l.seen {
		if !s.ok || at-s.at > l.window {
			return true
		}
	}
	return false
}

// succeeded counts a call in favour of who, if it is under suspicion.
func (l *ledger) succeeded(who tenant, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.suspects) == 0 {
		return
	}
	i := l.slide(at)
	if s := l.suspects[who]; s != nil {
		s.calls[i]++
	}
}

// failed counts a failure that may be who's alone.
func (l *ledger) failed(who tenant, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.slide(at)
	s := l.suspects[who]
	if s == nil {
		if len(l.suspects) == maxSuspects {
			l.dropLeast()
		}
		s = new(suspect)
		l.suspects[who] = s
	}
	s.calls[i]++
	s.failures[i]++
}

func (l *ledger) dropLeast() {
	var (
		least    tenant
		fewest   uint32
		selected bool
	)
	for who, s := range l.suspects {
		if _, failures := s.sums(); !selected || failures < fewest {
			least, fewest, selected = who, failures, true
		}
	}
	delete(l.suspects, least)
}

// slide empties the steps that the window has left and returns the place of the
// present one.
func (l *ledger) slide(at time.Duration) int {
	step := int64(at / max(l.window/windowSteps, 1))
	for gone := min(step-l.step, windowSteps); gone > 0; gone-- {
		i := (step - gone + 1) % windowSteps
		for who, s := range l.suspects {
			s.calls[i], s.failures[i] = 0, 0
			if _, failures := s.sums(); failures == 0 {
				delete(l.suspects, who)
			}
		}
	}
	l.step = max(l.step, step)
	return int(l.step % windowSteps)
}

// widespread tells whether the failures among the calls of the window are the
// upstream's: the ratio must be reached without the enterprise that failed most,
// unless it is the only one. Failures to connect are nobody's in particular and
// stay in.
func (l *ledger) widespread(calls, failures uint32, ratio float64, at time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aloneLocked(at) {
		return true
	}
	l.slide(at)
	var worstCalls, worstFailures uint32
	for _, s := range l.suspects {
		if c, f := s.sums(); f > worstFailures {
			worstCalls, worstFailures = c, f
		}
	}
	// The breaker's window may stand up to a step beside this one: no underflow.
	restFailures := failures - min(failures, worstFailures)
	rest := max(calls-min(calls, worstCalls), restFailures)
	return restFailures > 0 && float64(restFailures) >= ratio*float64(rest)
}

// forget ends all suspicion, when the circuit changes.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.suspects)
}
