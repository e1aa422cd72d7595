package tenancy

import (
	"errors"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

func TestQueriesThatAServerWouldDecodeTwice(t *testing.T) {
	for _, q := range []string{
		"representedEnterpriseNumber=%2530212148896",
		"representedEnterpriseNumber=02121488%25396",
		"representedEnterpriseNumber=%25u0030212148896",
		"representedEnterprise=%2530212148896",
		"status=x%26representedEnterpriseNumber%3D0212148896",
		"status=x%2526representedEnterpriseNumber%253D0212148896",
		"status=x%252526representedEnterpriseNumber%25253D0212148896",
		"status%3Dx%26representedEnterpriseNumber=0212148896",
		"x%3Fa%3D1%26represented_enterprise_number%3D0212148896",
		"next=%2Fmandates%3FrepresentedEnterpriseNumber%3D0212148896",
		"represented%2545nterpriseNumber=0212148896",
	} {
		if n, err := NamedInQuery(q); err == nil {
			t.Errorf("%s: %+v", q, n)
		}
	}
	for _, q := range []string{
		"", "representedEnterpriseNumber=0212148896", "representedEnterpriseNumber=BE%200212.148.896",
		"representedEnterpriseNumber=0212+148+896",
		"q=100%25", "q=50%2525%20off", "q=a%26b%3Dc", "sort=representedEnterpriseNumber", "q=%C3%A9%25zz",
	} {
		if _, err := NamedInQuery(q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestMediaTypesThatSomeServerTakesForAForm(t *testing.T) {
	for _, media := range []string{
		"application/x-www-form-urlencoded+json", "application/x-www-form-urlencoded",
		"Application/X-WWW-Form-Urlencoded+JSON", "multipart/form-data",
		"application/json; x=application/x-www-form-urlencoded", "application/json; x=\"multipart/form-data\"",
		"multipart/x+json", "application/form-data+json",
		"application/json, text/plain", "application/json; charset=utf-16", "text/plain", "text/x+json",
	} {
		if CheckMedia(media, "") == nil {
			t.Errorf("%s counts as JSON", media)
		}
	}
	for _, media := range []string{"", "application/json", "application/merge-patch+json",
		"application/vnd.platform+json; profile=form", "application/json;charset=UTF-8", "text/json"} {
		if err := CheckMedia(media, ""); err != nil {
			t.Errorf("%s: %v", media, err)
		}
	}
}

func TestWhatACallMayName(t *testing.T) {
	list := table(t, []config.Enterprise{{Number: bakery}, {Number: chemist}})
	for _, c := range []struct {
		name   string
		rule   config.Caller
		mode   config.Mode
		known  enterprise.Number // the office's own, if the configuration says it
		target enterprise.Number
		own    bool
		part   ebox.Part
		number enterprise.Number
		status int
	}{
		{"its own", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, 0, bakery, false,
			ebox.Asked, bakery, 0},
		{"another", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, 0, bakery, false,
			ebox.Asked, chemist, 403},
		{"another of its own", config.Caller{}, config.Listed, 0, bakery, false, ebox.Asked, chemist, 0},
		{"another of its own changed", config.Caller{}, config.Listed, 0, bakery, false, ebox.Changed, chemist, 400},
		{"one that nobody listed", config.Caller{Own: true}, config.Listed, 0, bakery, false, ebox.Asked, dairy, 403},
		{"the office, without own", config.Caller{}, config.Listed, dairy, bakery, false, ebox.Asked, dairy, 403},
		{"the office, without own, in mode any", config.Caller{}, config.Any, dairy, bakery, false, ebox.Asked, dairy, 403},
		{"the office as target, without own, in mode any", config.Caller{}, config.Any, dairy, dairy, false,
			ebox.Recipient, dairy, 403},
		{"the office", config.Caller{Own: true}, config.Listed, dairy, bakery, false, ebox.Asked, dairy, 0},
		{"the office changed", config.Caller{Own: true}, config.Listed, dairy, 0, true, ebox.Changed, dairy, 0},
		{"the office changed for another", config.Caller{Own: true}, config.Listed, dairy, bakery, false,
			ebox.Changed, dairy, 400},
		{"another changed as the office", config.Caller{Own: true}, config.Listed, dairy, 0, true, ebox.Changed,
			chemist, 400},
		{"the office changed, not known", config.Caller{Own: true}, config.Listed, 0, 0, true, ebox.Changed, dairy, 403},
		{"anybody as recipient", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, dairy, bakery, false,
			ebox.Recipient, brewery, 0},
		{"itself as sender", config.Caller{}, config.Listed, 0, bakery, false, ebox.Sender, bakery, 0},
		{"the office as sender", config.Caller{}, config.Listed, dairy, bakery, false, ebox.Sender, dairy, 0},
		{"the office as sender, not known", config.Caller{Own: true}, config.Listed, 0, 0, true, ebox.Sender, dairy, 0},
		{"a stranger as sender", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, dairy, bakery, false,
			ebox.Sender, brewery, 403},
		{"another as sender", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, 0, bakery, false,
			ebox.Sender, chemist, 403},
		{"another of its own as sender", config.Caller{}, config.Listed, 0, bakery, false, ebox.Sender, chemist, 400},
		{"another as the office's sender", config.Caller{Own: true}, config.Listed, 0, 0, true, ebox.Sender, chemist, 400},
		{"the office as mandatary", config.Caller{}, config.Listed, 0, bakery, false, ebox.Mandatary, dairy, 0},
		{"another as mandatary", config.Caller{Enterprises: []enterprise.Number{bakery}}, config.Listed, 0, bakery, false,
			ebox.Mandatary, chemist, 403},
		{"another of its own as mandatary", config.Caller{}, config.Listed, 0, bakery, false, ebox.Mandatary, chemist, 0},
	} {
		c.rule.May = ebox.All
		r := NewResolver(ResolverOptions{Mode: c.mode, Table: list, DefaultClient: "demo"})
		claim := Claim{Named: []ebox.Named{{Number: c.number, Part: c.part, In: "body", At: "/x"}}}
		if c.own {
			claim.Path, claim.HasPath = "own", true
		} else {
			claim.Header = []string{c.target.String()}
		}
		_, err := r.Resolve(caller(t, c.rule), &Route{Name: "ebox", Own: c.known}, ebox.Change, "PATCH", claim)
		status := 0
		if p := (*problem.Problem)(nil); errors.As(err, &p) {
			status = p.Status
		}
		if status != c.status {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
	}
}

func TestTheNumberInTheTargetAgreesWithPathAndHeader(t *testing.T) {
	r := NewResolver(ResolverOptions{Table: table(t, []config.Enterprise{{Number: bakery}, {Number: chemist}}),
		DefaultClient: "demo"})
	both, one := caller(t, config.Caller{Own: true, May: ebox.All}),
		caller(t, config.Caller{Enterprises: []enterprise.Number{bakery}, May: ebox.All, DefaultEnterprise: bakery})
	for _, c := range []struct {
		caller *Caller
		claim  Claim
		number enterprise.Number
		own    bool
	}{
		{both, Claim{Target: bakery}, bakery, false},
		{both, Claim{Target: bakery, Header: []string{"0206.731.645"}}, bakery, false},
		{both, Claim{Target: bakery, Path: bakery.String(), HasPath: true}, bakery, false},
		{both, Claim{Target: dairy}, 0, true},
		{both, Claim{Target: dairy, Path: "own", HasPath: true}, 0, true},
		{both, Claim{Target: bakery, Path: "own", HasPath: true}, 0, false},
		{both, Claim{Target: bakery, Header: []string{chemist.String()}}, 0, false},
		{both, Claim{Target: bakery, Path: chemist.String(), HasPath: true}, 0, false},
		{both, Claim{Target: brewery}, 0, false},
		{one, Claim{Target: bakery}, bakery, false},
		{one, Claim{Target: chemist}, 0, false}, // the default does not stand for it
		{one, Claim{Target: dairy}, 0, false},
	} {
		got, err := r.Resolve(c.caller, &Route{Name: "ebox-partition", Own: dairy}, ebox.List, "GET", c.claim)
		if got.Number != c.number || got.Own != c.own || (err == nil) != (c.number != 0 || c.own) {
			t.Errorf("%+v: %+v, %v", c.claim, got, err)
		}
	}
}
