package simulator

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/problem"
)

// Provider is a Document Provider as the Provider Registry lists it, with the
// member names of the public description (version 1.3).
type Provider struct {
	// ID names it: "nsso".
	ID string `json:"messageProviderId"`
	// Name and Description are by language: nl, fr, de, en.
	Name        map[string]string `json:"messageProviderName"`
	Description map[string]string `json:"messageProviderDescription"`
	// URL is the base URL of its Message Registry. SetProvider fills an empty one
	// with a URL that the simulator serves.
	URL string `json:"messageProviderUrl"`
	// Activation and Deactivation are days, "2026-01-31"; Deactivation may be empty.
	Activation   string `json:"messageProviderActivationDate"`
	Deactivation string `json:"messageProviderDeactivationDate,omitempty"`
	// Contact is the technical contact.
	Contact string `json:"messageProviderTechnicalContact"`
	// Maintenance lists the planned windows.
	Maintenance []Window `json:"messageProviderPlannedMaintenance,omitempty"`
	// APIVersion is the version of the Message Registry API that it serves: "3.0".
	APIVersion string `json:"apiSupportedVersion"`
}

// Window is a span of planned maintenance: from Start until End, without it.
type Window struct {
	Start time.Time `json:"startDate"`
	End   time.Time `json:"endDate"`
}

// listedProvider is a provider with the link to itself.
type listedProvider struct {
	Provider
	Links links `json:"_links"`
}

// links are HAL links by relation.
type links map[string]link

type link struct {
	Href string `json:"href"`
}

// providerRegistry is the list of the federation and, for each provider that the
// simulator itself serves, its Message Registry.
type providerRegistry struct {
	s *Simulator

	mu         sync.RWMutex
	list       []Provider
	registries map[string]*messageRegistry
}

// Providers lists the providers in the order of the Provider Registry.
func (s *Simulator) Providers() []Provider {
	d := s.directory
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Clone(d.list)
}

// SetProvider changes the provider with p's id in the list, or adds it: another
// maintenance window, another base URL (which the simulator then need not serve),
// other dates.
func (s *Simulator) SetProvider(p Provider) error {
	if p.ID == "" {
		return errors.New("setting a provider: it needs an id")
	}
	if p.URL == "" {
		if strings.ContainsAny(p.ID, `/?#%"\`) {
			return errors.New(`setting a provider: an id with one of / ? # % " \ needs a URL of its own`)
		}
		p.URL = s.directory.host(s.main, p.ID, "/providers/"+p.ID, p.APIVersion)
	}
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	list := slices.Clone(d.list)
	if i := slices.IndexFunc(list, func(q Provider) bool { return q.ID == p.ID }); i >= 0 {
		list[i] = p
	} else {
		list = append(list, p)
	}
	d.list = list
	return nil
}

// RemoveProvider takes a provider off the list. Its URL goes on being served.
func (s *Simulator) RemoveProvider(id string) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.DeleteFunc(slices.Clone(d.list), func(p Provider) bool { return p.ID == id })
}

func (d *providerRegistry) lookup(id string) (Provider, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range d.list {
		if p.ID == id {
			return p, true
		}
	}
	return Provider{}, false
}

// host makes the simulator serve a Message Registry for a provider and gives its
// base URL. A provider has one registry: hosting it again changes nothing.
func (d *providerRegistry) host(at *site, id, path, version string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.registries[id]; m != nil {
		return m.api.base()
	}
	m := newMessageRegistry(d.s, at, id, path, version)
	d.registries[id] = m
	at.mounts.Store(path, m.api)
	return m.api.base()
}

func (d *providerRegistry) registry(id string) *messageRegistry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.registries[id]
}

// guard answers in the place of a provider that is not to be called now. A
// gateway that knows the registry's dates never gets to see these answers.
func (d *providerRegistry) guard(c *call) bool {
	p, ok := d.lookup(strings.TrimPrefix(c.upstream, "provider:"))
	if !ok {
		return false // off the list, but a client may still have the URL
	}
	now := d.s.now()
	today := now.UTC().Format(time.DateOnly)
	switch {
	case p.Activation > today:
		c.fail(problem.NotFound("This Document Provider is not active yet."))
		return true
	case p.Deactivation != "" && p.Deactivation < today:
		c.fail(refuse(http.StatusGone, "resourceNotFound", "Gone", "This Document Provider was deactivated."))
		return true
	}
	for _, w := range p.Maintenance {
		if !now.Before(w.Start) && now.Before(w.End) {
			c.fail(problem.UnavailableUntil("This Document Provider is in maintenance.", w.End))
			return true
		}
	}
	return false
}

// mountRegistry puts the two shapes of the Provider Registry in their places. The
// older one lives below the Federation API, which shares its family of scopes.
func (s *Simulator) mountRegistry() {
	d := s.directory
	scope := []string{ScopeRegistry}
	s.main.mounts.Store(registryPath, &api{
		upstream: UpstreamRegistry, site: s.main, path: registryPath, scopes: scope,
		endpoints: []endpoint{
			{"GET", "/messageRegistries", scope, d.listItems},
			{"GET", "/messageRegistries/{}", scope, d.one("/messageRegistries/")},
		},
	})
	s.main.mounts.Store(federationPath+"/messageProviders", &api{
		upstream: UpstreamRegistry, site: s.main, path: federationPath, scopes: []string{ScopeRegistry, ScopePreference},
		endpoints: []endpoint{
			{"GET", "/messageProviders", scope, d.listArray},
			{"GET", "/messageProviders/{}", scope, d.one("/messageProviders/")},
		},
	})
}

func (d *providerRegistry) listed(c *call, below string) []listedProvider {
	d.mu.RLock()
	list := d.list // replaced as a whole, never changed
	d.mu.RUnlock()
	out := make([]listedProvider, len(list))
	for i, p := range list {
		out[i] = listedProvider{p, links{"self": {c.base() + below + url.PathEscape(p.ID)}}}
	}
	return out
}

func (d *providerRegistry) listItems(c *call) {
	items := d.listed(c, "/messageRegistries/")
	c.send(http.StatusOK, halPage[listedProvider]{Items: items, Total: len(items), Links: links{"self": {
		c.base() + "/messageRegistries"}}})
}

func (d *providerRegistry) listArray(c *call) {
	c.send(http.StatusOK, d.listed(c, "/messageProviders/"))
}

func (d *providerRegistry) one(below string) func(*call) {
	return func(c *call) {
		p, ok := d.lookup(c.args[0])
		if !ok {
			c.fail(problem.NotFound("There is no Document Provider of this id."))
			return
		}
		c.send(http.StatusOK, listedProvider{p, links{"self": {c.base() + below + url.PathEscape(p.ID)}}})
	}
}
