package gateway

import (
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/telemetry"
)

// newMetrics makes the metrics, which outlive configurations: those of requests, the
// composition's own, and those of each part.
func (g *Gateway) newMetrics() (*telemetry.Metrics, error) {
	directoryStatus := func() *directory.Status { return new(g.current.Load().directory.Status()) }
	return telemetry.NewMetrics(g.isProvider,
		metric.Read(status.Metrics, g.View),
		metric.Read(memory.Metrics, func() *memory.State { return new(g.memory.State()) }),
		metric.Read(operate.UpstreamMetrics, func() *operate.Upstreams {
			return operate.UpstreamsAt(g.o.Now(), g.upstreams())
		}),
		metric.Read(authn.Metrics, func() *[]authn.ClientStatus { return new(g.current.Load().tokens.Status()) }),
		metric.Read(directory.RegistryMetrics, func() *directory.Status {
			if g.current.Load().cfg.Registry.URL == nil {
				return nil
			}
			return directoryStatus()
		}),
		metric.Read(directory.Metrics, directoryStatus),
		metric.Read(cache.Metrics, func() *cache.Stats { return new(g.cache.Stats()) }),
		metric.Read(redisstore.Metrics, func() *redisstore.Status {
			r := g.current.Load().redis
			if r == nil {
				return nil
			}
			return new(r.Status())
		}),
		metric.Read(audit.Metrics, g.evidence.Status),
		metric.Read(telemetry.TraceMetrics, func() *telemetry.TraceStats {
			t := g.current.Load().tracer
			if t == nil {
				return nil
			}
			return new(t.Stats())
		}),
	)
}
