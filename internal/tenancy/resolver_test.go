package tenancy_test

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

func TestResolve(t *testing.T) {
	restricted := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, dairy}}
	nobody := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{}}
	defaulted := config.Caller{May: ebox.All, Own: true, DefaultEnterprise: bakery}
	one := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery}, DefaultEnterprise: bakery}
	lists := config.Caller{May: ebox.Actions(0).With(ebox.List), Routes: []string{"ebox", "payslips"}}
	noRoute := config.Caller{May: ebox.All, Routes: []string{}}
	mandatory := routed("grant-citizen", config.KindMandates, config.Required)
	for name, c := range map[string]struct {
		caller     config.Caller
		route      *tenancy.Route
		call, want string // see asked, with "any" before it in that mode; and outcome, "as" a client of its own
	}{
		"the path":                           {everything, eboxRoute, "GET /0206731645", "0206731645"},
		"the header":                         {everything, eboxRoute, "GET @0206731645", "0206731645"},
		"any written form":                   {everything, eboxRoute, "GET @_be_206.731.645_", "0206731645"},
		"path and header that agree":         {everything, eboxRoute, "GET /0206.731.645 @BE0206731645", "0206731645"},
		"path and header that disagree":      {everything, eboxRoute, "GET /0206731645 @0212148896", "400"},
		"the header twice":                   {everything, eboxRoute, "GET @0206731645 @0206731645", "400"},
		"an empty header is not the default": {defaulted, eboxRoute, "GET @_", "400"},
		"an empty segment":                   {everything, eboxRoute, "GET /", "400"},
		"wrong check digits in the header":   {everything, eboxRoute, "GET @0206731646", "400"},
		"none on an e-Box route":             {everything, eboxRoute, "GET", "400"},
		"none on grant/citizen, required":    {everything, mandatory, "GET", "400"},
		"the default":                        {defaulted, eboxRoute, "GET", "0206731645"},
		"the header before the default":      {defaulted, eboxRoute, "GET @0212148896", "0212148896"},
		"own":                                {everything, eboxRoute, "GET /own", "own"},
		"own by a caller who may not":        {restricted, eboxRoute, "GET /own", "403"},
		"own and a header":                   {everything, eboxRoute, "GET /own @0206731645", "400"},
		"own in the header":                  {everything, eboxRoute, "GET @own", "400"},
		"a client of its own":                {everything, eboxRoute, "GET /0474028805", "0474028805 as brewing"},
		"another route than its":             {everything, ownRoute, "GET /0474028805", "403"},
		"not listed":                         {everything, eboxRoute, "GET /0800002352", "403"},
		"not among the caller's":             {restricted, eboxRoute, "GET /0212148896", "403"},
		"among the caller's and not listed":  {restricted, eboxRoute, "GET /0800002352", "403"},
		"a caller of no enterprise":          {nobody, eboxRoute, "GET /0206731645", "403"},
		"a route by its group":               {lists, eboxRoute, "GET /0206731645", "0206731645"},
		"a route by its name":                {lists, ownRoute, "GET /0206731645", "0206731645"},
		"another route than the caller's":    {lists, grantRoute, "GET /0206731645", "403"},
		"a caller of no route":               {noRoute, eboxRoute, "GET /0206731645", "403"},
		"a caller of no action":              {config.Caller{}, eboxRoute, "GET /0206731645", "403"},
		"optional, none":                     {everything, ownRoute, "GET", "own"},
		"optional, none, without own":        {restricted, ownRoute, "GET", "403"},
		"none needed: the default stays out": {defaulted, registry, "GET", "nobody"},
		"none needed, named: is checked":     {restricted, registry, "GET /0212148896", "403"},
		"none needed, named: for the links":  {restricted, registry, "GET /0206731645", "0206731645"},
		"the body means nothing on other routes": {everything, eboxRoute,
			`POST @0206731645 {"representedEnterpriseNumber":"0212148896"}`, "0206731645"},

		"mode any: not listed":              {everything, eboxRoute, "any GET /0800002352", "0800002352"},
		"mode any: the row's client":        {everything, eboxRoute, "any GET /0474028805", "0474028805 as brewing"},
		"mode any: the office":              {config.Caller{May: ebox.All}, partition, "any GET /0800002352", "403"},
		"the target":                        {everything, partition, "GET >0206731645", "0206731645"},
		"the target's header agrees":        {everything, partition, "GET >0206731645 @0206.731.645", "0206731645"},
		"the office's own as target":        {everything, partition, "GET >0800002352", "own"},
		"own, and the office's as target":   {everything, partition, "GET >0800002352 /own", "own"},
		"own, and another's as target":      {everything, partition, "GET >0206731645 /own", "400"},
		"another header than the target":    {everything, partition, "GET >0206731645 @0212148896", "400"},
		"another path than the target":      {everything, partition, "GET >0206731645 /0212148896", "400"},
		"the default is no target":          {one, partition, "GET >0212148896", "403"},
		"the office as target, without own": {one, partition, "GET >0800002352", "403"},
	} {
		t.Run(name, func(t *testing.T) {
			call, mode := c.call, config.Listed
			if rest, ok := strings.CutPrefix(call, "any "); ok {
				call, mode = rest, config.Any
			}
			got, err := listing(t, resolver(mode), c.caller, c.route, call)
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
			if strings.Join(got.Header, ",") != header ||
				(got.Enterprise == nil) != (got.Number == 0 || got.Number == dairy) { // which is not listed
				t.Fatalf("header %q, row %v", got.Header, got.Enterprise)
			}
		})
	}
}

// A caller learns the first thing that is wrong, and nothing about what it may not
// know: a rule that excludes an enterprise does not tell whether that is listed.
func TestChecksInTheirOrder(t *testing.T) {
	only := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery}}
	for name, c := range map[string]struct {
		caller     config.Caller
		call, want string
	}{
		"route before action":          {config.Caller{Routes: []string{"x"}}, "GET /x", "the route ebox-providers"},
		"action before the number":     {config.Caller{}, "GET /x", "the action list"},
		"number before the enterprise": {only, "GET /0800002352 @x", "cannot be read"},
		"listed, excluded":             {only, "GET /0212148896", "caller rule hr does not allow acting for enterprise"},
		"not listed, excluded":         {only, "GET /0800002352", "caller rule hr does not allow acting for enterprise"},
		"not listed":                   {everything, "GET /0800002352", "is not listed"},
	} {
		_, err := listing(t, resolver(config.Listed), c.caller, eboxRoute, c.call)
		if err == nil || !strings.Contains(problem.From(err).Detail, c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
}

func TestAllThatIsWrongWithPathAndHeaderIsSaid(t *testing.T) {
	_, err := listing(t, resolver(config.Any), everything, eboxRoute, "GET /"+strings.Repeat("é", 1000)+" @0206731646")
	found := issues(err)
	if len(found) != 2 || found[0].In != "path" || found[0].Type != problem.IssueSchemaViolation ||
		len(found[0].Value) > 100 ||
		found[1].In != "header" || found[1].Name != call.RepresentedField || found[1].Type != problem.IssueInvalidInput {
		t.Fatalf("%+v", found)
	}
}

func TestSuspendedIsRefusedInEveryMode(t *testing.T) {
	for _, mode := range []config.Mode{config.Listed, config.Any} {
		r := tenancy.NewResolver(config.Tenancy{
			Mode: mode, Suspended: []enterprise.Number{chemist},
			Enterprises: []config.Enterprise{{Number: bakery, Suspended: true}, {Number: chemist}, {Number: brewery}},
		}, clock)
		if n := r.Suspend([]enterprise.Number{dairy, dairy, chemist}); n != 1 || len(r.Suspended()) != 3 {
			t.Errorf("%d were suspended, which makes %v", n, r.Suspended())
		}
		for _, n := range []enterprise.Number{bakery, chemist, dairy} {
			_, err := listing(t, r, everything, eboxRoute, "GET /"+n.String())
			if status(t, err) != 403 || !strings.Contains(problem.From(err).Detail, "suspended") {
				t.Errorf("mode %s, %s: %v", mode, n, err)
			}
		}
		if _, err := listing(t, r, everything, eboxRoute, "GET /"+brewery.String()); err != nil {
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
		row := config.Enterprise{Number: bakery, From: c.from, Until: c.until}
		r := tenancy.NewResolver(config.Tenancy{Mode: config.Any, Enterprises: []config.Enterprise{row}}, clock)
		if _, err := listing(t, r, everything, eboxRoute, "GET /0206731645"); status(t, err) != c.status {
			t.Errorf("%s: %v", name, err)
		}
	}
}
