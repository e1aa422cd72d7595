package tenancy

import (
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// asked builds the claim of a grant/citizen call out of what is sent.
func asked(t testing.TB, path, header, query, body string) Claim {
	t.Helper()
	claim := Claim{Path: path, HasPath: path != ""}
	if header != "" {
		claim.Header = []string{header}
	}
	var err error
	if claim.Query, err = NamedInQuery(query); err != nil {
		t.Fatal(err)
	}
	if claim.Body, err = NamedInBody([]byte(body), "application/json", ""); err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestGrantCitizen(t *testing.T) {
	const (
		plain     = `{"mandatorSsin":"79072300048"}`
		forBakery = `{"representedEnterpriseNumber":"0206731645"}`
		query     = "representedEnterpriseNumber=0206731645"
	)
	open := config.Caller{May: ebox.All, Own: true}
	closed := config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, chemist, dairy}}
	defaulted := config.Caller{May: ebox.All, Own: true, DefaultEnterprise: bakery}
	closedDefault := config.Caller{May: ebox.All, DefaultEnterprise: bakery}
	type call struct{ method, path, header, query, body string }
	for name, c := range map[string]struct {
		caller config.Caller
		call   call
		number enterprise.Number
		own    bool
		form   Form
		status int
	}{
		"a body names it": {
			closed, call{"POST", "", "", "", forBakery}, bakery, false, FormNone, 0},
		"a query names it": {closed, call{"GET", "", "", query, ""}, bakery, false, FormNone, 0},
		"path and body agree": {
			closed, call{"POST", "0206.731.645", "", "", forBakery}, bakery, false, FormPath, 0},
		"header and body agree": {
			closed, call{"POST", "", "206731645", "", forBakery}, bakery, false, FormHeader, 0},
		"header and query agree": {
			closed, call{"DELETE", "", "0206731645", query, ""}, bakery, false, FormHeader, 0},
		"path and body disagree": {
			closed, call{"POST", "0212148896", "", "", forBakery}, 0, false, 0, 400},
		"header and query disagree": {closed, call{"GET", "", "0212148896", query, ""}, 0, false, 0, 400},
		"query and body disagree": {
			closed, call{"PUT", "", "", "representedEnterpriseNumber=0212148896", forBakery}, 0, false, 0, 400},
		"a body that names two": {
			closed, call{"POST", "", "", "", `[` + forBakery + `,{"representedEnterprise":"0212148896"}]`}, 0, false, 0, 400},
		"not the caller's": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":"0474028805"}`}, 0, false, 0, 403},
		"not the caller's, beside one that is": {
			closed, call{"POST", "0206731645", "", "",
				`{"representedEnterpriseNumber":"0206731645","x":{"representedEnterprise":"0474028805"}}`}, 0, false, 0, 403},
		"not the caller's, in the query of a POST": {
			closed, call{"POST", "", "", "representedEnterpriseNumber=0474028805", forBakery}, 0, false, 0, 403},
		"not the caller's, in the body of a GET": {
			closed, call{"GET", "", "", query, `{"representedEnterpriseNumber":"0474028805"}`}, 0, false, 0, 403},
		"the caller's, not listed": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":"0800002352"}`}, 0, false, 0, 403},
		"not on this route": {
			open, call{"POST", "", "", "", `{"representedEnterpriseNumber":"0474028805"}`}, 0, false, 0, 403},
		"malformed in the header":       {open, call{"POST", "", "x", "", forBakery}, 0, false, 0, 400},
		"none named: the client itself": {open, call{"POST", "", "", "", plain}, 0, true, FormNone, 0},
		"none named, without own":       {closed, call{"POST", "", "", "", plain}, 0, false, 0, 403},
		"none named, GET, without own":  {closed, call{"GET", "", "", "", ""}, 0, false, 0, 403},
		"null names none": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":null}`}, 0, false, 0, 403},
		"an empty parameter names none": {
			closed, call{"GET", "", "", "representedEnterpriseNumber=", ""}, 0, false, 0, 403},
		"own in the path":              {open, call{"POST", "own", "", "", plain}, 0, true, FormPath, 0},
		"own in the path, without own": {closed, call{"POST", "own", "", "", plain}, 0, false, 0, 403},
		"own, without own, before the body is seen": {
			closed, call{"POST", "own", "", "", `{"representedEnterpriseNumber":"0206731645"}`}, 0, false, 0, 403},
		"own in the path and a number in the body": {open, call{"POST", "own", "", "", forBakery}, 0, false, 0, 400},
		"own in the path and no number in the body": {
			open, call{"POST", "own", "", "", `{"representedEnterpriseNumber":"x"}`}, 0, true, FormPath, 0},
		"POST, not repeated":                {open, call{"POST", "0206731645", "", "", plain}, 0, false, 0, 400},
		"POST, not repeated, without own":   {closed, call{"POST", "", "0206731645", "", plain}, 0, false, 0, 400},
		"POST without a body, not repeated": {open, call{"POST", "0206731645", "", "", ""}, 0, false, 0, 400},
		"POST with the representative": {
			open, call{"POST", "0206731645", "", "", `{"createMandateWithRepresentative":true}`}, bakery, false, FormPath, 0},
		"the same, without own": {
			closed, call{"POST", "", "0206731645", "", `{"createMandateWithRepresentative":true}`}, bakery,
			false, FormHeader, 0},
		"the same, nobody named, without own": {
			closed, call{"POST", "", "", "", `{"createMandateWithRepresentative":true}`}, 0, false, 0, 403},
		"the same, with a number: upstream's 400": {
			closed, call{"POST", "", "", "",
				`{"createMandateWithRepresentative":true,"representedEnterpriseNumber":"0206731645"}`}, bakery, false, FormNone, 0},
		"the same, deep down": {
			open, call{"POST", "0206731645", "", "", `{"x":{"createMandateWithRepresentative":true}}`}, 0, false, 0, 400},
		"GET, not repeated": {
			open, call{"GET", "0206731645", "", "", ""}, bakery, false, FormPath, 0},
		"GET, not repeated, without own": {
			closed, call{"GET", "0206731645", "", "", ""}, bakery, false, FormPath, 0},
		"DELETE, not repeated, without own": {
			closed, call{"DELETE", "", "0206731645", "page=1", ""}, bakery, false, FormHeader, 0},
		"HEAD, not repeated": {
			closed, call{"HEAD", "", "0206731645", "", ""}, bakery, false, FormHeader, 0},
		"GET, not the caller's": {closed, call{"GET", "0474028805", "", "", ""}, 0, false, 0, 403},
		"GET, an empty parameter": {
			open, call{"GET", "0206731645", "", "representedEnterpriseNumber=", ""}, 0, false, 0, 400},
		"GET, a blank parameter in another case": {
			open, call{"GET", "0206731645", "", "RepresentedEnterprise=%20", ""}, 0, false, 0, 400},
		"GET, a decoy in the query": {
			closed, call{"GET", "0206731645", "", "REPRESENTEDENTERPRISENUMBER=0206731645", ""}, bakery, false, FormPath, 0},
		"GET, a decoy that is no number, in none's": {
			closed, call{"GET", "", "", "x.representedEnterprise=y", ""}, 0, false, 0, 400},
		"GET, repeated": {
			closed, call{"GET", "0206731645", "", query, ""}, bakery, false, FormPath, 0},
		"PATCH, not repeated, without own": {closed, call{"PATCH", "0206731645", "", "", `{"a":1}`}, 0, false, 0, 400},
		"POST without content, in the query": {
			closed, call{"POST", "0206731645", "", query, "{}"}, bakery, false, FormPath, 0},
		"a decoy in the query":    {closed, call{"POST", "", "", query, plain}, 0, false, 0, 400},
		"the body of a GET alone": {closed, call{"GET", "", "", "", forBakery}, bakery, false, FormNone, 0},
		"a decoy deep down": {
			closed, call{"POST", "", "", "", `{"x":` + forBakery + `}`}, 0, false, 0, 400},
		"a decoy in another case": {
			closed, call{"POST", "", "", "", `{"REPRESENTEDENTERPRISENUMBER":"0206731645"}`}, 0, false, 0, 400},
		"a decoy that is no number": {
			closed, call{"POST", "", "", "", `{"x":{"representedEnterpriseNumber":"x"}}`}, 0, false, 0, 400},
		"with own there is nothing to protect": {
			open, call{"POST", "0206731645", "", "", `{"x":` + forBakery + `}`}, bakery, false, FormPath, 0},
		"no number at all: upstream's 400": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":"09333875470"}`}, 0, false, FormNone, 0},
		"no number at all, in a query": {
			closed, call{"GET", "", "", "representedEnterpriseNumber=x", ""}, 0, false, FormNone, 0},
		"no number at all, for one in the path": {
			closed, call{"POST", "0206731645", "", "", `{"representedEnterpriseNumber":"09333875470"}`}, bakery,
			false, FormPath, 0},
		"wrong check digits": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":"0206731646"}`}, 0, false, 0, 400},
		"digits of another script": {
			closed, call{"POST", "", "", "", `{"representedEnterpriseNumber":"٠٢٠٦٧٣١٦٤٥"}`}, 0, false, 0, 400},
		"wrong check digits, in a query": {
			closed, call{"GET", "", "", "representedEnterpriseNumber=0206.731.646", ""}, 0, false, 0, 400},
		"wrong check digits, for one in the path": {
			closed, call{"POST", "0206731645", "", "", `{"representedEnterpriseNumber":"0206731646"}`}, 0, false, 0, 400},
		"default, repeated":     {closedDefault, call{"POST", "", "", "", forBakery}, bakery, false, FormNone, 0},
		"default, not repeated": {defaulted, call{"POST", "", "", "", plain}, 0, false, 0, 400},
		"default, with the representative": {
			closedDefault, call{"POST", "", "", "", `{"createMandateWithRepresentative":true}`}, bakery, false, FormDefault, 0},
		"default, GET":              {defaulted, call{"GET", "", "", "", ""}, bakery, false, FormDefault, 0},
		"default, GET, without own": {closedDefault, call{"GET", "", "", "", ""}, bakery, false, FormDefault, 0},
		"default, another in the body": {
			closedDefault, call{"POST", "", "", "", `{"representedEnterpriseNumber":"0212148896"}`}, chemist,
			false, FormNone, 0},
		"default, no number in the body": {closedDefault, call{"POST", "", "", "", `{"representedEnterpriseNumber":"x"}`}, 0,
			false, FormNone, 0},
		"default, own in the path": {defaulted, call{"POST", "own", "", "", plain}, 0, true, FormPath, 0},
	} {
		t.Run(name, func(t *testing.T) {
			claim := asked(t, c.call.path, c.call.header, c.call.query, c.call.body)
			got, err := resolver(t, config.Listed).Resolve(caller(t, c.caller), grantRoute, ebox.Mandates, c.call.method, claim)
			if status(t, err) != c.status {
				t.Fatalf("%+v, %v", got, err)
			}
			if c.status == 400 && len(issues(err)) == 0 {
				t.Fatal("no issues")
			}
			if got.Number != c.number || got.Own != c.own || got.Form != c.form {
				t.Fatalf("got %+v", got)
			}
			want := ""
			if inQuery(c.call.method) && c.number != 0 && !claim.Query.Direct {
				want = "representedEnterpriseNumber=" + c.number.String()
			}
			if got.Query != want {
				t.Fatalf("added to the query: %q", got.Query)
			}
			if header := strings.Join(got.Header, ","); header != c.number.String() {
				t.Fatalf("header %q", header)
			}
		})
	}
}

func TestHealthActsForNobody(t *testing.T) {
	closed := caller(t, config.Caller{DefaultEnterprise: brewery})
	for name, c := range map[string]struct {
		claim  Claim
		number enterprise.Number
		status int
	}{
		"none named":                   {Claim{}, 0, 0},
		"the path prefix":              {inPath("0206731645"), bakery, 0},
		"a number that is not allowed": {inPath("0800002352"), 0, 403},
		"a malformed number":           {inHeader("x"), 0, 400},
		"own, without own":             {inPath("own"), 0, 403},
		"in the query":                 {asked(t, "", "", "representedEnterpriseNumber=0206731645", ""), bakery, 0},
		"in the body":                  {asked(t, "", "", "", `{"representedEnterpriseNumber":"0206731645"}`), bakery, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolver(t, config.Listed).Resolve(closed, grantRoute, ebox.None, "GET", c.claim)
			if status(t, err) != c.status || got.Number != c.number || got.Own || got.Query != "" {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
}

func TestARouteThatRequiresAnEnterprise(t *testing.T) {
	route := &Route{Name: "grant-citizen", Enterprise: config.Required, Mandates: true}
	r := resolver(t, config.Listed)
	if _, err := r.Resolve(anybody(t), route, ebox.Mandates, "GET", Claim{}); status(t, err) != 400 {
		t.Fatal(err)
	}
	if got, err := r.Resolve(anybody(t), route, ebox.Mandates, "GET",
		asked(t, "", "", "representedEnterpriseNumber=0206731645", "")); err != nil || got.Number != bakery {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestWhereToRepeatTheNumber(t *testing.T) {
	closed := caller(t, config.Caller{May: ebox.All})
	for name, c := range map[string]struct {
		method, query, body string
		in, issue           string
	}{
		"POST":                {"POST", "", `{"a":1}`, "body", "/representedEnterpriseNumber"},
		"POST without a body": {"POST", "", "", "body", "/representedEnterpriseNumber"},
		"PATCH":               {"PATCH", "", `{"a":1}`, "body", "/representedEnterpriseNumber"},
		"PATCH, a decoy in the query": {
			"PATCH", "representedEnterpriseNumber=0206731645", `{"a":1}`, "body", "/representedEnterpriseNumber"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolver(t, config.Listed).Resolve(closed, grantRoute, ebox.Mandates, c.method,
				asked(t, "0206731645", "", c.query, c.body))
			found := issues(err)
			if len(found) != 1 || found[0].In != c.in || found[0].Name != c.issue ||
				found[0].Type != problem.IssueRequiredInput || !strings.Contains(found[0].Detail, "0206731645") {
				t.Fatalf("%v, %+v", err, found)
			}
		})
	}
}

// What can be refused without the body must be, so that no body is asked for in
// vain; what only the body decides must not be.
func TestCheckBeforeTheBodyIsRead(t *testing.T) {
	closed := caller(t, config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery, dairy}})
	for name, c := range map[string]struct {
		caller *Caller
		claim  Claim
		status int
	}{
		"nobody":                      {nil, Claim{}, 403},
		"another route":               {caller(t, config.Caller{May: ebox.All, Routes: []string{"ebox"}}), Claim{}, 403},
		"another action":              {caller(t, config.Caller{}), Claim{}, 403},
		"a malformed number":          {closed, inHeader("x"), 400},
		"own, without own":            {closed, inPath("own"), 403},
		"not the caller's":            {closed, inPath("0212148896"), 403},
		"not listed":                  {closed, inPath("0800002352"), 403},
		"the caller's":                {closed, inPath("0206731645"), 0},
		"none: the body may name one": {closed, Claim{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if err := resolver(t, config.Listed).Check(c.caller, grantRoute, ebox.Mandates, c.claim); status(t,
				err) != c.status {
				t.Fatal(err)
			}
		})
	}
}
