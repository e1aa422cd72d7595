package gateway

import (
	"fmt"
	"strings"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/wire"
)

// Status is what /status shows. Members are added over time and never renamed.
type Status struct {
	Version     string    `json:"version"`
	Environment string    `json:"environment"`
	StartedAt   time.Time `json:"startedAt"`
	// Now is the gateway's clock.
	Now    time.Time `json:"now"`
	Health string    `json:"health"`
	Ready  bool      `json:"ready"`
	// Attention is what somebody should know, the worst first.
	Attention []Attention `json:"attention"`
	// Maintenance is what was switched to it.
	Maintenance []admin.Maintenance `json:"maintenance"`
	// Configuration is the one in force.
	Configuration struct {
		Hash  string    `json:"hash"`
		Since time.Time `json:"since"`
		Files []string  `json:"files"`
		// Rejected is the last one that was not taken, if it came after.
		Rejected *RejectedStatus `json:"rejected,omitempty"`
	} `json:"configuration"`
	Listeners struct {
		Internal []string `json:"internal"`
		Admin    []string `json:"admin"`
	} `json:"listeners"`
	// Tenancy counts whom the gateway serves.
	Tenancy struct {
		Mode        string `json:"mode"`
		Enterprises int    `json:"enterprises"`
		Suspended   int    `json:"suspended"`
		Callers     int    `json:"callers"`
	} `json:"tenancy"`
	Clients   []authn.ClientStatus `json:"clients"`
	Directory DirectoryStatus      `json:"directory"`
	Routes    []RouteStatus        `json:"routes"`
	// Upstreams are those that were called, each with its protection.
	Upstreams []UpstreamStatus `json:"upstreams"`
	// Redis is how the store that replicas share is doing; nil if there is none.
	Redis *redisstore.Status `json:"redis,omitempty"`
	// Cache is how the kept answers stand, of all routes.
	Cache cache.Stats `json:"cache"`
	// Evidence is how the evidence stands; nil if none is kept.
	Evidence *audit.Status `json:"evidence,omitempty"`
	// Refused are the enterprises that an upstream refuses, the latest hundred.
	Refused activity.RefusedList `json:"refused"`
}

// UpstreamStatus is one upstream and how its circuit, bulkhead and retries stand.
// The counts only grow.
type UpstreamStatus struct {
	Name      string    `json:"name"`
	Base      string    `json:"baseUrl"`
	Circuit   string    `json:"circuit"`
	OpenUntil time.Time `json:"openUntil,omitzero"`
	// UntriedSince is since when a half-open circuit has seen no failure, once that is
	// longer than its window: the next calls find out.
	UntriedSince time.Time `json:"untriedSince,omitzero"`
	Opened       uint64    `json:"opened"`
	InFlight     int       `json:"inFlight"`
	Queued       int       `json:"queued"`
	// Waiting are the calls that wait for the upstream's header, large uploads aside, and
	// WaitingSince since when the oldest of them does. UnansweredSince is since when there
	// were calls and no answer, with those that timed out or gave up.
	Waiting         int       `json:"waiting"`
	WaitingSince    time.Time `json:"waitingSince,omitzero"`
	UnansweredSince time.Time `json:"unansweredSince,omitzero"`
	Retries         uint64    `json:"retries"`
	RetriesDenied   uint64    `json:"retriesDenied"`
	RefusedOpen     uint64    `json:"refusedOpen"`
	RefusedFull     uint64    `json:"refusedFull"`
	RefusedRate     uint64    `json:"refusedRate"`
	// Connections are shown by metrics alone.
	Connections wire.Counts `json:"-"`
}

// RejectedStatus is a configuration that was not taken.
type RejectedStatus struct {
	At     time.Time `json:"at"`
	Hash   string    `json:"hash,omitempty"`
	Errors []string  `json:"errors"`
}

// DirectoryStatus is how the list of Document Providers stands.
type DirectoryStatus struct {
	Source      string           `json:"source,omitempty"`
	AgeSeconds  int64            `json:"ageSeconds,omitempty"`
	LastTry     time.Time        `json:"lastTry,omitzero"`
	LastSuccess time.Time        `json:"lastSuccess,omitzero"`
	LastError   string           `json:"lastError,omitempty"`
	Problems    []string         `json:"problems,omitempty"`
	Providers   []ProviderStatus `json:"providers"`
}

// ProviderStatus is one Document Provider.
type ProviderStatus struct {
	ID         string            `json:"providerId"`
	Name       map[string]string `json:"name,omitempty"`
	State      string            `json:"state"`
	Base       string            `json:"baseUrl,omitempty"`
	APIVersion string            `json:"apiVersion,omitempty"`
	// Contact is whom the registry names for questions.
	Contact string `json:"contact,omitempty"`
	Refusal string `json:"refusal,omitempty"`
	// Circuit is the worst of the routes that lead to it, OpenUntil when the next
	// call may try an open one.
	Circuit   string    `json:"circuit"`
	OpenUntil time.Time `json:"openUntil,omitzero"`
	// Announced is the registry's maintenance, now or to come; Switched ours, now.
	Announced []Window           `json:"announcedMaintenance,omitempty"`
	Switched  *admin.Maintenance `json:"switchedMaintenance,omitempty"`
}

// Window is a stretch of time.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// RouteStatus is one route.
type RouteStatus struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	Upstream string   `json:"upstream"`
	Methods  []string `json:"methods"`
	// Providers says that it leads to the Document Providers.
	Providers bool `json:"providers,omitempty"`
}

// Status gathers how the gateway stands with everything around it.
func (g *Gateway) Status() Status {
	now := g.current.Load()
	health := g.health()
	s := Status{
		Version: g.o.Version, Environment: string(now.cfg.Environment), StartedAt: g.started.UTC(), Now: g.o.Now().UTC(),
		Health: health.Status, Ready: g.ready() == "", Attention: g.attention(health), Maintenance: g.pool.switches.list(),
		Clients: now.tokens.Status(), Directory: now.directoryStatus(), Refused: g.activity.Refused(shownRefused),
	}
	s.Configuration.Hash, s.Configuration.Since, s.Configuration.Files = now.cfg.Hash(), now.since, now.cfg.Files()
	t := now.cfg.Tenancy
	s.Tenancy.Mode, s.Tenancy.Enterprises, s.Tenancy.Callers = string(t.Mode), len(t.Enterprises), len(now.cfg.Callers)
	s.Tenancy.Suspended = now.suspendedCount()
	if r := g.rejected.Load(); r != nil {
		s.Configuration.Rejected = &RejectedStatus{At: r.at, Hash: r.hash, Errors: r.errors}
	}
	for _, a := range g.Addrs() {
		s.Listeners.Internal = append(s.Listeners.Internal, a.String())
	}
	for _, a := range g.AdminAddrs() {
		s.Listeners.Admin = append(s.Listeners.Admin, a.String())
	}
	for _, r := range now.cfg.Routes {
		route := RouteStatus{Name: r.Name, Path: r.Path, Methods: r.Methods, Upstream: "the provider named in the path",
			Providers: r.Registry}
		if r.Upstream != nil {
			route.Upstream = r.Upstream.String()
		}
		s.Routes = append(s.Routes, route)
	}
	s.Upstreams = g.pool.status()
	s.Cache = g.pool.cache.Stats()
	s.Evidence = g.pool.evidence.status()
	if r := now.redis.shared; r != nil {
		shared := r.Status()
		s.Redis = &shared
	}
	return s
}

func (g *generation) directoryStatus() DirectoryStatus {
	d := g.directory.Status()
	s := DirectoryStatus{
		Source: d.Source, AgeSeconds: int64(d.Age / time.Second), LastTry: d.LastTry, LastSuccess: d.LastSuccess,
		LastError: d.LastError, Problems: d.Problems, Providers: []ProviderStatus{},
	}
	now := g.now()
	for _, p := range g.directory.List() {
		s.Providers = append(s.Providers, g.providerStatus(p, now))
	}
	return s
}

// unable says why nothing is served. One that has no key can do nothing, and perhaps
// another one can.
func (g *Gateway) unable() string {
	if g.state.Load() != serving {
		return "the gateway is stopping"
	}
	if s := g.pool.evidence.status(); s != nil && s.Refusing {
		return g.pool.evidence.trouble()
	}
	clients := g.current.Load().tokens.Status()
	for _, c := range clients {
		if c.Key != nil {
			return ""
		}
	}
	if len(clients) == 0 {
		return ""
	}
	return "no OAuth client has a key that can be loaded: " + clients[0].KeyError.Text
}

// health is UP if everything the gateway needs works, DOWN if nothing does.
func (g *Gateway) health() admin.Health {
	if reason := g.unable(); reason != "" {
		return admin.Health{Status: admin.Down, Reason: reason}
	}
	if m, ok := g.pool.switches.gateway(); ok {
		// Still ready: a gateway that says until when it is away serves its callers better
		// than a balancer that has nobody left.
		return admin.Health{Status: admin.Down, Reason: "the gateway is " + sentence(m)}
	}
	h := g.current.Load().health()
	if r := g.rejected.Load(); r != nil {
		h.Status = admin.Degraded
		h.Details["configuration"] = admin.Health{Status: admin.Degraded, Reason: "a new configuration was not taken: " +
			firstOf(r.errors)}
	}
	if why := g.pool.evidence.trouble(); why != "" {
		h.Status = admin.Degraded
		h.Details["evidence"] = admin.Health{Status: admin.Degraded, Reason: why}
	}
	return h
}

// firstOf is the first mistake, without the line that it quotes, and how many more
// there are: gateway check and the status list them all.
func firstOf(mistakes []string) string {
	first, _, _ := strings.Cut(mistakes[0], "\n")
	if n := len(mistakes) - 1; n > 0 {
		return fmt.Sprintf("%s, and %d more", first, n)
	}
	return first
}

func (g *generation) health() admin.Health {
	h := admin.Health{Status: admin.Up, Details: make(map[string]admin.Health)}
	degraded := func(part, reason string) {
		h.Status = admin.Degraded
		h.Details[part] = admin.Health{Status: admin.Degraded, Reason: reason}
	}
	for _, c := range g.tokens.Status() {
		part := "client " + c.Name
		switch {
		case c.KeyError != nil && c.Key == nil:
			degraded(part, c.KeyError.Text)
		case c.KeyError != nil: // nothing fails yet, and everything will after a restart
			degraded(part, c.KeyError.Text+". The former key goes on signing until the process ends: do not restart it")
		case c.Key != nil && c.Key.State != authn.KeyUsable && c.Key.State != authn.KeyNoCertificate:
			degraded(part, fmt.Sprintf("its certificate is %s (until %s): request a new one", c.Key.State,
				c.Key.NotAfter.Format(time.DateOnly)))
		}
		if c.Pending != nil {
			degraded(part, "a new key does not sign yet: "+c.Pending.Reason)
		}
		for _, t := range c.Tokens {
			if t.Error != nil && t.Hash == "" {
				degraded(part, t.Error.Text)
			}
		}
	}
	if d := g.directory.Status(); g.cfg.Registry.URL != nil && d.LastError != "" {
		if len(g.directory.List()) == 0 {
			degraded("registry", "there is no list of Document Providers: "+d.LastError)
		} else if d.Age > 2*g.cfg.Registry.Refresh {
			degraded("registry", fmt.Sprintf("the list of Document Providers is %s old: %s",
				d.Age.Round(time.Second), d.LastError))
		}
	}
	for _, u := range g.pool.status() {
		// One that nobody has tried for so long says nothing about now: a provider that is
		// asked once a night would be in trouble all day. It is listed as a notice.
		if u.Circuit != string(resilience.Closed) && u.UntriedSince.IsZero() {
			degraded("upstream "+u.Name, "its circuit is "+u.Circuit+": it has been failing")
		}
	}
	if r := g.redis.shared; r != nil {
		if s := r.Status(); s.State != redisstore.StateUp {
			degraded("redis", "the gateway goes on without Redis where it has to: "+s.Reason)
		}
	}
	for _, p := range g.directory.List() {
		if p.State(g.now()) == directory.HostNotAllowed {
			degraded("provider "+p.ID, p.Refusal)
		}
	}
	return h
}

// shownRefused is how many refused enterprises /status lists.
const shownRefused = 100

// providerStatus is one provider as /status shows it.
func (g *generation) providerStatus(p *directory.Provider, now time.Time) ProviderStatus {
	s := ProviderStatus{
		ID: p.ID, Name: p.Name, State: string(p.State(now)), APIVersion: p.APIVersion, Contact: p.Contact, Refusal: p.Refusal,
		Circuit: string(resilience.Closed),
	}
	if p.Base != nil {
		s.Base = p.Base.String()
	}
	for _, w := range p.Maintenance {
		if w.End.After(now) {
			s.Announced = append(s.Announced, Window{w.Start.UTC(), w.End.UTC()})
		}
	}
	if m, ok := g.pool.switches.provider(p.ID); ok {
		s.State, s.Switched = string(directory.Maintenance), &m
	}
	for _, f := range g.federated {
		state := f.circuit(p.ID)
		if state.Circuit == resilience.Open || s.Circuit == string(resilience.Closed) {
			s.Circuit, s.OpenUntil = string(state.Circuit), state.Until
		}
	}
	return s
}
