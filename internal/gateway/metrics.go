package gateway

import (
	"errors"
	"sync/atomic"

	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/telemetry"
)

// newMetrics makes the metrics, which outlive configurations.
func (g *Gateway) newMetrics() (*telemetry.Metrics, error) {
	return telemetry.NewMetrics(telemetry.MetricsOptions{
		Version: g.o.Version, Snapshot: g.snapshot,
		IsProvider: func(id string) bool {
			_, ok := g.current.Load().directory.Lookup(id)
			return ok
		},
	})
}

// useMetrics makes the routes that are counted those of the generation.
func (g *Gateway) useMetrics(now *generation) {
	names := []string{server.InboxRoute}
	for _, r := range now.cfg.Routes {
		names = append(names, r.Name)
	}
	g.metrics.UseRoutes(names)
}

// snapshot gathers what metrics say of everything but requests.
func (g *Gateway) snapshot() telemetry.Snapshot {
	v := g.View()
	s := telemetry.Snapshot{
		Ready: status.NotReady(v) == "", Health: status.Health(v).Status, InFlight: g.underway(),
		ConfigHash: v.Config.Hash(), Environment: string(v.Config.Environment), ConfigSince: v.Since,
		ConfigRejected: v.Rejected != nil, ListenerExpiry: v.ListenerExpiry,
		Listed: len(v.Config.Tenancy.Enterprises), Suspended: v.Suspended,
		Held: g.pool.memory.State(), Now: v.Now(), Upstreams: v.Upstreams(), Clients: v.Tokens.Status(),
		Directory: v.Directory.Status(), HasRegistry: v.Config.Registry.URL != nil,
		Cache: v.Cache.Stats(), Evidence: v.Evidence,
	}
	s.RefusedEnterprises, s.RefusedInARow = make(map[string]int), make(map[string]int)
	for _, p := range v.Directory.List() {
		s.RefusedEnterprises[p.ID], s.RefusedInARow[p.ID] = 0, 0
	}
	for _, standing := range v.Activity.Standings() {
		provider := standing.Provider
		if _, listed := s.RefusedEnterprises[provider]; !listed {
			provider = "none" // no provider, or one that the directory has no more
		}
		s.RefusedEnterprises[provider] += standing.Refused
		s.RefusedInARow[provider] = max(s.RefusedInARow[provider], standing.InARow)
	}
	s.RateRefusals = map[string]uint64{
		"enterprise": g.pool.refusedRates.enterprise.Load(), "caller": g.pool.refusedRates.caller.Load(),
		"concurrency": g.pool.refusedRates.concurrency.Load(),
	}
	for i := range s.Upstreams {
		s.RateRefusals["upstream"] += s.Upstreams[i].RefusedRate
	}
	if r := v.Redis; r != nil {
		is := r.Status()
		s.Redis = &is
	}
	if t := g.current.Load().tracing.tracer; t != nil {
		stats := t.Stats()
		s.Traces = &stats
	}
	return s
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
