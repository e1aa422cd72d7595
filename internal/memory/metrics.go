package memory

import "ebox-gateway/internal/metric"

// Metrics are what Prometheus reads of the memory that is held for callers.
var Metrics = metric.Table[State]{
	metric.Gauge("held_bytes",
		"Bytes that are held in memory for callers: bodies read whole, merged inbox pages, answers kept back.",
		func(s *State) int64 { return s.Held }),
	metric.Gauge("held_bytes_limit",
		"Most bytes that may be held in memory for callers (server.limits.maxHeldBytes).",
		func(s *State) int64 { return s.Limit }),
	metric.Counter("held_bytes_refusals_total",
		"Times that something could not be held in memory for a caller. A body or an inbox page then gets 503; an answer "+
			"passes without being kept.",
		func(s *State) uint64 { return s.Refused }),
}
