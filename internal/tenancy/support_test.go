package tenancy_test

import (
	"cmp"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

// What grant/citizen calls the represented enterprise.
const numberName, enterpriseName = "representedEnterpriseNumber", "representedEnterprise"

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

// ruled is the caller of one rule that matches everybody.
func ruled(rule config.Caller) *tenancy.Caller {
	rule.Name = cmp.Or(rule.Name, "hr")
	return tenancy.NewCallers([]config.Caller{rule}).List()[0]
}

// asked is a call, "POST /path @header >target ?query body", of which only the method must be
// there; "_" in a header is a blank.
func asked(t testing.TB, call string) (method string, claim tenancy.Claim) {
	t.Helper()
	method, rest, _ := strings.Cut(call, " ")
	query, body := "", ""
	for part := range strings.FieldsSeq(rest) {
		switch part[0] {
		case '/':
			claim.Path, claim.HasPath = part[1:], true
		case '@':
			claim.Header = append(claim.Header, strings.ReplaceAll(part[1:], "_", " "))
		case '>':
			claim.Target = number(part[1:])
		case '?':
			query = part[1:]
		default:
			body = part
		}
	}
	var err error
	if claim.Query, err = tenancy.NamedInQuery(query); err != nil {
		t.Fatal(err)
	}
	if claim.Body, err = tenancy.NamedInBody([]byte(body), "application/json", ""); err != nil {
		t.Fatal(err)
	}
	return method, claim
}

// listing is what a call that lists for somebody ends in.
func listing(t testing.TB, r *tenancy.Resolver, rule config.Caller, route *tenancy.Route, call string,
) (tenancy.Tenant, error) {
	t.Helper()
	method, claim := asked(t, call)
	return r.Resolve(ruled(rule), route, ebox.List, method, claim)
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

// outcome is how resolving ended: the status of a refusal, or for whom the call is, a number,
// "own" or "nobody".
func outcome(t testing.TB, got tenancy.Tenant, err error) string {
	t.Helper()
	switch {
	case err != nil:
		return strconv.Itoa(status(t, err))
	case got.Own:
		return "own"
	}
	return cmp.Or(got.Number.String(), "nobody")
}

func issues(err error) []problem.Issue {
	var p *problem.Problem
	errors.As(err, &p)
	return p.Issues
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func resolver(mode config.Mode) *tenancy.Resolver {
	return tenancy.NewResolver(config.Tenancy{
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
	eboxRoute  = routed("ebox-providers", config.KindEBox, config.Required)
	grantRoute = routed("grant-citizen", config.KindMandates, config.Optional)
	registry   = routed("ebox-registry", config.KindRegistry, config.None)
	ownRoute   = routed("payslips", config.KindPlain, config.Optional)
	partition  = &tenancy.Route{Route: eboxRoute.Route, Own: dairy}
)

func routed(name string, kind config.Kind, enterprise config.Demand) *tenancy.Route {
	return &tenancy.Route{Route: &config.Route{Name: name, Kind: kind, Enterprise: enterprise}}
}

var everything = config.Caller{May: ebox.All, Own: true}
