package gateway

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

// newCallers turns the callers of the configuration into rules.
func newCallers(list []config.Caller) (*tenancy.Callers, error) {
	rules := make([]tenancy.Caller, 0, len(list))
	for _, c := range list {
		rule := tenancy.Caller{
			Name: c.Name, Networks: c.Networks, Listeners: c.Listeners, Enterprises: c.Enterprises, Routes: c.Routes,
			Own: c.Own, Default: c.DefaultEnterprise, May: c.May, Class: string(c.Class), Partial: c.Partial,
		}
		for _, m := range c.ClientCertificates {
			rule.Certificates = append(rule.Certificates, tenancy.CertificateMatch{
				CommonName: m.CommonName, DNSName: m.DNSName, URI: m.URI, SHA256: m.Fingerprint,
			})
		}
		rules = append(rules, rule)
	}
	callers, err := tenancy.NewCallers(rules)
	if err != nil {
		return nil, fmt.Errorf("reading the callers: %w", err)
	}
	return callers, nil
}

func (g *generation) newResolver() (*resolver, error) {
	suspended := suspendedIn(g.cfg.Tenancy)
	table, err := tenancy.NewTable(g.cfg.Tenancy.Enterprises, suspended)
	if err != nil {
		return nil, fmt.Errorf("reading the enterprises: %w", err)
	}
	mode := tenancy.Listed
	if g.cfg.Tenancy.Mode == config.Any {
		mode = tenancy.Any
	}
	return newResolver(tenancy.ResolverOptions{
		Mode: mode, Table: table, DefaultClient: g.cfg.Tenancy.DefaultClient, Now: g.now,
	}, suspended), nil
}

// suspendedIn are the numbers that a configuration suspends, in its files and its rows.
func suspendedIn(t config.Tenancy) map[enterprise.Number]bool {
	numbers := make(map[enterprise.Number]bool, len(t.Suspended))
	for _, n := range t.Suspended {
		numbers[n] = true
	}
	for _, e := range t.Enterprises {
		if e.Suspended {
			numbers[e.Number] = true
		}
	}
	return numbers
}

// resolver is a tenancy.Resolver to which suspended numbers can be added.
type resolver struct {
	mu      sync.Mutex
	options tenancy.ResolverOptions
	// numbers are those suspended now; added says that the configuration has fewer.
	numbers map[enterprise.Number]bool
	added   bool
	current atomic.Pointer[tenancy.Resolver]
}

func newResolver(o tenancy.ResolverOptions, suspended map[enterprise.Number]bool) *resolver {
	r := &resolver{options: o, numbers: suspended}
	r.current.Store(tenancy.NewResolver(o))
	return r
}

// suspended are the numbers suspended now. more says that some were added after the
// configuration was read. The map is not changed any more.
func (r *resolver) suspended() (numbers map[enterprise.Number]bool, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numbers, r.added
}

// suspend adds numbers and returns how many of them are new.
func (r *resolver) suspend(numbers []enterprise.Number) (added int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.numbers)
	for _, n := range numbers {
		if !all[n] {
			all[n] = true
			added++
		}
	}
	if added > 0 {
		r.numbers, r.added = all, true
		r.options.Table = r.options.Table.WithSuspended(all)
		r.current.Store(tenancy.NewResolver(r.options))
	}
	return added
}

// Check implements server.Resolver.
func (r *resolver) Check(c *tenancy.Caller, route *tenancy.Route, action ebox.Action, claim tenancy.Claim) error {
	return r.current.Load().Check(c, route, action, claim)
}

// Resolve implements server.Resolver.
func (r *resolver) Resolve(c *tenancy.Caller, route *tenancy.Route, action ebox.Action, method string,
	claim tenancy.Claim) (tenancy.Tenant, error) {
	return r.current.Load().Resolve(c, route, action, method, claim)
}
