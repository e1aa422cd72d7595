package directory

import (
	"time"

	"ebox-gateway/internal/metric"
)

// Metrics are what Prometheus reads of a directory.
var Metrics = metric.Table[Status]{
	metric.Gauges("providers", "Document Providers, by state.", func(s *Status, put metric.Put) {
		for state, n := range s.States {
			put(float64(n), string(state))
		}
	}, "state"),
}

// RegistryMetrics are what Prometheus reads of a directory whose list comes from a registry.
var RegistryMetrics = metric.Table[Status]{
	metric.Time("registry_list_timestamp_seconds",
		"When the list of Document Providers in force was fetched from the registry.",
		func(s *Status) time.Time { return s.LastSuccess }),
	metric.Truth("registry_last_try_failed", "1 if the registry did not give a list the last time it was asked.",
		func(s *Status) bool { return s.LastError != "" }),
}
