package gateway

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/operate"
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
		Held: g.pool.memory.State(), Upstreams: upstreamSnapshots(v.Upstreams(), v.Now()),
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
	for _, c := range v.Tokens.Status() {
		s.Clients = append(s.Clients, clientSnapshot(&c))
	}
	d := v.Directory.Status()
	s.Registry = telemetry.RegistrySnapshot{
		Configured: v.Config.Registry.URL != nil, Fetched: d.LastSuccess, Failing: d.LastError != "",
		States: make(map[string]int, len(d.States)),
	}
	for state, n := range d.States {
		s.Registry.States[string(state)] = n
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

// upstreamSnapshots gives each name once. Two stacks have the same while requests of
// a configuration that was replaced are under way; then counts are added up, and the
// worse circuit is shown.
func upstreamSnapshots(list []operate.Upstream, now time.Time) []telemetry.UpstreamSnapshot {
	all := make([]telemetry.UpstreamSnapshot, 0, len(list))
	for _, u := range list { // sorted by name
		if n := len(all); n == 0 || all[n-1].Name != u.Name {
			all = append(all, telemetry.UpstreamSnapshot{Name: u.Name, Circuit: string(resilience.Closed)})
		}
		sum := &all[len(all)-1]
		if u.Circuit != string(resilience.Closed) && sum.Circuit != string(resilience.Open) {
			sum.Circuit = u.Circuit
		}
		sum.Opened += u.Opened
		sum.OpenFor = max(sum.OpenFor, len(u.OpenFor))
		sum.InFlight += u.InFlight
		sum.Queued += u.Queued
		if !u.WaitingSince.IsZero() {
			sum.OldestWait = max(sum.OldestWait, now.Sub(u.WaitingSince))
			sum.Unanswered = max(sum.Unanswered, now.Sub(u.UnansweredSince))
		}
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

func clientSnapshot(c *authn.ClientStatus) telemetry.ClientSnapshot {
	s := telemetry.ClientSnapshot{Name: c.Name, Pending: c.Pending != nil, KeyFailing: c.KeyError != nil}
	if c.Key != nil {
		s.CertificateExpiry = c.Key.NotAfter
	}
	if c.Clock != nil {
		s.ClockKnown, s.ClockAhead = true, time.Duration(c.Clock.AheadSeconds*float64(time.Second))
	}
	if c.Pending != nil {
		s.PendingExpiry = c.Pending.NotAfter
	}
	for _, t := range c.Tokens {
		s.Tokens = append(s.Tokens, telemetry.TokenSnapshot{
			Scopes: strings.Join(t.Scopes, " "), Expires: t.Expires,
			Granted: t.Granted, Refused: t.Refusals, Unavailable: t.Outages, Forced: t.Forced,
			Away:     t.Error != nil && t.Error.Code == authn.Unavailable,
			Refusing: t.Error != nil && t.Error.Code != authn.Unavailable,
		})
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
