package operate

import (
	"time"

	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/resilience"
)

// Upstreams are all upstreams at one moment, one of each name.
type Upstreams struct {
	now  time.Time
	list []Upstream
}

// UpstreamsAt are the upstreams of a list that is sorted by name. Two of one name are there while
// requests of a configuration that was replaced are under way: their counts are added up, and
// the worse circuit is shown.
func UpstreamsAt(now time.Time, list []Upstream) *Upstreams { return &Upstreams{now, oneEach(list)} }

// UpstreamMetrics are what Prometheus reads of the upstreams. Their counts begin at 0 again when
// a configuration makes an upstream anew.
var UpstreamMetrics = metric.Table[Upstreams]{
	metric.Gauges("upstream_circuit_state",
		"1 for the state that the upstream's circuit is in, 0 for the others.",
		of(func(u *Upstream, put metric.Put) {
			put.OneOf(string(u.Circuit), []string{u.Name}, "closed", "open", "half-open")
		}), "upstream", "state"),
	metric.Counters("upstream_circuit_opened_total", "Times that the upstream's circuit opened.",
		of(func(u *Upstream, put metric.Put) { put(float64(u.Opened), u.Name) }), "upstream"),
	metric.Gauges("upstream_circuit_open_enterprises",
		"Represented enterprises for which alone the upstream's circuit is not closed; /status names them.",
		of(func(u *Upstream, put metric.Put) { put(float64(len(u.OpenFor)), u.Name) }), "upstream"),
	metric.Gauges("upstream_requests_in_flight", "Calls that the upstream's bulkhead holds.",
		of(func(u *Upstream, put metric.Put) { put(float64(u.InFlight), u.Name) }), "upstream"),
	metric.Gauges("upstream_requests_queued", "Calls that wait for a place in the upstream's bulkhead.",
		of(func(u *Upstream, put metric.Put) { put(float64(u.Queued), u.Name) }), "upstream"),
	metric.Gauges("upstream_oldest_call_seconds",
		"How long the oldest call has been waiting for the upstream's header, large uploads aside; 0 if none waits.",
		waiting(func(u *Upstream) time.Time { return u.Oldest }), "upstream"),
	metric.Gauges("upstream_unanswered_seconds",
		"For how long the upstream has had calls and answered none, with those that timed out or gave up; 0 if none waits.",
		waiting(func(u *Upstream) time.Time { return u.Unanswered }), "upstream"),
	metric.Counters("upstream_retries_total", "Tries after the first.",
		of(func(u *Upstream, put metric.Put) { put(float64(u.Retries), u.Name) }), "upstream"),
	metric.Counters("upstream_retries_denied_total", "Tries that were not made because the budget was spent.",
		of(func(u *Upstream, put metric.Put) { put(float64(u.RetriesDenied), u.Name) }), "upstream"),
	metric.Counters("upstream_refusals_total",
		"Tries that the protection of the upstream refused: by its circuit, its bulkhead, the caller's or enterprise's "+
			"share of that, or its rate.",
		of(func(u *Upstream, put metric.Put) {
			put(float64(u.RefusedOpen), u.Name, "circuit")
			put(float64(u.RefusedFull), u.Name, "bulkhead")
			put(float64(u.RefusedShare), u.Name, "share")
			put(float64(u.RefusedRate), u.Name, "rate")
		}), "upstream", "reason"),
	metric.Counters("upstream_connections_total",
		"What happened to connections to the upstream: opened; ended, found closed when it was to be used again; surplus, "+
			"closed since bytes came that no request had asked for. resent: a safe call went once more since its connection "+
			"had ended. foreign: an answer named another call and was not delivered. Surplus and foreign are faults of the "+
			"upstream.",
		of(func(u *Upstream, put metric.Put) {
			put(float64(u.Connections.Opened), u.Name, "opened")
			put(float64(u.Connections.Surplus), u.Name, "surplus")
			put(float64(u.Connections.Ended), u.Name, "ended")
			put(float64(u.Connections.Resent), u.Name, "resent")
			put(float64(u.Connections.Foreign), u.Name, "foreign")
		}), "upstream", "event"),
}

// of reads each upstream.
func of(read func(*Upstream, metric.Put)) func(*Upstreams, metric.Put) {
	return func(all *Upstreams, put metric.Put) {
		for i := range all.list {
			read(&all.list[i], put)
		}
	}
}

// waiting reads for how long calls of each upstream have been waiting; 0 where none waits.
func waiting(since func(*Upstream) time.Time) func(*Upstreams, metric.Put) {
	return func(all *Upstreams, put metric.Put) {
		for i := range all.list {
			var took time.Duration
			if u := &all.list[i]; !u.Oldest.IsZero() {
				took = all.now.Sub(since(u))
			}
			put(took.Seconds(), all.list[i].Name)
		}
	}
}

// oneEach adds up upstreams of one name, which follow one another.
func oneEach(list []Upstream) []Upstream {
	all := make([]Upstream, 0, len(list))
	for _, u := range list {
		if n := len(all); n == 0 || all[n-1].Name != u.Name {
			all = append(all, u)
			continue
		}
		sum := &all[len(all)-1]
		if sum.Circuit == resilience.Closed || u.Circuit == resilience.Open {
			sum.Circuit = u.Circuit
		}
		sum.Opened += u.Opened
		if len(u.OpenFor) > len(sum.OpenFor) {
			sum.OpenFor = u.OpenFor
		}
		sum.InFlight += u.InFlight
		sum.Queued += u.Queued
		sum.Oldest, sum.Unanswered = earlier(sum.Oldest, u.Oldest), earlier(sum.Unanswered, u.Unanswered)
		sum.Retries += u.Retries
		sum.RetriesDenied += u.RetriesDenied
		sum.RefusedOpen += u.RefusedOpen
		sum.RefusedFull += u.RefusedFull
		sum.RefusedShare += u.RefusedShare
		sum.RefusedRate += u.RefusedRate
		sum.Connections = sum.Connections.Plus(u.Connections)
	}
	return all
}

// earlier is the first of two times, of which those that are zero do not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
