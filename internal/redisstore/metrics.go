package redisstore

import "ebox-gateway/internal/metric"

// Metrics are what Prometheus reads of a store. There are none without one.
var Metrics = metric.Table[Status]{
	metric.Truth("redis_up", "1 if Redis is as it should be. Absent without redis.url.",
		func(s *Status) bool { return s.State == StateUp }),
	metric.Gauges("redis_state", "1 for the state that Redis is in, 0 for the others: up, troubled or away.",
		func(s *Status, put metric.Put) { put.OneOf(s.State, nil, StateUp, StateTroubled, StateAway) }, "state"),
	metric.Counter("redis_circuit_opened_total", "Times that Redis had to be left alone.",
		func(s *Status) uint64 { return s.Opened }),
	metric.Counter("redis_unreadable_total", "Values in Redis that could not be opened.",
		func(s *Status) uint64 { return s.Unreadable }),
	metric.Truth("redis_subscribed", "1 if the other replicas' invalidations arrive.",
		func(s *Status) bool { return s.Subscribed }),
	metric.Gauge("redis_untold_invalidations", "Invalidations that the other replicas have not been told yet.",
		func(s *Status) int { return s.Untold }),
}
