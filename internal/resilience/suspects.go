package resilience

import (
	"math"
	"time"

	"github.com/sony/gobreaker/v2"
)

// maxSuspects bounds how many failing enterprises are told apart. Beyond it a new one
// takes the place of the one that failed least.
const maxSuspects = 64

// suspect is an enterprise that failed.
type suspect struct {
	*circuit
	failed, answered time.Time // last
}

// suspect is who's own circuit, nil if it has not failed.
func (b *breaker) suspect(who tenant) *suspect {
	if !b.watching.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.suspects[who]
}

// attach has a call count for a suspect's circuit that is younger than the call.
func (b *breaker) attach(t *try, s *suspect) {
	if t.own.circuit == nil {
		t.own = pass{circuit: s.circuit, era: s.era.Load()}
	}
}

// newSuspect makes room for an enterprise that fails, and its circuit.
func (b *breaker) newSuspect(who tenant, now time.Time) *suspect {
	if least := b.sweep(now); len(b.suspects) >= maxSuspects {
		delete(b.suspects, least)
	}
	s := &suspect{failed: now}
	s.circuit = newCircuit(b.settings, func(from, to gobreaker.State, _ gobreaker.Counts) {
		switch to {
		case gobreaker.StateOpen:
			b.log.Warn("circuit open for one enterprise: its calls failed", "upstream", b.name, "enterprise", who.String(),
				"for", b.settings.Open)
		case gobreaker.StateClosed:
			b.log.Info("circuit closed for one enterprise: its calls are answered again", "upstream", b.name,
				"enterprise", who.String())
		case gobreaker.StateHalfOpen:
		}
	})
	b.suspects[who] = s
	return s
}

// sweep forgets those who have not failed in the window, and tells who failed least.
func (b *breaker) sweep(now time.Time) (least tenant) {
	b.swept = now
	fewest := uint32(math.MaxUint32)
	for who, s := range b.suspects {
		if n := b.failures(s, now); n == 0 {
			delete(b.suspects, who)
		} else if n <= fewest {
			least, fewest = who, n
		}
	}
	return least
}

// failures is how often a suspect failed in the window; beyond counting while its circuit is
// not closed. 0 means that it can be forgotten.
func (b *breaker) failures(s *suspect, now time.Time) uint32 {
	switch {
	case s.State() == gobreaker.StateClosed:
		return s.Counts().TotalFailures
	case now.Sub(s.failed) > b.settings.Window+b.settings.Open:
		return 0
	}
	return math.MaxUint32
}

// othersFailed is how often the one of the others failed that failed most; beyond counting
// if its circuit is not closed, and then more often than anybody.
func (b *breaker) othersFailed(s *suspect, now time.Time) (most uint32) {
	for _, other := range b.suspects {
		if other != s {
			most = max(most, b.failures(other, now))
		}
	}
	return most
}

// worst is how many failures of the enterprise that failed most the circuit of all has not
// counted: those of one whose circuit is not closed are as many as that took.
func (b *breaker) worst(now time.Time) (n int64) {
	for _, s := range b.suspects {
		n = max(n, int64(min(b.failures(s, now), uint32(max(b.settings.MinRequests, 0)))))
	}
	return n
}
