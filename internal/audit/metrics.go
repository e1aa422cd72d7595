package audit

import (
	"time"

	"ebox-gateway/internal/metric"
)

// Metrics are what Prometheus reads of the evidence. There are none where none is kept.
var Metrics = metric.Table[Status]{
	metric.Gauge("evidence_queued", "Evidence records that are not on disk yet.",
		func(s *Status) int { return s.Waiting }),
	metric.Counter("evidence_records_total", "Evidence records on disk.",
		func(s *Status) uint64 { return s.Written }),
	metric.Counter("evidence_lost_total", "Evidence records that were not taken because too many waited.",
		func(s *Status) uint64 { return s.Lost }),
	metric.Truth("evidence_failing", "1 while evidence cannot be written.",
		func(s *Status) bool { return s.Failing != "" }),
	metric.Truth("evidence_refusing",
		"1 while requests are refused because evidence cannot be written, or waits in too great a number.",
		func(s *Status) bool { return s.Refusing }),
	metric.Truth("evidence_missing",
		"1 since evidence was found removed, replaced or cut, until the gateway is restarted.",
		func(s *Status) bool { return s.Missing != "" }),
	metric.Time("evidence_gap_timestamp_seconds",
		"When the evidence last said that something may be missing in it. Absent if it has not since the start.",
		func(s *Status) time.Time { return s.LastGap }),
	metric.Counter("evidence_refused_writes_total",
		"Writes that were not sent since their intent could not be recorded.",
		func(s *Status) uint64 { return s.RefusedWrites }),
	metric.Truth("evidence_unstamped", "1 while the time-stamping authority gives no time stamps of checkpoints.",
		func(s *Status) bool { return s.Stamping != "" }),
}
