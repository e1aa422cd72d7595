package telemetry

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
)

// collector gives what a snapshot says. It is a prometheus.Collector.
type collector struct {
	version  string
	snapshot func() Snapshot
}

// snapshots are the families that come from a snapshot rather than from requests.
func snapshots() []*family {
	var list []*family
	for _, f := range families() {
		switch f {
		case requests, requestDuration, requestPhase, received, sent, tries, cuts, problems, overload, providerRequests,
			providerHeader, partRequests:
		default:
			list = append(list, f)
		}
	}
	return list
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range snapshots() {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	p := putter{ch}
	p.gauge(build, 1, c.version, runtime.Version())
	p.truth(ready, s.Ready)
	p.oneOf(health, s.Health, nil, "UP", "DEGRADED", "DOWN")
	p.gauge(inFlight, float64(s.InFlight))
	p.truth(reloadSuccessful, !s.ConfigRejected)
	p.time(reloadTimestamp, s.ConfigSince)
	p.gauge(configuration, 1, s.ConfigHash, s.Environment)
	p.gauge(enterprises, float64(s.Listed), "listed")
	p.gauge(enterprises, float64(s.Suspended), "suspended")
	for provider, n := range s.RefusedEnterprises {
		p.gauge(enterprisesRefused, float64(n), provider)
	}
	for provider, n := range s.RefusedInARow {
		p.gauge(refusedInARow, float64(n), provider)
	}
	for name, at := range s.ListenerExpiry {
		p.time(listenerExpiry, at, name)
	}
	for _, kind := range []string{"enterprise", "caller", "upstream", "concurrency"} {
		p.count(rateRefusals, s.RateRefusals[kind], kind)
	}
	p.gauge(heldBytes, float64(s.Held.Held))
	p.gauge(heldLimit, float64(s.Held.Limit))
	p.count(heldRefused, s.Held.Refused)
	for _, u := range oneEach(s.Upstreams) {
		p.upstream(&u, s.Now)
	}
	for i := range s.Clients {
		p.client(&s.Clients[i])
	}
	if s.HasRegistry {
		p.time(listTimestamp, s.Directory.LastSuccess)
		p.truth(listFailing, s.Directory.LastError != "")
	}
	for state, n := range s.Directory.States {
		p.gauge(providers, float64(n), string(state))
	}
	p.cache(&s.Cache)
	if s.Redis != nil {
		p.redis(s.Redis)
	}
	if e := s.Evidence; e != nil {
		p.gauge(evidenceQueued, float64(e.Waiting))
		p.count(evidenceWritten, e.Written)
		p.count(evidenceLost, e.Lost)
		p.truth(evidenceFailing, e.Failing != "")
		p.truth(evidenceRefusing, e.Refusing)
		p.truth(evidenceMissing, e.Missing != "")
		p.time(evidenceGap, e.LastGap)
		p.count(evidenceRefusedWrites, e.RefusedWrites)
		p.truth(evidenceUnstamped, e.Stamping != "")
	}
	if t := s.Traces; t != nil {
		p.count(spansExported, t.Exported)
		p.count(spansDropped, t.Dropped)
	}
}

// putter sends metrics on.
type putter struct{ ch chan<- prometheus.Metric }

func (p putter) gauge(f *family, v float64, labels ...string) {
	p.ch <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, v, labels...)
}

func (p putter) count(f *family, v uint64, labels ...string) {
	p.ch <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(v), labels...)
}

func (p putter) truth(f *family, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	p.gauge(f, v, labels...)
}

// time is in seconds since 1970; a time that never was gives no series.
func (p putter) time(f *family, at time.Time, labels ...string) {
	if !at.IsZero() {
		p.gauge(f, float64(at.UnixMilli())/1000, labels...)
	}
}

// oneOf is 1 for the state that is and 0 for the others; labels come before the state.
func (p putter) oneOf(f *family, is string, labels []string, states ...string) {
	for _, state := range states {
		p.truth(f, is == state, append(labels[:len(labels):len(labels)], state)...)
	}
}

// oneEach adds up upstreams of one name, which follow one another.
func oneEach(list []operate.Upstream) []operate.Upstream {
	all := make([]operate.Upstream, 0, len(list))
	for _, u := range list {
		if n := len(all); n == 0 || all[n-1].Name != u.Name {
			all = append(all, u)
			continue
		}
		sum := &all[len(all)-1]
		if sum.Circuit == string(resilience.Closed) || u.Circuit == string(resilience.Open) {
			sum.Circuit = u.Circuit
		}
		sum.Opened += u.Opened
		if len(u.OpenFor) > len(sum.OpenFor) {
			sum.OpenFor = u.OpenFor
		}
		sum.InFlight += u.InFlight
		sum.Queued += u.Queued
		sum.WaitingSince = earlier(sum.WaitingSince, u.WaitingSince)
		sum.UnansweredSince = earlier(sum.UnansweredSince, u.UnansweredSince)
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

// earlier is the first of two times, of which those that are zero do not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (p putter) upstream(u *operate.Upstream, now time.Time) {
	p.oneOf(circuitState, u.Circuit, []string{u.Name}, "closed", "open", "half-open")
	p.count(circuitOpened, u.Opened, u.Name)
	p.gauge(circuitOpenFor, float64(len(u.OpenFor)), u.Name)
	p.gauge(upstreamFlight, float64(u.InFlight), u.Name)
	p.gauge(upstreamQueue, float64(u.Queued), u.Name)
	var oldest, unanswered time.Duration
	if !u.WaitingSince.IsZero() {
		oldest, unanswered = now.Sub(u.WaitingSince), now.Sub(u.UnansweredSince)
	}
	p.gauge(upstreamOldest, oldest.Seconds(), u.Name)
	p.gauge(upstreamUnanswered, unanswered.Seconds(), u.Name)
	p.count(retries, u.Retries, u.Name)
	p.count(retriesDenied, u.RetriesDenied, u.Name)
	p.count(refusals, u.RefusedOpen, u.Name, "circuit")
	p.count(refusals, u.RefusedFull, u.Name, "bulkhead")
	p.count(refusals, u.RefusedShare, u.Name, "share")
	p.count(refusals, u.RefusedRate, u.Name, "rate")
	p.count(connections, u.Connections.Opened, u.Name, "opened")
	p.count(connections, u.Connections.Surplus, u.Name, "surplus")
	p.count(connections, u.Connections.Ended, u.Name, "ended")
	p.count(connections, u.Connections.Resent, u.Name, "resent")
	p.count(connections, u.Connections.Foreign, u.Name, "foreign")
}

func (p putter) client(c *authn.ClientStatus) {
	if c.Key != nil {
		p.time(certificateExpiry, c.Key.NotAfter, c.Name, "current")
	}
	if c.Pending != nil {
		p.time(certificateExpiry, c.Pending.NotAfter, c.Name, "pending")
	}
	if c.Clock != nil {
		p.gauge(clockDifference, c.Clock.AheadSeconds, c.Name)
	}
	p.truth(keyPending, c.Pending != nil, c.Name)
	var granted, refused, outages, forced uint64
	var refusing, away bool
	for _, t := range c.Tokens {
		p.time(tokenExpiry, t.Expires, c.Name, strings.Join(t.Scopes, " "))
		granted += t.Granted
		refused += t.Refusals
		outages += t.Outages
		forced += t.Forced
		if t.Error != nil {
			unavailable := t.Error.Code == authn.Unavailable
			away, refusing = away || unavailable, refusing || !unavailable
		}
	}
	p.count(tokenRequests, granted, c.Name, "granted")
	p.count(tokenRequests, refused, c.Name, "refused")
	p.count(tokenRequests, outages, c.Name, "unavailable")
	p.count(tokenForced, forced, c.Name)
	p.truth(tokenFailing, refusing, c.Name, "refused")
	p.truth(tokenFailing, away, c.Name, "unavailable")
	p.truth(tokenFailing, c.KeyError != nil, c.Name, "key")
}

func (p putter) cache(c *cache.Stats) {
	p.gauge(cacheBytes, float64(c.Bytes))
	p.gauge(cacheResources, float64(c.Resources))
	p.count(cacheHits, c.Hits)
	p.count(cacheMisses, c.Misses)
	p.count(cacheStale, c.Stale)
	p.count(cacheValidated, c.Validated)
	p.count(cacheCollapsed, c.Collapsed)
	p.count(cacheStored, c.Stored)
	p.count(cacheEvicted, c.Evicted)
	p.count(cacheInvalidated, c.Invalidations)
	p.count(cacheFailures, c.StoreFailures)
}

func (p putter) redis(r *redisstore.Status) {
	p.truth(redisUp, r.State == redisstore.StateUp)
	p.oneOf(redisState, r.State, nil, redisstore.StateUp, redisstore.StateTroubled, redisstore.StateAway)
	p.count(redisOpened, r.Opened)
	p.count(redisUnreadable, r.Unreadable)
	p.truth(redisSubscribed, r.Subscribed)
	p.gauge(redisUntold, float64(r.Untold))
}
