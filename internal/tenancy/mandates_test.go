package tenancy_test

import (
	"fmt"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/tenancy"
)

func TestGrantCitizen(t *testing.T) {
	const (
		plain     = `{"mandatorSsin":"79072300048"}`
		forBakery = `{"representedEnterpriseNumber":"0206731645"}`
		query     = "?representedEnterpriseNumber=0206731645"
	)
	open := config.Caller{May: ebox.All, Own: true}
	closed := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, chemist, dairy}}
	defaulted := config.Caller{May: ebox.All, Own: true, DefaultEnterprise: bakery}
	closedDefault := config.Caller{May: ebox.All, DefaultEnterprise: bakery}
	for name, c := range map[string]struct {
		caller     config.Caller
		call, want string // see asked and outcome
	}{
		"a body names it":         {closed, "POST " + forBakery, "0206731645"},
		"a query names it":        {closed, "GET " + query, "0206731645"},
		"path and body agree":     {closed, "POST /0206.731.645 " + forBakery, "0206731645"},
		"header and query agree":  {closed, "DELETE @0206731645 " + query, "0206731645"},
		"path and body disagree":  {closed, "POST /0212148896 " + forBakery, "400"},
		"query and body disagree": {closed, "PUT ?representedEnterpriseNumber=0212148896 " + forBakery, "400"},
		"a body that names two":   {closed, `POST [` + forBakery + `,{"representedEnterprise":"0212148896"}]`, "400"},
		"not the caller's":        {closed, `POST {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"not the caller's, beside one that is": {closed,
			`POST /0206731645 {"representedEnterpriseNumber":"0206731645","x":{"representedEnterprise":"0474028805"}}`, "403"},
		"not the caller's, in the body of a GET": {closed,
			"GET " + query + ` {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"not on this route":             {open, `POST {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"none named: the client itself": {open, "POST " + plain, "own"},
		"none named, without own":       {closed, "POST " + plain, "403"},
		"an empty parameter names none": {closed, "GET ?representedEnterpriseNumber=", "403"},
		"own in the path":               {open, "POST /own " + plain, "own"},
		"own, without own, before the body is seen": {closed,
			`POST /own {"representedEnterpriseNumber":"0206731645"}`, "403"},
		"own in the path and a number in the body": {open, "POST /own " + forBakery, "400"},
		"POST, not repeated":                       {open, "POST /0206731645 " + plain, "400"},
		"POST without a body, not repeated":        {open, "POST /0206731645", "400"},
		"POST with the representative": {open,
			`POST /0206731645 {"createMandateWithRepresentative":true}`, "0206731645"},
		"the same, with a number: upstream's 400": {closed,
			`POST {"createMandateWithRepresentative":true,"representedEnterpriseNumber":"0206731645"}`, "0206731645"},
		"GET, not repeated":                 {open, "GET /0206731645", "0206731645"},
		"DELETE, not repeated, without own": {closed, "DELETE @0206731645 ?page=1", "0206731645"},
		"GET, an empty parameter":           {open, "GET /0206731645 ?representedEnterpriseNumber=", "400"},
		"GET, a blank parameter beside the number": {closed,
			"GET ?representedEnterprise=&representedEnterpriseNumber=0206731645", "400"},
		"POST, a blank parameter beside the body": {closed, "POST ?representedEnterprise= " + forBakery, "400"},
		"GET, a decoy in the query": {closed,
			"GET /0206731645 ?REPRESENTEDENTERPRISENUMBER=0206731645", "0206731645"},
		"GET, a decoy that is no number, in none's": {closed, "GET ?x.representedEnterprise=y", "400"},
		"PATCH, not repeated, without own":          {closed, `PATCH /0206731645 {"a":1}`, "400"},
		"POST without content, in the query":        {closed, "POST /0206731645 " + query + " {}", "0206731645"},
		"a decoy in the query":                      {closed, "POST " + query + " " + plain, "400"},
		"the body of a GET alone":                   {closed, "GET " + forBakery, "0206731645"},
		"a decoy deep down":                         {closed, `POST {"x":` + forBakery + `}`, "400"},
		"a decoy that is no number":                 {closed, `POST {"x":{"representedEnterpriseNumber":"x"}}`, "400"},
		"with own there is nothing to protect":      {open, `POST /0206731645 {"x":` + forBakery + `}`, "0206731645"},
		"no number at all: upstream's 400":          {closed, `POST {"representedEnterpriseNumber":"09333875470"}`, "nobody"},
		"no number at all, for one in the path": {closed,
			`POST /0206731645 {"representedEnterpriseNumber":"09333875470"}`, "0206731645"},
		"wrong check digits":    {closed, `POST {"representedEnterpriseNumber":"0206731646"}`, "400"},
		"default, repeated":     {closedDefault, "POST " + forBakery, "0206731645"},
		"default, not repeated": {defaulted, "POST " + plain, "400"},
		"default, with the representative": {closedDefault,
			`POST {"createMandateWithRepresentative":true}`, "0206731645"},
		"default, GET, without own": {closedDefault, "GET", "0206731645"},
		"default, another in the body": {closedDefault,
			`POST {"representedEnterpriseNumber":"0212148896"}`, "0212148896"},
		"default, no number in the body": {closedDefault, `POST {"representedEnterpriseNumber":"x"}`, "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			method, claim := asked(t, c.call)
			got, err := resolver(config.Listed).Resolve(ruled(c.caller), grantRoute, ebox.Mandates, method, claim)
			if outcome(t, got, err) != c.want {
				t.Fatalf("%+v, %v, want %s", got, err, c.want)
			}
			if c.want == "400" {
				found := issues(err)
				if len(found) == 0 {
					t.Fatal("no issues")
				}
				if strings.Contains(name, "POST, not repeated") && (len(found) != 1 || found[0].In != "body" ||
					found[0].Name != "/representedEnterpriseNumber" || found[0].Type != problem.IssueRequiredInput) {
					t.Fatalf("it does not say where to repeat the number: %+v", found)
				}
			}
			added := ""
			if strings.Contains("GET HEAD DELETE", method) && got.Number != 0 && !claim.Query.Direct {
				added = "representedEnterpriseNumber=" + got.Number.String()
			}
			if got.Query != added || strings.Join(got.Header, ",") != got.Number.String() {
				t.Fatalf("added to the query: %q, header %q", got.Query, got.Header)
			}
		})
	}
}

func TestACallForVeryManyEnterprisesIsRefused(t *testing.T) {
	var body, query strings.Builder
	for i, e := range enterprises(1000) {
		fmt.Fprintf(&body, "%q,", e.Number.String())
		fmt.Fprintf(&query, "representedEnterpriseNumber[%d]=%s&", i, e.Number)
	}
	inBody, inQuery := `POST {"representedEnterpriseNumber":[`+body.String()+`1]}`, "GET ?"+query.String()
	for _, call := range []string{inBody, inQuery} {
		method, claim := asked(t, call)
		_, err := resolver(config.Any).Resolve(ruled(everything), grantRoute, ebox.Mandates, method, claim)
		if status(t, err) != 400 || len(issues(err)) != 2 || len(claim.Body.Numbers)+len(claim.Query.Numbers) > 10 {
			t.Errorf("%.50s: %v", call, err)
		}
	}
}

func TestHealthActsForNobody(t *testing.T) {
	for call, want := range map[string]string{
		"GET":             "nobody",
		"GET /0206731645": "0206731645",
		"GET /0800002352": "403", // not listed
		"GET /own":        "403",
		"GET ?representedEnterpriseNumber=0206731645": "0206731645",
	} {
		method, claim := asked(t, call)
		got, err := resolver(config.Listed).Resolve(ruled(config.Caller{DefaultEnterprise: brewery}), grantRoute, ebox.None,
			method, claim)
		if outcome(t, got, err) != want || got.Query != "" {
			t.Errorf("%s: %+v, %v", call, got, err)
		}
	}
}

// What can be refused without the body must be, so that no body is asked for in
// vain; what only the body decides must not be.
func TestCheckBeforeTheBodyIsRead(t *testing.T) {
	closed := ruled(config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, dairy}})
	for _, c := range []struct {
		caller *tenancy.Caller
		call   string
		status int
	}{
		{nil, "GET", 403},
		{ruled(config.Caller{}), "GET", 403},
		{closed, "GET @x", 400},
		{closed, "GET /own", 403},
		{closed, "GET /0212148896", 403}, // not the caller's
		{closed, "GET /0800002352", 403}, // not listed
		{closed, "GET /0206731645", 0},
		{closed, "GET", 0}, // the body may name one
	} {
		_, claim := asked(t, c.call)
		if err := resolver(config.Listed).Check(c.caller, grantRoute, ebox.Mandates, claim); status(t, err) != c.status {
			t.Errorf("%s: %v, want %d", c.call, err, c.status)
		}
	}
}
