package resilience

import (
	"net/http"

	"ebox-gateway/internal/exchange"
)

// Rate is the layer below the token. An interactive call beyond the upstream's rate
// is refused with ErrUpstreamRate as 429 and the time until there is room; a batch
// call waits in line for as long as its pace allows.
func (u *Upstream) Rate(next http.RoundTripper) http.RoundTripper {
	if u.bucket == nil {
		return next
	}
	return &rateLayer{u: u, next: next}
}

type rateLayer struct {
	u    *Upstream
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l *rateLayer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := l.take(r); err != nil {
		closeBody(r)
		return nil, err
	}
	return l.next.RoundTrip(r)
}

func (l *rateLayer) take(r *http.Request) error {
	rec := exchange.From(r.Context())
	now := l.u.o.Now
	start := now()
	if !rec.Batch {
		short := l.u.bucket.take(r.Context(), start)
		if short == 0 {
			return nil
		}
		l.u.refusedRate.Add(1)
		return tooMany(l.u.o.Settings.Rate.PerSecond, short,
			"The rate at which the gateway may call this upstream is used up. Nothing was sent. Try again after the time in Retry-After.", ErrUpstreamRate)
	}
	short, err := l.u.bucket.await(r.Context(), now, max(rec.Pace-rec.Phases.Limits, 0))
	rec.Phases.Limits += now().Sub(start)
	if err != nil || short == 0 {
		return err
	}
	l.u.refusedRate.Add(1)
	return tooMany(l.u.o.Settings.Rate.PerSecond*share, short,
		"The part of this upstream's rate that is open to batch callers is used up for longer than this caller may wait. Nothing was sent. "+
			"Try again after the time in Retry-After, with fewer calls at once.", ErrUpstreamRate)
}
