package gateway

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/telemetry"
)

// newMetrics makes the metrics, which outlive configurations: those of requests, the
// composition's own, and those of each part.
func (g *Gateway) newMetrics() (*telemetry.Metrics, error) {
	directoryStatus := func() *directory.Status { return new(g.current.Load().directory.Status()) }
	return telemetry.NewMetrics(g.isProvider,
		metric.Read(ownMetrics, func() *standing { return &standing{g, g.View()} }),
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

// standing is what the composition's own metrics are read from.
type standing struct {
	*Gateway
	view *operate.View
}

var ownMetrics = metric.Table[standing]{
	metric.Gauge("requests_in_flight", "Requests that are being served.",
		func(s *standing) int64 { return s.serving.Load() }),
	metric.Counters("rate_refusals_total", "Calls refused because a rate was used up: that of the enterprise, the "+
		"caller or the upstream; or because of the caller's concurrency.",
		func(s *standing, put metric.Put) {
			refused := &s.rateRefusals
			put(float64(refused.enterprise.Load()), "enterprise")
			put(float64(refused.caller.Load()), "caller")
			put(float64(refused.concurrency.Load()), "concurrency")
			upstream := uint64(0)
			for _, u := range s.view.Upstreams() {
				upstream += u.RefusedRate
			}
			put(float64(upstream), "upstream")
		}, "kind"),
	metric.Truth("ready", "1 if requests should be sent here.",
		func(s *standing) bool { return status.NotReady(s.view) == "" }),
	metric.Gauges("health", "1 for the state that /health shows, 0 for the others.",
		func(s *standing, put metric.Put) {
			put.OneOf(status.Health(s.view).Status, nil, "UP", "DEGRADED", "DOWN")
		}, "status"),
	metric.Truth("config_last_reload_successful",
		"1 if the configuration of the files is in force, 0 if it was not taken.",
		func(s *standing) bool { return s.view.Rejected == nil }),
	metric.Time("config_last_reload_success_timestamp_seconds", "When the configuration in force was taken.",
		func(s *standing) time.Time { return s.view.Since }),
	metric.Gauges("config_info", "Always 1; the labels say which configuration is in force.",
		func(s *standing, put metric.Put) {
			put(1, s.view.Config.Hash(), string(s.view.Config.Environment))
		}, "hash", "environment"),
	metric.Gauges("build_info", "Always 1; the labels say what is running.",
		func(s *standing, put metric.Put) { put(1, s.view.Version, runtime.Version()) }, "version", "goversion"),
	metric.Gauges("enterprises", "Enterprises in the configuration, listed or suspended.",
		func(s *standing, put metric.Put) {
			put(float64(len(s.view.Config.Tenancy.Enterprises)), "listed")
			put(float64(s.view.Suspended), "suspended")
		}, "state"),
	metric.Gauges("enterprises_refused", "Enterprises that a Document Provider refused when they were asked for last "+
		"(401 or 403), by provider; none for other upstreams.",
		func(s *standing, put metric.Put) {
			for provider, n := range s.refusedEnterprises() {
				put(float64(n.Refused), provider)
			}
		}, "provider"),
	metric.Gauges("enterprises_refused_in_a_row", "Enterprises that a Document Provider has refused since it last "+
		"served any, by provider; for other upstreams, as none, the most of one of them. Many are about the office "+
		"rather than their mandates.",
		func(s *standing, put metric.Put) {
			for provider, n := range s.refusedEnterprises() {
				put(float64(n.InARow), provider)
			}
		}, "provider"),
	metric.Gauges("listener_certificate_expiry_timestamp_seconds",
		"When the certificate of a listener expires. Absent for a listener without TLS.",
		func(s *standing, put metric.Put) {
			for name, at := range s.view.ListenerExpiry {
				put.Time(at, name)
			}
		}, "listener"),
}

// refusedEnterprises counts the enterprises that are refused, by the provider that refuses them:
// "none" stands for other upstreams, and for providers that the directory has no more.
func (s *standing) refusedEnterprises() map[string]activity.Standing {
	all := make(map[string]activity.Standing)
	for _, p := range s.view.Directory.List() {
		all[p.ID] = activity.Standing{}
	}
	for _, of := range s.view.Activity.Standings() {
		provider := of.Provider
		if _, listed := all[provider]; !listed {
			provider = "none"
		}
		sum := all[provider]
		sum.Refused += of.Refused
		sum.InARow = max(sum.InARow, of.InARow)
		all[provider] = sum
	}
	return all
}

// rateRefusals counts calls that a rate, or a caller's concurrency, refused at the door. What an upstream's rate
// refused, the upstream counts itself.
type rateRefusals struct{ enterprise, caller, concurrency atomic.Uint64 }

// note counts err if it is such a refusal, and gives it back.
func note(count *atomic.Uint64, err error) error {
	if errors.Is(err, resilience.ErrRate) || errors.Is(err, resilience.ErrConcurrency) {
		count.Add(1)
	}
	return err
}
