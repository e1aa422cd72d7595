package tenancy

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Valid numbers that the tests use.
var (
	bakery  = number("0206731645")
	brewery = number("0474028805")
	chemist = number("0212148896")
	dairy   = number("0800002352")
)

func number(s string) enterprise.Number {
	n, err := enterprise.Parse(s)
	if err != nil {
		panic(err)
	}
	return n
}

func prefixes(list ...string) []netip.Prefix {
	p := make([]netip.Prefix, len(list))
	for i, s := range list {
		p[i] = netip.MustParsePrefix(s)
	}
	return p
}

func table(t testing.TB, list []config.Enterprise, suspended ...enterprise.Number) *Table {
	t.Helper()
	numbers := make(map[enterprise.Number]bool)
	for _, n := range suspended {
		numbers[n] = true
	}
	return NewTable(list, numbers)
}

// caller compiles one rule that matches everybody.
func caller(t testing.TB, c config.Caller) *Caller {
	t.Helper()
	if c.Name == "" {
		c.Name = "hr"
	}
	callers := NewCallers([]config.Caller{c})
	return callers.List()[0]
}

// anybody is the caller of a gateway without rules.
func anybody(t testing.TB) *Caller {
	t.Helper()
	callers := NewCallers(nil)
	return callers.List()[0]
}

// status is the status of the problem that err is; 0 without one.
func status(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var p *problem.Problem
	if !errors.As(err, &p) {
		t.Fatalf("%v is no problem", err)
	}
	return p.Status
}

func issues(err error) []problem.Issue {
	var p *problem.Problem
	errors.As(err, &p)
	return p.Issues
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func resolver(t testing.TB, mode config.Mode) *Resolver {
	return NewResolver(ResolverOptions{
		Mode: mode,
		Table: table(t, []config.Enterprise{
			{Number: bakery, Name: "Bakery"},
			{Number: brewery, Name: "Brewery", Client: "brewing", Routes: []string{"ebox"}},
			{Number: chemist, Name: "Chemist"},
		}),
		DefaultClient: "payroll",
		Now:           func() time.Time { return noon },
	})
}

var (
	eboxRoute  = &Route{Name: "ebox-providers", Group: "ebox", Enterprise: config.Required}
	grantRoute = &Route{Name: "grant-citizen", Group: "mandates", Enterprise: config.Optional, Mandates: true}
	registry   = &Route{Name: "ebox-registry", Group: "ebox", Enterprise: config.None}
	ownRoute   = &Route{Name: "payslips", Enterprise: config.Optional}
)

func inPath(s string) Claim      { return Claim{Path: s, HasPath: true} }
func inHeader(s ...string) Claim { return Claim{Header: s} }

var everything = config.Caller{May: ebox.All, Own: true}
