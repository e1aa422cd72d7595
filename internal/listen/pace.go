package listen

import (
	"time"

	"ebox-gateway/internal/config"
)

// pace bounds how long a caller is waited for while it sends one body or takes one answer. Two
// limits hold: none for a byte longer than idle, and no more than mostSlow, a minute, in all that
// bytes have not made up for. So much as rate is a minute's worth: a caller that is faster never
// loses any of its minute for good, and one that is slower has it used up sooner or later,
// however much it moved before. Only time counts in which the gateway waits for the caller,
// none in which it waits for an upstream.
//
// For example with 600 bytes a minute: 10 s without a byte leave 50 s; 100 bytes then make
// it 60 s again; a byte each ten seconds, worth 0.1 s, is cut after a good minute.
type pace struct {
	idle time.Duration // 0 is for ever
	rate int64         // bytes a minute; 0 is none
	used time.Duration // of the minute that a caller that is slower is waited for in all
}

// mostSlow is how long a caller is waited for in all that sends or takes less than it must.
const mostSlow = time.Minute

// limit is how long the caller may be waited for now; 0 is for ever.
func (p *pace) limit() time.Duration {
	if p.rate <= 0 {
		return p.idle
	}
	left := max(mostSlow-p.used, 1)
	if p.idle > 0 {
		left = min(left, p.idle)
	}
	return left
}

// note says that n bytes moved after having waited.
func (p *pace) note(waited time.Duration, n int) {
	if p.rate <= 0 {
		return
	}
	p.used += waited
	if int64(n) >= p.rate {
		p.used = 0
		return
	}
	worth := time.Duration(float64(n) / float64(p.rate) * float64(time.Minute))
	p.used = max(p.used-worth, 0)
}

// share is how many bytes, n at most, a caller that is as fast as it must be moves within half of its limit.
func (p *pace) share(n int) int {
	if p.rate <= 0 {
		return n
	}
	within := mostSlow
	if p.idle > 0 {
		within = min(within, p.idle)
	}
	return max(min(n, int(float64(p.rate)*within.Minutes()/2)), 1)
}

// over reports whether the minute is used up.
func (p *pace) over() bool { return p.rate > 0 && p.used >= mostSlow }

// paceOf is the pace of a new body or answer.
func paceOf(l *config.Limits) pace {
	return pace{idle: l.BodyIdleTimeout, rate: int64(l.MinBodyRate)}
}
