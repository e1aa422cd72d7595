package telemetry

import (
	"testing"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/exchange"
)

func BenchmarkMetrics(b *testing.B) {
	m, err := NewMetrics(MetricsOptions{Version: "test", Snapshot: func() Snapshot { return Snapshot{} }, IsProvider: func(id string) bool { return id == "nsso" }})
	if err != nil {
		b.Fatal(err)
	}
	m.UseRoutes([]string{"ebox-providers"})
	r := &exchange.Record{
		Method: "GET", Route: "ebox-providers", Provider: "nsso", Action: ebox.List, Upstream: "provider nsso", Status: 200, UpstreamStatus: 200, Tries: 1, BytesOut: 2048,
		Phases: exchange.Phases{Total: 1500 * time.Microsecond, Token: 200, Header: 123 * time.Microsecond, Body: time.Millisecond},
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Phases.Total = time.Duration(i%5000+1) * time.Microsecond
		m.Done(r)
	}
}
