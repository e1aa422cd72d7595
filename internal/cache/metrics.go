package cache

import "ebox-gateway/internal/metric"

// Metrics are what Prometheus reads of a cache.
var Metrics = metric.Table[Stats]{
	metric.Gauge("cache_memory_bytes", "Size of what the cache keeps in memory.",
		func(s *Stats) int64 { return s.Bytes }),
	metric.Gauge("cache_resources", "Resources of which the cache keeps something in memory.",
		func(s *Stats) int64 { return s.Resources }),
	metric.Counter("cache_hits_total", "Requests answered from what was kept.",
		func(s *Stats) uint64 { return s.Hits }),
	metric.Counter("cache_misses_total", "Requests for which the cache had nothing that could be given.",
		func(s *Stats) uint64 { return s.Misses }),
	metric.Counter("cache_stale_hits_total", "Hits past their lifetime; cache_hits_total counts them too.",
		func(s *Stats) uint64 { return s.Stale }),
	metric.Counter("cache_validations_total", "Kept answers that the upstream confirmed.",
		func(s *Stats) uint64 { return s.Validated }),
	metric.Counter("cache_collapsed_total", "Requests answered with what another request brought.",
		func(s *Stats) uint64 { return s.Collapsed }),
	metric.Counter("cache_stores_total", "Answers that were stored.",
		func(s *Stats) uint64 { return s.Stored }),
	metric.Counter("cache_evictions_total", "Kept answers that made room for others.",
		func(s *Stats) uint64 { return s.Evicted }),
	metric.Counter("cache_invalidations_total",
		"Times that something kept was made void, by a write, a refusal or a purge.",
		func(s *Stats) uint64 { return s.Invalidations }),
	metric.Counter("cache_store_failures_total", "What the second level of the cache did not do.",
		func(s *Stats) uint64 { return s.StoreFailures }),
}
