package tenancy

import (
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// asked is a grant/citizen call: "POST /path @header ?query body", of which only the method
// must be there.
func asked(t testing.TB, call string) (method string, claim Claim) {
	t.Helper()
	parts := strings.Fields(call)
	query, body := "", ""
	for _, part := range parts[1:] {
		switch part[0] {
		case '/':
			claim.Path, claim.HasPath = part[1:], true
		case '@':
			claim.Header = []string{part[1:]}
		case '?':
			query = part[1:]
		default:
			body = part
		}
	}
	var err error
	if claim.Query, err = NamedInQuery(query); err != nil {
		t.Fatal(err)
	}
	if claim.Body, err = NamedInBody([]byte(body), "application/json", ""); err != nil {
		t.Fatal(err)
	}
	return parts[0], claim
}

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
		"a body names it":           {closed, "POST " + forBakery, "0206731645"},
		"a query names it":          {closed, "GET " + query, "0206731645"},
		"path and body agree":       {closed, "POST /0206.731.645 " + forBakery, "0206731645 path"},
		"header and query agree":    {closed, "DELETE @0206731645 " + query, "0206731645 header"},
		"path and body disagree":    {closed, "POST /0212148896 " + forBakery, "400"},
		"header and query disagree": {closed, "GET @0212148896 " + query, "400"},
		"query and body disagree":   {closed, "PUT ?representedEnterpriseNumber=0212148896 " + forBakery, "400"},
		"a body that names two":     {closed, `POST [` + forBakery + `,{"representedEnterprise":"0212148896"}]`, "400"},
		"not the caller's":          {closed, `POST {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"not the caller's, beside one that is": {closed,
			`POST /0206731645 {"representedEnterpriseNumber":"0206731645","x":{"representedEnterprise":"0474028805"}}`, "403"},
		"not the caller's, in the body of a GET": {closed,
			"GET " + query + ` {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"the caller's, not listed":      {closed, `POST {"representedEnterpriseNumber":"0800002352"}`, "403"},
		"not on this route":             {open, `POST {"representedEnterpriseNumber":"0474028805"}`, "403"},
		"malformed in the header":       {open, "POST @x " + forBakery, "400"},
		"none named: the client itself": {open, "POST " + plain, "own"},
		"none named, without own":       {closed, "POST " + plain, "403"},
		"an empty parameter names none": {closed, "GET ?representedEnterpriseNumber=", "403"},
		"own in the path":               {open, "POST /own " + plain, "own path"},
		"own in the path, without own":  {closed, "POST /own " + plain, "403"},
		"own, without own, before the body is seen": {closed,
			`POST /own {"representedEnterpriseNumber":"0206731645"}`, "403"},
		"own in the path and a number in the body": {open, "POST /own " + forBakery, "400"},
		"POST, not repeated":                       {open, "POST /0206731645 " + plain, "400"},
		"POST, not repeated, without own":          {closed, "POST @0206731645 " + plain, "400"},
		"POST without a body, not repeated":        {open, "POST /0206731645", "400"},
		"POST with the representative": {open,
			`POST /0206731645 {"createMandateWithRepresentative":true}`, "0206731645 path"},
		"the same, with a number: upstream's 400": {closed,
			`POST {"createMandateWithRepresentative":true,"representedEnterpriseNumber":"0206731645"}`, "0206731645"},
		"the same, deep down": {open,
			`POST /0206731645 {"x":{"createMandateWithRepresentative":true}}`, "400"},
		"GET, not repeated":                 {open, "GET /0206731645", "0206731645 path"},
		"GET, not repeated, without own":    {closed, "GET /0206731645", "0206731645 path"},
		"DELETE, not repeated, without own": {closed, "DELETE @0206731645 ?page=1", "0206731645 header"},
		"GET, an empty parameter":           {open, "GET /0206731645 ?representedEnterpriseNumber=", "400"},
		"GET, a blank parameter beside the number": {closed,
			"GET ?representedEnterprise=&representedEnterpriseNumber=0206731645", "400"},
		"POST, a blank parameter beside the body": {closed, "POST ?representedEnterprise= " + forBakery, "400"},
		"GET, a decoy in the query": {closed,
			"GET /0206731645 ?REPRESENTEDENTERPRISENUMBER=0206731645", "0206731645 path"},
		"GET, a decoy that is no number, in none's": {closed, "GET ?x.representedEnterprise=y", "400"},
		"PATCH, not repeated, without own":          {closed, `PATCH /0206731645 {"a":1}`, "400"},
		"POST without content, in the query":        {closed, "POST /0206731645 " + query + " {}", "0206731645 path"},
		"a decoy in the query":                      {closed, "POST " + query + " " + plain, "400"},
		"the body of a GET alone":                   {closed, "GET " + forBakery, "0206731645"},
		"a decoy deep down":                         {closed, `POST {"x":` + forBakery + `}`, "400"},
		"a decoy that is no number":                 {closed, `POST {"x":{"representedEnterpriseNumber":"x"}}`, "400"},
		"with own there is nothing to protect":      {open, `POST /0206731645 {"x":` + forBakery + `}`, "0206731645 path"},
		"no number at all: upstream's 400":          {closed, `POST {"representedEnterpriseNumber":"09333875470"}`, "nobody"},
		"no number at all, for one in the path": {closed,
			`POST /0206731645 {"representedEnterpriseNumber":"09333875470"}`, "0206731645 path"},
		"wrong check digits":       {closed, `POST {"representedEnterpriseNumber":"0206731646"}`, "400"},
		"digits of another script": {closed, `POST {"representedEnterpriseNumber":"٠٢٠٦٧٣١٦٤٥"}`, "400"},
		"wrong check digits, for one in the path": {closed,
			`POST /0206731645 {"representedEnterpriseNumber":"0206731646"}`, "400"},
		"default, repeated":     {closedDefault, "POST " + forBakery, "0206731645"},
		"default, not repeated": {defaulted, "POST " + plain, "400"},
		"default, with the representative": {closedDefault,
			`POST {"createMandateWithRepresentative":true}`, "0206731645 default"},
		"default, GET, without own": {closedDefault, "GET", "0206731645 default"},
		"default, another in the body": {closedDefault,
			`POST {"representedEnterpriseNumber":"0212148896"}`, "0212148896"},
		"default, no number in the body": {closedDefault, `POST {"representedEnterpriseNumber":"x"}`, "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			method, claim := asked(t, c.call)
			got, err := resolver(config.Listed).Resolve(caller(t, c.caller), grantRoute, ebox.Mandates, method, claim)
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
			if inQuery(method) && got.Number != 0 && !claim.Query.Direct {
				added = "representedEnterpriseNumber=" + got.Number.String()
			}
			if got.Query != added || strings.Join(got.Header, ",") != got.Number.String() {
				t.Fatalf("added to the query: %q, header %q", got.Query, got.Header)
			}
		})
	}
}

func TestHealthActsForNobody(t *testing.T) {
	closed := caller(t, config.Caller{DefaultEnterprise: brewery})
	for call, want := range map[string]string{
		"GET":             "nobody",
		"GET /0206731645": "0206731645 path",
		"GET /0800002352": "403", // not allowed
		"GET @x":          "400",
		"GET /own":        "403",
		"GET ?representedEnterpriseNumber=0206731645":      "0206731645",
		`GET {"representedEnterpriseNumber":"0206731645"}`: "0206731645",
	} {
		method, claim := asked(t, call)
		got, err := resolver(config.Listed).Resolve(closed, grantRoute, ebox.None, method, claim)
		if outcome(t, got, err) != want || got.Query != "" {
			t.Errorf("%s: %+v, %v", call, got, err)
		}
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
		err := resolver(config.Listed).Check(c.caller, grantRoute, ebox.Mandates, c.claim)
		if status(t, err) != c.status {
			t.Errorf("%s: %v", name, err)
		}
	}
}
