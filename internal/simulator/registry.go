package simulator

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Provider is a Document Provider as the Provider Registry lists it.
type Provider struct {
	// ID names it: "nsso".
	ID string
	// Name and Description are by language: nl, fr, de, en.
	Name, Description map[string]string
	// URL is the base URL of its Message Registry. SetProvider fills an empty one
	// with a URL that the simulator serves.
	URL string
	// Activation and Deactivation are days, "2026-01-31"; Deactivation may be empty.
	Activation, Deactivation string
	// Maintenance lists the planned windows.
	Maintenance []Window
	// Contact is the technical contact, APIVersion the version served: "3.0".
	Contact, APIVersion string
}

// Window is a span of planned maintenance.
type Window struct{ Start, End time.Time }

// providerRegistry is the list of the federation and, for each provider that the
// simulator itself serves, its Message Registry.
type providerRegistry struct {
	s *Simulator

	mu   sync.RWMutex
	list []Provider
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
	return s.directory.set(p)
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
