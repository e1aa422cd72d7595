package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebox-gateway/internal/call"
)

// inc counts, with a counter that is made at the first time. Two that make it at once
// get the same one of the vector.
func inc(at *lazyCounter, of *prometheus.CounterVec, labels func() []string) {
	c := at.Load()
	if c == nil {
		made := of.WithLabelValues(labels()...)
		c = &made
		at.Store(c)
	}
	(*c).Inc()
}

// observe is inc for a time.
func observe(at *lazyObserver, of *prometheus.HistogramVec, took time.Duration, labels func() []string) {
	o := at.Load()
	if o == nil {
		made := of.WithLabelValues(labels()...)
		o = &made
		at.Store(o)
	}
	(*o).Observe(took.Seconds())
}

func (s *routeMetrics) request(m *Metrics, method, code, author int) {
	inc(&s.requests[method][code][author], m.requests, func() []string {
		return []string{s.name, methodNames[method], codeNames[code], authorNames[author]}
	})
}

// observe notes how long it took and how much there was.
func (s *routeMetrics) observe(m *Metrics, r *call.Record, code int) {
	observe(&s.duration[code], m.duration, r.Phases.Total, func() []string { return []string{s.name, codeNames[code]} })
	for i, took := range [...]time.Duration{r.Phases.Limits, r.Phases.Token, r.Phases.Header, r.Phases.Body} {
		if took > 0 {
			observe(&s.phases[i], m.phase, took, func() []string { return []string{s.name, phaseNames[i]} })
		}
	}
	s.received.Add(float64(r.BytesIn))
	s.sent.Add(float64(r.BytesOut))
	s.tries.Add(float64(r.Tries))
	if r.Cut {
		s.cuts.Inc()
	}
}

func (s *providerMetrics) request(m *Metrics, code int) {
	inc(&s.requests[code], m.providerRequests, func() []string { return []string{s.name, codeNames[code]} })
}

func (s *providerMetrics) part(m *Metrics, code int) {
	inc(&s.parts[code], m.partRequests, func() []string { return []string{s.name, codeNames[code]} })
}

// waited notes how long the provider took for its header, if it was asked.
func (s *providerMetrics) waited(m *Metrics, r *call.Record) {
	if r.Phases.Header > 0 {
		observe(&s.header, m.providerHeader, r.Phases.Header, func() []string { return []string{s.name} })
	}
}
