// Package metric lets each part of the gateway say what Prometheus may read of it. The name, help
// and labels of a metric, and where its number is, stand in one place, in the package that counts.
package metric

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Prefix begins the name of every metric that the gateway defines itself.
const Prefix = "ebox_gateway_"

// Kind is how a metric moves.
type Kind string

// The kinds of metric.
const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Family is every series of one name. No label has values that callers or upstreams could
// multiply: routes, clients and scopes are the configuration's, providers the directory's, and
// everything else is one of a few words.
type Family struct {
	Name   string // with Prefix
	Kind   Kind
	Help   string
	Labels []string
}

// Put gives one series of a family, the values of its labels in their order.
type Put func(value float64, labels ...string)

// Of is a family that is read from a State when Prometheus asks, and costs nothing until then.
type Of[State any] struct {
	Family
	read func(*State, Put)
}

// Table are the metrics of one part, in the order of docs/metrics.md.
type Table[State any] []Of[State]

type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

// Counter is one number that only grows.
func Counter[State any, N number](name, help string, value func(*State) N) Of[State] {
	return Counters(name, help, func(s *State, put Put) { put(float64(value(s))) })
}

// Gauge is one number.
func Gauge[State any, N number](name, help string, value func(*State) N) Of[State] {
	return Gauges(name, help, func(s *State, put Put) { put(float64(value(s))) })
}

// Truth is a gauge that is 1 if something is so, or else 0.
func Truth[State any](name, help string, is func(*State) bool) Of[State] {
	return Gauges(name, help, func(s *State, put Put) { put(One(is(s))) })
}

// Time is a gauge in seconds since 1970. A time that never was gives no series.
func Time[State any](name, help string, at func(*State) time.Time) Of[State] {
	return Gauges(name, help, func(s *State, put Put) { put.Time(at(s)) })
}

// Counters are a counter for each combination of labels that read gives.
func Counters[State any](name, help string, read func(*State, Put), labels ...string) Of[State] {
	return Of[State]{Family{Prefix + name, KindCounter, help, labels}, read}
}

// Gauges are a gauge for each combination of labels that read gives.
func Gauges[State any](name, help string, read func(*State, Put), labels ...string) Of[State] {
	return Of[State]{Family{Prefix + name, KindGauge, help, labels}, read}
}

// One is 1 if something is so, or else 0.
func One(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Time gives seconds since 1970. A time that never was gives no series.
func (p Put) Time(at time.Time, labels ...string) {
	if !at.IsZero() {
		p(float64(at.UnixMilli())/1000, labels...)
	}
}

// OneOf gives 1 for the state that is and 0 for the others. The state is the last label, behind
// those that are given.
func (p Put) OneOf(is string, labels []string, states ...string) {
	for _, state := range states {
		p(One(is == state), append(labels[:len(labels):len(labels)], state)...)
	}
}

// Collector gives the metrics of one part to a registry.
type Collector interface {
	prometheus.Collector
	// Families are what it gives, where there is something.
	Families() []Family
}

// Read collects what a table says of the state that is read for each scrape. Nil is none, and
// gives no series.
func Read[State any](table Table[State], state func() *State) Collector {
	c := &collector[State]{table: table, state: state}
	for _, m := range table {
		c.descs = append(c.descs, prometheus.NewDesc(m.Name, m.Help, m.Labels, nil))
	}
	return c
}

type collector[State any] struct {
	table Table[State]
	state func() *State
	descs []*prometheus.Desc // as table
}

// Families implements Collector.
func (c *collector[State]) Families() (list []Family) {
	for _, m := range c.table {
		list = append(list, m.Family)
	}
	return list
}

// Describe implements prometheus.Collector.
func (c *collector[State]) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector[State]) Collect(to chan<- prometheus.Metric) {
	s := c.state()
	if s == nil {
		return
	}
	for i, m := range c.table {
		kind := prometheus.GaugeValue
		if m.Kind == KindCounter {
			kind = prometheus.CounterValue
		}
		m.read(s, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(c.descs[i], kind, value, labels...)
		})
	}
}
