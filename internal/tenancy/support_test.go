package tenancy

import (
	"cmp"
	"errors"
	"net/netip"
	"strconv"
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

// caller compiles one rule that matches everybody.
func caller(t testing.TB, c config.Caller) *Caller {
	t.Helper()
	if c.Name == "" {
		c.Name = "hr"
	}
	return NewCallers([]config.Caller{c}).List()[0]
}

// anybody is the caller of a gateway without rules.
func anybody() *Caller { return NewCallers(nil).List()[0] }

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

// outcome is how resolving ended: the status of a refusal, or for whom the call is, a number,
// "own" or "nobody", and where that was said.
func outcome(t testing.TB, got Tenant, err error) string {
	t.Helper()
	if err != nil {
		return strconv.Itoa(status(t, err))
	}
	who := cmp.Or(got.Number.String(), "nobody")
	if got.Own {
		who = "own"
	}
	return who + [...]string{FormNone: "", FormPath: " path", FormHeader: " header", FormDefault: " default"}[got.Form]
}

func issues(err error) []problem.Issue {
	var p *problem.Problem
	errors.As(err, &p)
	return p.Issues
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func resolver(mode config.Mode) *Resolver {
	return NewResolver(config.Tenancy{
		Mode: mode,
		Enterprises: []config.Enterprise{
			{Number: bakery, Name: "Bakery"},
			{Number: brewery, Name: "Brewery", Client: "brewing", Routes: []string{"ebox"}},
			{Number: chemist, Name: "Chemist"},
		},
		DefaultClient: "payroll",
	}, clock)
}

// enterprises makes n rows with numbers given out in a row, as the register does.
func enterprises(n int) []config.Enterprise {
	list := make([]config.Enterprise, 0, n)
	for head := uint32(2_000_000); len(list) < n; head++ {
		list = append(list, config.Enterprise{Number: enterprise.Number(head*100 + 97 - head%97)})
	}
	return list
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
