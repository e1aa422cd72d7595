package tenancy

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

func TestResolve(t *testing.T) {
	restricted := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, dairy}}
	defaulted := config.Caller{May: ebox.All, Own: true, DefaultEnterprise: bakery}
	for name, c := range map[string]struct {
		caller config.Caller
		route  *Route
		claim  Claim
		want   Tenant // Header and Enterprise are compared apart
		status int
	}{
		"the path": {
			everything, eboxRoute, inPath("0206731645"), Tenant{Number: bakery, Form: FormPath}, 0},
		"the header": {
			everything, eboxRoute, inHeader("0206731645"), Tenant{Number: bakery, Form: FormHeader}, 0},
		"any written form": {
			everything, eboxRoute, inHeader(" be 206.731.645 "), Tenant{Number: bakery, Form: FormHeader}, 0},
		"path and header that agree": {
			everything, eboxRoute, Claim{Path: "0206.731.645", HasPath: true, Header: []string{"BE0206731645"}},
			Tenant{Number: bakery, Form: FormPath}, 0},
		"path and header that disagree": {
			everything, eboxRoute, Claim{Path: "0206731645", HasPath: true, Header: []string{"0212148896"}}, Tenant{}, 400},
		"the header twice": {
			everything, eboxRoute, inHeader("0206731645", "0206731645"), Tenant{}, 400},
		"a list in one header": {
			everything, eboxRoute, inHeader("0206731645, 0206731645"), Tenant{}, 400},
		"an empty header": {everything, eboxRoute, inHeader(""), Tenant{}, 400},
		"an empty header does not mean the default": {defaulted, eboxRoute, inHeader(" "), Tenant{}, 400},
		"an empty segment":                          {everything, eboxRoute, inPath(""), Tenant{}, 400},
		"malformed in the path":                     {everything, eboxRoute, inPath("12345"), Tenant{}, 400},
		"wrong check digits in the header":          {everything, eboxRoute, inHeader("0206731646"), Tenant{}, 400},
		"none on an e-Box route":                    {everything, eboxRoute, Claim{}, Tenant{}, 400},
		"the default": {
			defaulted, eboxRoute, Claim{}, Tenant{Number: bakery, Form: FormDefault}, 0},
		"the path goes before the default": {
			defaulted, eboxRoute, inPath("0212148896"), Tenant{Number: chemist, Form: FormPath}, 0},
		"the header goes before the default": {
			defaulted, eboxRoute, inHeader("0212148896"), Tenant{Number: chemist, Form: FormHeader}, 0},
		"own goes before the default": {
			defaulted, eboxRoute, inPath("own"), Tenant{Own: true, Form: FormPath}, 0},
		"own": {
			everything, eboxRoute, inPath("own"), Tenant{Own: true, Form: FormPath}, 0},
		"own by a caller who may not": {restricted, eboxRoute, inPath("own"), Tenant{}, 403},
		"own and a header": {
			everything, eboxRoute, Claim{Path: "own", HasPath: true, Header: []string{"0206731645"}}, Tenant{}, 400},
		"own in the header is no number": {everything, eboxRoute, inHeader("own"), Tenant{}, 400},
		"own in capitals is no number":   {everything, eboxRoute, inPath("OWN"), Tenant{}, 400},
		"a client of its own": {
			everything, eboxRoute, inPath("0474028805"), Tenant{Number: brewery, Form: FormPath, Client: "brewing"}, 0},
		"an enterprise's routes, by group": {
			everything, &Route{Name: "ebox-partition", Group: "ebox"}, inPath("0474028805"),
			Tenant{Number: brewery, Form: FormPath, Client: "brewing"}, 0},
		"another route than the enterprise's": {everything, ownRoute, inPath("0474028805"), Tenant{}, 403},
		"not listed":                          {everything, eboxRoute, inPath("0800002352"), Tenant{}, 403},
		"not among the caller's":              {restricted, eboxRoute, inPath("0212148896"), Tenant{}, 403},
		"among the caller's and listed": {
			restricted, eboxRoute, inPath("0206731645"), Tenant{Number: bakery, Form: FormPath}, 0},
		"among the caller's and not listed": {restricted, eboxRoute, inPath("0800002352"), Tenant{}, 403},
		"a caller of no enterprise": {
			config.Caller{May: ebox.All, Enterprises: []enterprise.Number{}}, eboxRoute, inPath("0206731645"), Tenant{}, 403},
		"optional, none: as the client itself": {everything, ownRoute, Claim{}, Tenant{Own: true}, 0},
		"optional, none, without own":          {restricted, ownRoute, Claim{}, Tenant{}, 403},
		"optional, named": {
			restricted, ownRoute, inHeader("0206731645"), Tenant{Number: bakery, Form: FormHeader}, 0},
		"optional, default": {
			defaulted, ownRoute, Claim{}, Tenant{Number: bakery, Form: FormDefault}, 0},
		"none needed, none named":                  {restricted, registry, Claim{}, Tenant{}, 0},
		"none needed: the default stays out":       {defaulted, registry, Claim{}, Tenant{}, 0},
		"none needed, named: checked all the same": {restricted, registry, inPath("0212148896"), Tenant{}, 403},
		"none needed, named: for the links": {
			restricted, registry, inPath("0206731645"), Tenant{Number: bakery, Form: FormPath}, 0},
		"none needed, malformed": {everything, registry, inHeader("x"), Tenant{}, 400},
		"the body means nothing on other routes": {
			everything, eboxRoute, Claim{Header: []string{"0206731645"},
				Body: Named{Present: true, Numbers: []enterprise.Number{chemist}}}, Tenant{Number: bakery, Form: FormHeader}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolver(t, config.Listed).Resolve(caller(t, c.caller), c.route, ebox.List, "GET", c.claim)
			if status(t, err) != c.status {
				t.Fatalf("%+v, %v", got, err)
			}
			if c.status == 400 && len(issues(err)) == 0 {
				t.Fatal("no issues")
			}
			if c.status == 0 && c.want.Client == "" {
				c.want.Client = "payroll"
			}
			if c.want.Number != 0 && c.route.Enterprise != config.None {
				if len(got.Header) != 1 || got.Header[0] != c.want.Number.String() {
					t.Fatalf("header %q", got.Header)
				}
			} else if got.Header != nil {
				t.Fatalf("header %q", got.Header)
			}
			if (got.Enterprise != nil) != (c.want.Number != 0) {
				t.Fatalf("row %v", got.Enterprise)
			}
			got.Header, got.Enterprise = nil, nil
			if got.Number != c.want.Number || got.Own != c.want.Own || got.Form != c.want.Form || got.Client != c.want.Client {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestWhoMay(t *testing.T) {
	all := []string{"ebox", "payslips"}
	for name, c := range map[string]struct {
		caller *Caller
		route  *Route
		action ebox.Action
		status int
	}{
		"nobody":               {nil, eboxRoute, ebox.List, 403},
		"a route by its group": {caller(t, config.Caller{May: ebox.All, Routes: all}), eboxRoute, ebox.List, 0},
		"a route by its name":  {caller(t, config.Caller{May: ebox.All, Routes: all}), ownRoute, ebox.List, 0},
		"another route": {
			caller(t, config.Caller{May: ebox.All, Routes: all}), &Route{Name: "other"}, ebox.List, 403},
		"no route at all":              {caller(t, config.Caller{May: ebox.All, Routes: []string{}}), eboxRoute,
			ebox.List, 403},
		"an empty name is not a group": {caller(t, config.Caller{May: ebox.All, Routes: []string{""}}), ownRoute,
			ebox.List, 403},
		"an action":                    {caller(t, config.Caller{May: ebox.Actions(0).With(ebox.List)}), eboxRoute,
			ebox.List, 0},
		"another action":               {caller(t, config.Caller{May: ebox.Actions(0).With(ebox.List)}), eboxRoute,
			ebox.Open, 403},
		"nothing at all":               {caller(t, config.Caller{}), eboxRoute, ebox.List, 403},
		"what needs no permission":     {caller(t, config.Caller{}), eboxRoute, ebox.None, 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolver(t, config.Listed).Resolve(c.caller, c.route, c.action, "GET", inPath("0206731645"))
			if status(t, err) != c.status {
				t.Fatal(err)
			}
		})
	}
}

// A caller learns the first thing that is wrong, and nothing about what it may not
// know: a rule that excludes an enterprise does not tell whether that is listed.
func TestChecksInTheirOrder(t *testing.T) {
	only := []enterprise.Number{bakery}
	for name, c := range map[string]struct {
		caller config.Caller
		claim  Claim
		want   string
	}{
		"route before action":      {config.Caller{Routes: []string{"x"}}, inPath("x"), "the route ebox-providers"},
		"action before the number": {config.Caller{}, inPath("x"), "the action list"},
		"number before the enterprise": {
			config.Caller{May: ebox.All, Enterprises: only}, Claim{Path: "0800002352", HasPath: true, Header: []string{"x"}},
			"cannot be read"},
		"listed, excluded": {
			config.Caller{May: ebox.All, Enterprises: only}, inPath("0212148896"),
			"caller rule hr does not allow acting for enterprise"},
		"not listed, excluded": {
			config.Caller{May: ebox.All, Enterprises: only}, inPath("0800002352"),
			"caller rule hr does not allow acting for enterprise"},
		"not listed": {config.Caller{May: ebox.All}, inPath("0800002352"), "is not listed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolver(t, config.Listed).Resolve(caller(t, c.caller), eboxRoute, ebox.List, "GET", c.claim)
			if err == nil || !strings.Contains(problem.From(err).Detail, c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestAllThatIsWrongWithPathAndHeaderIsSaid(t *testing.T) {
	_, err := resolver(t, config.Any).Resolve(anybody(t), eboxRoute, ebox.List, "GET", Claim{Path: "1", HasPath: true,
		Header: []string{"0206731646"}})
	found := issues(err)
	if len(found) != 2 || found[0].In != "path" || found[0].Type != problem.IssueSchemaViolation ||
		found[0].Value != "1" ||
		found[1].In != "header" || found[1].Name != RepresentedHeader || found[1].Type != problem.IssueInvalidInput {
		t.Fatalf("%+v", found)
	}
	_, err = resolver(t, config.Any).Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath(strings.Repeat("é", 1000)))
	if found := issues(err); len(found) != 1 || len(found[0].Value) > 100 {
		t.Fatalf("%+v", found)
	}
}

func TestModeAnyServesWhatIsNotListed(t *testing.T) {
	r := resolver(t, config.Any)
	got, err := r.Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath("0800002352"))
	if err != nil || got.Number != dairy || got.Enterprise != nil || got.Client != "payroll" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := r.Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath("0474028805")); err != nil ||
		got.Client != "brewing" {
		t.Fatalf("what the table says of a number does not count: %+v, %v", got, err)
	}
	if _, err := r.Resolve(anybody(t), ownRoute, ebox.List, "GET", inPath("0474028805")); status(t, err) != 403 {
		t.Fatalf("the enterprise's routes do not count: %v", err)
	}
	bare := NewResolver(ResolverOptions{Mode: config.Any})
	if got, err := bare.Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath("0800002352")); err != nil ||
		got.Number != dairy {
		t.Fatalf("without a table: %+v, %v", got, err)
	}
}

func TestSuspendedIsRefusedInEveryMode(t *testing.T) {
	tab := table(t, []config.Enterprise{{Number: bakery, Suspended: true}, {Number: chemist}}, chemist, dairy)
	for _, mode := range []config.Mode{config.Listed, config.Any} {
		r := NewResolver(ResolverOptions{Mode: mode, Table: tab})
		for _, n := range []enterprise.Number{bakery, chemist, dairy} {
			_, err := r.Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath(n.String()))
			if status(t, err) != 403 || !strings.Contains(problem.From(err).Detail, "suspended") {
				t.Errorf("mode %s, %s: %v", mode, n, err)
			}
		}
	}
}

func TestDatesAreHalfOpen(t *testing.T) {
	from, until := noon, noon.Add(time.Hour)
	for name, c := range map[string]struct {
		from, until, now time.Time
		status           int
	}{
		"before the first instant": {from, until, from.Add(-1), 403},
		"the first instant":        {from, until, from, 0},
		"the last instant":         {from, until, until.Add(-1), 0},
		"the end":                  {from, until, until, 403},
		"no beginning":             {time.Time{}, until, from.Add(-1), 0},
		"no beginning, ended":      {time.Time{}, until, until, 403},
		"no end":                   {from, time.Time{}, until, 0},
		"no end, not begun":        {from, time.Time{}, from.Add(-1), 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []config.Mode{config.Listed, config.Any} {
				r := NewResolver(ResolverOptions{
					Mode: mode, Table: table(t, []config.Enterprise{{Number: bakery, From: c.from, Until: c.until}}),
					Now: func() time.Time { return c.now },
				})
				if _, err := r.Resolve(anybody(t), eboxRoute, ebox.List, "GET", inPath("0206731645")); status(t, err) != c.status {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestLinksBeginWithThePathThatWasUsed(t *testing.T) {
	for want, tenant := range map[string]Tenant{
		"/enterprises/0206731645": {Number: bakery, Form: FormPath},
		"/enterprises/own":        {Own: true, Form: FormPath},
		"":                        {Number: bakery, Form: FormHeader},
	} {
		if got := tenant.PathPrefix(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
