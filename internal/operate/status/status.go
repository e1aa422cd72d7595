// Package status says how a gateway stands with everything around it: for monitors in a word,
// for people in sentences, for programs in numbers.
package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/redisstore"
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
		Rejected *operate.Rejected `json:"rejected,omitempty"`
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
	Upstreams []operate.Upstream `json:"upstreams"`
	// Redis is how the store that replicas share is doing; nil if there is none.
	Redis *redisstore.Status `json:"redis,omitempty"`
	// Cache is how the kept answers stand, of all routes.
	Cache cache.Stats `json:"cache"`
	// Evidence is how the evidence stands; nil if none is kept.
	Evidence *audit.Status `json:"evidence,omitempty"`
	// Refused are the enterprises that an upstream refuses, the latest hundred.
	Refused activity.RefusedList `json:"refused"`
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
	Announced []ebox.Window      `json:"announcedMaintenance,omitempty"`
	Switched  *admin.Maintenance `json:"switchedMaintenance,omitempty"`
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

// Of gathers how the gateway stands with everything around it.
func Of(v *operate.View) Status {
	s := read(v)
	standing := causes(v, &s)
	health := healthOf(v, standing)
	s.Health, s.Ready, s.Attention = health.Status, NotReady(v) == "", attention(v, &s, health, standing)
	s.Refused, s.Cache = v.Activity.Refused(shownRefused), v.Cache()
	return s
}

// read reads once everything that is judged.
func read(v *operate.View) Status {
	s := Status{
		Version: v.Version, Environment: string(v.Config.Environment), StartedAt: v.Started.UTC(), Now: v.Now().UTC(),
		Maintenance: v.Switches.List(), Clients: v.Tokens.Status(), Upstreams: v.Upstreams(), Evidence: v.Evidence,
	}
	s.Configuration.Hash, s.Configuration.Since, s.Configuration.Files = v.Config.Hash(), v.Since, v.Config.Files()
	s.Configuration.Rejected = v.Rejected
	t := v.Config.Tenancy
	s.Tenancy.Mode, s.Tenancy.Enterprises, s.Tenancy.Callers = string(t.Mode), len(t.Enterprises), len(v.Config.Callers)
	s.Tenancy.Suspended = v.Suspended
	for _, a := range v.Internal {
		s.Listeners.Internal = append(s.Listeners.Internal, a.String())
	}
	for _, a := range v.Admin {
		s.Listeners.Admin = append(s.Listeners.Admin, a.String())
	}
	for _, r := range v.Config.Routes {
		route := RouteStatus{Name: r.Name, Path: r.Path, Methods: r.Methods, Upstream: "the provider named in the path",
			Providers: r.Registry}
		if r.Upstream != nil {
			route.Upstream = r.Upstream.String()
		}
		s.Routes = append(s.Routes, route)
	}
	if v.Redis != nil {
		s.Redis = new(v.Redis.Status())
	}
	d := v.Directory.Status()
	s.Directory = DirectoryStatus{
		Source: d.Source, AgeSeconds: int64(d.Age / time.Second), LastTry: d.LastTry, LastSuccess: d.LastSuccess,
		LastError: d.LastError, Problems: d.Problems, Providers: []ProviderStatus{},
	}
	for _, p := range v.Directory.List() {
		s.Directory.Providers = append(s.Directory.Providers, providerStatus(v, p, s.Now))
	}
	return s
}

// Unable says why nothing is served. One that has no key can do nothing, and perhaps
// another one can.
func Unable(v *operate.View) string {
	if v.Stopping {
		return "the gateway is stopping"
	}
	if s := v.Evidence; s != nil && s.Refusing {
		return causeOfEvidence(s, v.Now()).Text
	}
	clients := v.Tokens.Status()
	if len(clients) == 0 || slices.ContainsFunc(clients, func(c authn.ClientStatus) bool { return c.Key != nil }) {
		return ""
	}
	return "no OAuth client has a key that can be loaded: " + clients[0].KeyError.Text
}

// Health is UP if everything the gateway needs works, DOWN if nothing does.
func Health(v *operate.View) admin.Health {
	s := read(v)
	return healthOf(v, causes(v, &s))
}

// healthOf is DEGRADED if something fails or is degraded, by its part. The first that is
// said of a part is nearest to the cause.
func healthOf(v *operate.View, list attentions) admin.Health {
	if reason := Unable(v); reason != "" {
		return admin.Health{Status: admin.Down, Reason: reason}
	}
	if m, ok := v.Switches.Gateway(); ok {
		// Still ready: a gateway that says until when it is away serves its callers better
		// than a balancer that has nobody left.
		return admin.Health{Status: admin.Down, Reason: "the gateway is " + maintenance.Sentence(m)}
	}
	h := admin.Health{Status: admin.Up, Details: make(map[string]admin.Health)}
	for _, a := range list {
		if _, said := h.Details[a.Part]; said || a.Severity == severityNotice {
			continue
		}
		h.Status = admin.Degraded
		h.Details[a.Part] = admin.Health{Status: admin.Degraded, Reason: a.Text}
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

// shownRefused is how many refused enterprises /status lists.
const shownRefused = 100

// providerStatus is one provider as /status shows it.
func providerStatus(v *operate.View, p *directory.Provider, now time.Time) ProviderStatus {
	s := ProviderStatus{
		ID: p.ID, Name: p.Name, State: string(p.State(now)), APIVersion: p.APIVersion, Contact: p.Contact, Refusal: p.Refusal,
	}
	if p.Base != nil {
		s.Base = p.Base.String()
	}
	for _, w := range p.Maintenance {
		if w.End.After(now) {
			s.Announced = append(s.Announced, w)
		}
	}
	if m, ok := v.Switches.Provider(p.ID); ok {
		s.State, s.Switched = string(directory.Maintenance), &m
	}
	state := v.Circuit(p.ID)
	s.Circuit, s.OpenUntil = string(state.Circuit), state.Until
	return s
}

// NotReady says why requests should go elsewhere, empty if they need not.
func NotReady(v *operate.View) string {
	if reason := Unable(v); reason != "" || v.ReadyBefore {
		return reason
	}
	return v.Missing
}
