package replicas

import (
	"math"
	"time"
)

const (
	// trickle is how fast a share fills up while its replica spends the rates in Redis:
	// slowly, since it comes on top of them. Over a minute that is two hundredths.
	trickle = 0.02
	// keptFor is the most that a share holds, as time at the whole rate. It is what is
	// there when Redis goes away, before the place is over.
	keptFor = time.Second
)

// share is a replica's own part of a rate, spent while Redis is away. It is a token
// bucket that fills up while the replica is on its own.
type share struct {
	level, paced float64
	// alone and at are when the levels were brought up to date.
	alone time.Duration
	at    time.Time
	begun bool
}

// ceiling is the most that a share of spec holds: at least a call.
func (s Spec) ceiling(part float64) float64 {
	return max(1, part*min(float64(s.Burst), s.PerSecond*keptFor.Seconds()))
}

// take spends a token of the share, or tells how long it takes until there is one.
func (h *share) take(s *Spec, m *members, now time.Time, batch bool) time.Duration {
	alone, left, part := m.apart(now)
	rate := s.PerSecond * part
	top := s.ceiling(part)
	if !h.begun {
		h.begun, h.level, h.paced = true, min(top, part*float64(s.Burst)), min(top, part*float64(s.Burst))*s.BatchShare
	} else {
		passed := (alone - h.alone).Seconds() + trickle*max(now.Sub(h.at), 0).Seconds()
		h.level = min(top, h.level+rate*passed)
		h.paced = min(max(1, top*s.BatchShare), h.paced+rate*s.BatchShare*passed)
	}
	h.alone, h.at = alone, now
	if missing := h.missing(s, top, batch); missing > 0 {
		return left + wait(missing, rate)
	}
	h.level--
	if batch {
		h.paced--
	}
	return 0
}

// missing is how many tokens a call lacks. A batch call leaves the others their part.
func (h *share) missing(s *Spec, top float64, batch bool) float64 {
	if !batch {
		return 1 - h.level
	}
	reserve := min(top*(1-s.BatchShare), top-1)
	return max(1+reserve-h.level, (1-h.paced)/s.BatchShare)
}

// wait is how long missing tokens take to come, at most an hour.
func wait(missing, rate float64) time.Duration {
	return time.Duration(math.Ceil(min(missing/rate, 3600) * float64(time.Second)))
}
