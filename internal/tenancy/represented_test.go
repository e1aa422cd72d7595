package tenancy_test

import (
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

func TestWhatACallMayName(t *testing.T) {
	listed := []config.Enterprise{{Number: bakery}, {Number: chemist}}
	one := config.Caller{Enterprises: []enterprise.Number{bakery}}
	all, own := config.Caller{}, config.Caller{Own: true}
	for _, c := range []struct {
		name   string
		rule   config.Caller
		known  enterprise.Number // the office's own, if the configuration says it
		target string            // of the call: a number or "own"
		part   ebox.Part
		number enterprise.Number
		status int
	}{
		{"its own", one, 0, "0206731645", ebox.Asked, bakery, 0},
		{"another", one, 0, "0206731645", ebox.Asked, chemist, 403},
		{"another of its own", all, 0, "0206731645", ebox.Asked, chemist, 0},
		{"another of its own changed", all, 0, "0206731645", ebox.Changed, chemist, 400},
		{"one that nobody listed", own, 0, "0206731645", ebox.Asked, dairy, 403},
		{"the office, without own", all, dairy, "0206731645", ebox.Asked, dairy, 403},
		{"the office", own, dairy, "0206731645", ebox.Asked, dairy, 0},
		{"the office changed", own, dairy, "own", ebox.Changed, dairy, 0},
		{"the office changed for another", own, dairy, "0206731645", ebox.Changed, dairy, 400},
		{"another changed as the office", own, dairy, "own", ebox.Changed, chemist, 400},
		{"the office changed, not known", own, 0, "own", ebox.Changed, dairy, 403},
		{"anybody as recipient", one, dairy, "0206731645", ebox.Recipient, brewery, 0},
		{"itself as sender", all, 0, "0206731645", ebox.Sender, bakery, 0},
		{"the office as sender", all, dairy, "0206731645", ebox.Sender, dairy, 0},
		{"the office as sender, not known", own, 0, "own", ebox.Sender, dairy, 0},
		{"a stranger as sender", one, dairy, "0206731645", ebox.Sender, brewery, 403},
		{"another as sender", one, 0, "0206731645", ebox.Sender, chemist, 403},
		{"another of its own as sender", all, 0, "0206731645", ebox.Sender, chemist, 400},
		{"another as the office's sender", own, 0, "own", ebox.Sender, chemist, 400},
		{"the office as mandatary", all, 0, "0206731645", ebox.Mandatary, dairy, 0},
		{"another as mandatary", one, 0, "0206731645", ebox.Mandatary, chemist, 403},
		{"another of its own as mandatary", all, 0, "0206731645", ebox.Mandatary, chemist, 0},
	} {
		c.rule.May = ebox.All
		claim := tenancy.Claim{Path: c.target, HasPath: true}
		claim.Named = []ebox.Named{{Number: c.number, Part: c.part, In: "body", At: "/x"}}
		_, err := tenancy.NewResolver(config.Tenancy{Mode: config.Listed, Enterprises: listed}, clock).
			Resolve(ruled(c.rule), &tenancy.Route{Route: eboxRoute.Route, Own: c.known}, ebox.Change, "PATCH", claim)
		if status(t, err) != c.status {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
	}
}
