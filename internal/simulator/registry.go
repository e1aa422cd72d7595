package simulator

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// Providers lists the providers in the order of the Provider Registry.
func (s *Simulator) Providers() []Provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.providers)
}

// SetProvider changes the provider with p's id in the list, or adds it: another
// maintenance window, another base URL (which the simulator then need not serve),
// other dates.
func (s *Simulator) SetProvider(p Provider) error {
	if p.ID == "" {
		return errors.New("setting a provider: it needs an id")
	}
	if p.URL == "" && strings.ContainsAny(p.ID, `/?#%"\`) {
		return errors.New(`setting a provider: an id with one of / ? # % " \ needs a URL of its own`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.URL == "" {
		p.URL = s.host(s.main, p.ID, "/providers/"+p.ID, p.APIVersion)
	}
	if i := slices.IndexFunc(s.providers, func(q Provider) bool { return q.ID == p.ID }); i >= 0 {
		s.providers[i] = p
	} else {
		s.providers = append(s.providers, p)
	}
	return nil
}

// removeProvider takes a provider off the list. Its URL goes on being served.
func (s *Simulator) removeProvider(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.providers = slices.DeleteFunc(s.providers, func(p Provider) bool { return p.ID == id })
}

func (s *Simulator) provider(id string) (Provider, bool) {
	for _, p := range s.providers {
		if p.ID == id {
			return p, true
		}
	}
	return Provider{}, false
}

// host makes the simulator serve a Message Registry for a provider and gives its
// base URL. A provider has one registry: hosting it again changes nothing.
func (s *Simulator) host(at *site, id, path, version string) string {
	m := s.registries[id]
	if m == nil {
		m = newMessageRegistry(s, at, id, path, version)
		s.registries[id] = m
		at.mount(path, m.api)
	}
	return m.base()
}

// guard refuses in the place of a provider that is not to be called now. A
// gateway that knows the registry's dates never gets to see these answers.
func (s *Simulator) guard(c *call) error {
	p, ok := s.provider(strings.TrimPrefix(c.upstream, "provider:"))
	if !ok {
		return nil // off the list, but a client may still have the URL
	}
	now := s.now()
	today := now.UTC().Format(time.DateOnly)
	switch {
	case p.Activation > today:
		return problem.NotFound("This Document Provider is not active yet.")
	case p.Deactivation != "" && p.Deactivation < today:
		return refuse(http.StatusGone, "resourceNotFound", "Gone", "This Document Provider was deactivated.")
	}
	for _, w := range p.Maintenance {
		if !now.Before(w.Start) && now.Before(w.End) {
			return problem.UnavailableUntil("This Document Provider is in maintenance.", w.End)
		}
	}
	return nil
}

// mountRegistry puts the two shapes of the Provider Registry in their places, a list of the
// providers and its items. The older one lives below the Federation API, and is an array.
func (s *Simulator) mountRegistry() {
	newer := &api{upstream: UpstreamRegistry, site: s.main, path: registryPath}
	newer.endpoints = s.providerEndpoints("/messageRegistries", func(c *call, all []listedProvider) any {
		return map[string]any{"items": all, "totalItems": len(all), "_links": links{"self": {c.base() + c.below}}}
	})
	s.main.mount(registryPath, newer)
	older := &api{upstream: UpstreamRegistry, site: s.main, path: federationPath}
	older.endpoints = s.providerEndpoints("/messageProviders", func(_ *call, all []listedProvider) any { return all })
	s.main.mount(federationPath+"/messageProviders", older)
}

func (s *Simulator) providerEndpoints(path string, list func(*call, []listedProvider) any) []endpoint {
	listed := func(c *call, p Provider) listedProvider {
		return listedProvider{p, links{"self": {c.base() + path + "/" + url.PathEscape(p.ID)}}}
	}
	return []endpoint{
		{"GET", path, []string{ScopeRegistry}, func(c *call) (any, error) {
			all := make([]listedProvider, len(s.providers))
			for i, p := range s.providers {
				all[i] = listed(c, p)
			}
			return list(c, all), nil
		}},
		{"GET", path + "/{}", []string{ScopeRegistry}, func(c *call) (any, error) {
			if p, ok := s.provider(c.args[0]); ok {
				return listed(c, p), nil
			}
			return nil, problem.NotFound("There is no Document Provider of this id.")
		}},
	}
}
