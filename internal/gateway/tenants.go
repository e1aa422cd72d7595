package gateway

import (
	"fmt"
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

// newTable makes the table of represented enterprises.
func newTable(t config.Tenancy) (*tenancy.Table, error) {
	list := make([]tenancy.Enterprise, 0, len(t.Enterprises))
	for _, e := range t.Enterprises {
		list = append(list, tenancy.Enterprise{
			Number: e.Number, Name: e.Name, Client: e.Client, Routes: e.Routes, From: e.From, Until: e.Until, Suspended: e.Suspended,
		})
	}
	table, err := tenancy.NewTable(list, t.Suspended)
	if err != nil {
		return nil, fmt.Errorf("reading the enterprises: %w", err)
	}
	return table, nil
}

func (g *generation) newResolver() (*resolver, error) {
	table, err := newTable(g.cfg.Tenancy)
	if err != nil {
		return nil, err
	}
	mode := tenancy.Listed
	if g.cfg.Tenancy.Mode == config.Any {
		mode = tenancy.Any
	}
	return newResolver(tenancy.ResolverOptions{
		Mode: mode, Table: table, DefaultClient: g.cfg.Tenancy.DefaultClient, Now: g.now,
	}, len(g.cfg.Tenancy.Suspended), suspendedRows(g.cfg.Tenancy)), nil
}

// resolver is a tenancy.Resolver whose suspended numbers can be changed.
type resolver struct {
	mu      sync.Mutex
	options tenancy.ResolverOptions
	// stopped counts the suspended numbers, rows those of the table's own rows.
	stopped, rows int
	current       atomic.Pointer[tenancy.Resolver]
}

func newResolver(o tenancy.ResolverOptions, files, rows int) *resolver {
	r := &resolver{options: o, stopped: files + rows, rows: rows}
	r.current.Store(tenancy.NewResolver(o))
	return r
}

func suspendedRows(t config.Tenancy) (n int) {
	for _, e := range t.Enterprises {
		if e.Suspended {
			n++
		}
	}
	return n
}

// suspended counts the numbers of the suspended files and the rows that say so.
func (r *resolver) suspended() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

func (r *resolver) suspend(numbers []enterprise.Number) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.options.Table = r.options.Table.WithSuspended(numbers)
	r.stopped = len(numbers) + r.rows
	r.current.Store(tenancy.NewResolver(r.options))
}

// Check implements server.Resolver.
func (r *resolver) Check(c *tenancy.Caller, route *tenancy.Route, action ebox.Action, claim tenancy.Claim) error {
	return r.current.Load().Check(c, route, action, claim)
}

// Resolve implements server.Resolver.
func (r *resolver) Resolve(c *tenancy.Caller, route *tenancy.Route, action ebox.Action, method string, claim tenancy.Claim) (tenancy.Tenant, error) {
	return r.current.Load().Resolve(c, route, action, method, claim)
}
