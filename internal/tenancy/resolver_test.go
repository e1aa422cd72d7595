package tenancy

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
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
		want   string // see outcome, "as" another client than the default
	}{
		"the path":         {everything, eboxRoute, inPath("0206731645"), "0206731645 path"},
		"the header":       {everything, eboxRoute, inHeader("0206731645"), "0206731645 header"},
		"any written form": {everything, eboxRoute, inHeader(" be 206.731.645 "), "0206731645 header"},
		"path and header that agree": {everything, eboxRoute,
			Claim{Path: "0206.731.645", HasPath: true, Header: []string{"BE0206731645"}}, "0206731645 path"},
		"path and header that disagree": {everything, eboxRoute,
			Claim{Path: "0206731645", HasPath: true, Header: []string{"0212148896"}}, "400"},
		"the header twice":                          {everything, eboxRoute, inHeader("0206731645", "0206731645"), "400"},
		"a list in one header":                      {everything, eboxRoute, inHeader("0206731645, 0206731645"), "400"},
		"an empty header":                           {everything, eboxRoute, inHeader(""), "400"},
		"an empty header does not mean the default": {defaulted, eboxRoute, inHeader(" "), "400"},
		"wrong check digits in the header":          {everything, eboxRoute, inHeader("0206731646"), "400"},
		"none on an e-Box route":                    {everything, eboxRoute, Claim{}, "400"},
		"none on grant/citizen that requires one": {everything,
			&Route{Name: "grant-citizen", Enterprise: config.Required, Mandates: true}, Claim{}, "400"},
		"the default":                        {defaulted, eboxRoute, Claim{}, "0206731645 default"},
		"the header goes before the default": {defaulted, eboxRoute, inHeader("0212148896"), "0212148896 header"},
		"own":                                {everything, eboxRoute, inPath("own"), "own path"},
		"own by a caller who may not":        {restricted, eboxRoute, inPath("own"), "403"},
		"own and a header": {everything, eboxRoute,
			Claim{Path: "own", HasPath: true, Header: []string{"0206731645"}}, "400"},
		"own in the header is no number":      {everything, eboxRoute, inHeader("own"), "400"},
		"a client of its own":                 {everything, eboxRoute, inPath("0474028805"), "0474028805 path as brewing"},
		"another route than the enterprise's": {everything, ownRoute, inPath("0474028805"), "403"},
		"not listed":                          {everything, eboxRoute, inPath("0800002352"), "403"},
		"not among the caller's":              {restricted, eboxRoute, inPath("0212148896"), "403"},
		"among the caller's and listed":       {restricted, eboxRoute, inPath("0206731645"), "0206731645 path"},
		"among the caller's and not listed":   {restricted, eboxRoute, inPath("0800002352"), "403"},
		"a caller of no enterprise": {config.Caller{May: ebox.All, Enterprises: []enterprise.Number{}}, eboxRoute,
			inPath("0206731645"), "403"},
		"optional, none: as the client itself":     {everything, ownRoute, Claim{}, "own"},
		"optional, none, without own":              {restricted, ownRoute, Claim{}, "403"},
		"optional, named":                          {restricted, ownRoute, inHeader("0206731645"), "0206731645 header"},
		"optional, default":                        {defaulted, ownRoute, Claim{}, "0206731645 default"},
		"none needed, none named":                  {restricted, registry, Claim{}, "nobody"},
		"none needed: the default stays out":       {defaulted, registry, Claim{}, "nobody"},
		"none needed, named: checked all the same": {restricted, registry, inPath("0212148896"), "403"},
		"none needed, named: for the links":        {restricted, registry, inPath("0206731645"), "0206731645 path"},
		"the body means nothing on other routes": {everything, eboxRoute,
			Claim{Header: []string{"0206731645"}, Body: Named{Present: true, Numbers: []enterprise.Number{chemist}}},
			"0206731645 header"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolver(config.Listed).Resolve(caller(t, c.caller), c.route, ebox.List, "GET", c.claim)
			is := outcome(t, got, err)
			if err == nil && got.Client != "payroll" {
				is += " as " + got.Client
			}
			if is != c.want {
				t.Fatalf("%+v, %v, want %s", got, err, c.want)
			}
			if c.want == "400" && len(issues(err)) == 0 {
				t.Fatal("no issues")
			}
			header := ""
			if c.route.Enterprise != config.None {
				header = got.Number.String()
			}
			if strings.Join(got.Header, ",") != header || (got.Enterprise != nil) != (got.Number != 0) {
				t.Fatalf("header %q, row %v", got.Header, got.Enterprise)
			}
		})
	}
}

func TestWhoMay(t *testing.T) {
	all := []string{"ebox", "payslips"}
	lists := ebox.Actions(0).With(ebox.List)
	for name, c := range map[string]struct {
		rule    config.Caller
		route   *Route
		action  ebox.Action
		allowed bool
	}{
		"a route by its group":         {config.Caller{May: ebox.All, Routes: all}, eboxRoute, ebox.List, true},
		"a route by its name":          {config.Caller{May: ebox.All, Routes: all}, ownRoute, ebox.List, true},
		"another route":                {config.Caller{May: ebox.All, Routes: all}, &Route{Name: "other"}, ebox.List, false},
		"an empty name is not a group": {config.Caller{May: ebox.All, Routes: []string{""}}, ownRoute, ebox.List, false},
		"an action":                    {config.Caller{May: lists}, eboxRoute, ebox.List, true},
		"nothing at all":               {config.Caller{}, eboxRoute, ebox.List, false},
		"what needs no permission":     {config.Caller{}, eboxRoute, ebox.None, true},
	} {
		_, err := resolver(config.Listed).Resolve(caller(t, c.rule), c.route, c.action, "GET", inPath("0206731645"))
		if want := map[bool]int{true: 0, false: 403}[c.allowed]; status(t, err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := resolver(config.Listed).Resolve(nil, eboxRoute, ebox.List, "GET", Claim{}); status(t, err) != 403 {
		t.Errorf("nobody: %v", err)
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
			_, err := resolver(config.Listed).Resolve(caller(t, c.caller), eboxRoute, ebox.List, "GET", c.claim)
			if err == nil || !strings.Contains(problem.From(err).Detail, c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestAllThatIsWrongWithPathAndHeaderIsSaid(t *testing.T) {
	_, err := resolver(config.Any).Resolve(anybody(), eboxRoute, ebox.List, "GET", Claim{Path: "1", HasPath: true,
		Header: []string{"0206731646"}})
	found := issues(err)
	if len(found) != 2 || found[0].In != "path" || found[0].Type != problem.IssueSchemaViolation ||
		found[0].Value != "1" ||
		found[1].In != "header" || found[1].Name != call.RepresentedField || found[1].Type != problem.IssueInvalidInput {
		t.Fatalf("%+v", found)
	}
	_, err = resolver(config.Any).Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath(strings.Repeat("é", 1000)))
	if found := issues(err); len(found) != 1 || len(found[0].Value) > 100 {
		t.Fatalf("%+v", found)
	}
}

func TestModeAnyServesWhatIsNotListed(t *testing.T) {
	r := resolver(config.Any)
	got, err := r.Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath("0800002352"))
	if err != nil || got.Number != dairy || got.Enterprise != nil || got.Client != "payroll" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := r.Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath("0474028805")); err != nil ||
		got.Client != "brewing" {
		t.Fatalf("what the table says of a number does not count: %+v, %v", got, err)
	}
	if _, err := r.Resolve(anybody(), ownRoute, ebox.List, "GET", inPath("0474028805")); status(t, err) != 403 {
		t.Fatalf("the enterprise's routes do not count: %v", err)
	}
}

func TestSuspendedIsRefusedInEveryMode(t *testing.T) {
	for _, mode := range []config.Mode{config.Listed, config.Any} {
		r := NewResolver(config.Tenancy{
			Mode: mode, Suspended: []enterprise.Number{chemist},
			Enterprises: []config.Enterprise{{Number: bakery, Suspended: true}, {Number: chemist}, {Number: brewery}},
		}, clock)
		if n := r.Suspend([]enterprise.Number{dairy, dairy, chemist}); n != 1 || len(r.Suspended()) != 3 {
			t.Errorf("%d were suspended, which makes %v", n, r.Suspended())
		}
		for _, n := range []enterprise.Number{bakery, chemist, dairy} {
			_, err := r.Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath(n.String()))
			if status(t, err) != 403 || !strings.Contains(problem.From(err).Detail, "suspended") {
				t.Errorf("mode %s, %s: %v", mode, n, err)
			}
		}
		if _, err := r.Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath(brewery.String())); err != nil {
			t.Errorf("mode %s: %v", mode, err)
		}
	}
}

func TestDatesAreHalfOpen(t *testing.T) {
	before, after := noon.Add(-time.Hour), noon.Add(time.Hour)
	for name, c := range map[string]struct {
		from, until time.Time
		status      int
	}{
		"before the first instant": {noon.Add(1), after, 403},
		"the first instant":        {noon, after, 0},
		"the last instant":         {before, noon.Add(1), 0},
		"the end":                  {before, noon, 403},
		"no beginning, ended":      {time.Time{}, noon, 403},
		"no end, not begun":        {after, time.Time{}, 403},
	} {
		for _, mode := range []config.Mode{config.Listed, config.Any} {
			r := NewResolver(config.Tenancy{
				Mode: mode, Enterprises: []config.Enterprise{{Number: bakery, From: c.from, Until: c.until}},
			}, clock)
			_, err := r.Resolve(anybody(), eboxRoute, ebox.List, "GET", inPath("0206731645"))
			if status(t, err) != c.status {
				t.Errorf("%s, mode %s: %v", name, mode, err)
			}
		}
	}
}
