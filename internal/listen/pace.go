package listen

import (
	"cmp"
	"time"
)

// pace bounds how long a caller is waited for while it sends one body or takes one answer. Two
// limits hold: none for a byte longer than idle, and no more than most, a minute, in all that
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
	most time.Duration // how long a caller that is slower is waited for in all
	used time.Duration // of most
}

// patience is how long the caller may be waited for now; 0 is for ever.
func (p *pace) patience() time.Duration {
	if p.rate <= 0 {
		return p.idle
	}
	left := max(p.most-p.used, 1)
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

// over tells that most is used up.
func (p *pace) over() bool { return p.rate > 0 && p.used >= p.most }

// paceOf is the pace of a new body or answer.
func paceOf(l *Limits) pace {
	return pace{idle: l.BodyIdleTimeout, rate: int64(l.MinBodyRate), most: cmp.Or(l.mostSlow, time.Minute)}
}
