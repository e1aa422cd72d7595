package gateway

import (
	"maps"
	"sync"
	"sync/atomic"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

func (g *generation) newResolver() *resolver {
	suspended := suspendedIn(g.cfg.Tenancy)
	return newResolver(tenancy.ResolverOptions{
		Mode: g.cfg.Tenancy.Mode, Table: tenancy.NewTable(g.cfg.Tenancy.Enterprises, suspended),
		DefaultClient: g.cfg.Tenancy.DefaultClient, Now: g.now,
	}, suspended)
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
