package gateway

import (
	"fmt"

	"ebox-gateway/internal/config"
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

func (g *generation) newResolver() (*tenancy.Resolver, error) {
	table, err := newTable(g.cfg.Tenancy)
	if err != nil {
		return nil, err
	}
	mode := tenancy.Listed
	if g.cfg.Tenancy.Mode == config.Any {
		mode = tenancy.Any
	}
	return tenancy.NewResolver(tenancy.ResolverOptions{
		Mode: mode, Table: table, DefaultClient: g.cfg.Tenancy.DefaultClient, Now: g.now,
	}), nil
}
