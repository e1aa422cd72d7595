package tenancy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"

	"pgregory.net/rapid"

	"ebox-gateway/internal/tenancy"
)

// request is what grant/citizen sees of a request besides its headers.
type request struct{ method, query, body string }

// upstream tells whom grant/citizen acts for on such a request, as its guide
// describes it: "refused", "itself" or ten digits. The guide does not say which of the two
// names of a query goes first, so that first decides, even if it has no value.
func upstream(r request, first, second string) string {
	text := ""
	if r.method == http.MethodGet || r.method == http.MethodDelete || r.body == "" || r.body == "{}" {
		values, _ := url.ParseQuery(r.query)
		if text = values.Get(first); !values.Has(first) {
			text = values.Get(second)
		}
	} else {
		var body map[string]any
		_ = json.Unmarshal([]byte(r.body), &body)
		for _, name := range []string{numberName, enterpriseName} {
			// Decoding into a map keeps the exact name.
			if v := body[name]; v != nil && v != "" && text == "" {
				text = fmt.Sprint(v)
			}
		}
	}
	switch {
	case strings.TrimSpace(text) == "":
		return "itself"
	case !regexp.MustCompile(`^[01][0-9]{9}$`).MatchString(text):
		return "refused"
	}
	return text
}

// Whatever a caller combines in path, header, default, query and body, what is
// sent on is for an enterprise that it may represent, and says so; only a caller
// with own acts as the client itself.
func TestNoCallerActsForAnotherTenant(t *testing.T) {
	numbers := []enterprise.Number{bakery, brewery, chemist, dairy}
	listed := []enterprise.Number{bakery, brewery, chemist}
	stopped := chemist
	rows := []config.Enterprise{{Number: bakery}, {Number: brewery, Client: "brewing"}, {Number: chemist}}
	anything := rapid.SampledFrom([]string{
		"0206731645", "0206.731.645", "BE206731645", "0474028805", "474028805", "0212148896", "0800002352",
		"0206731646", "own", "x", "",
	})
	maybe := func(g *rapid.Generator[string]) *rapid.Generator[string] { return rapid.OneOf(rapid.Just("-"), g) }
	name := rapid.SampledFrom([]string{numberName, numberName, numberName, enterpriseName,
		"RepresentedEnterpriseNumber", "filter[" + numberName + "]", "page"})
	outcomes := map[string]int{}
	property := func(t *rapid.T) {
		// Most requests mean one enterprise, so that many of them get through.
		meant := rapid.SampledFrom(numbers).Draw(t, "meant").String()
		written := rapid.OneOf(rapid.Just(meant), rapid.Just(meant), rapid.Just(meant), anything)
		quoted := rapid.Map(written, strconv.Quote)
		value := rapid.OneOf(quoted, quoted,
			rapid.SampledFrom([]string{"null", "206731645", "474028805", "[]", `["0206731645"]`, `{"n":"0474028805"}`, "true"}),
		)
		rule := config.Caller{Name: "c", May: ebox.All, Own: rapid.Bool().Draw(t, "own")}
		if rapid.Bool().Draw(t, "narrow") {
			rule.Enterprises = rapid.SliceOfDistinct(rapid.SampledFrom(numbers), rapid.ID).Draw(t, "enterprises")
		}
		if rapid.Bool().Draw(t, "defaulted") && (rule.Enterprises == nil || len(rule.Enterprises) > 0) {
			among := rule.Enterprises
			if among == nil {
				among = numbers
			}
			rule.DefaultEnterprise = rapid.SampledFrom(among).Draw(t, "default")
		}
		mode := rapid.SampledFrom([]config.Mode{config.Listed, config.Any}).Draw(t, "mode")
		routes := []*tenancy.Route{eboxRoute, grantRoute, grantRoute, grantRoute, registry, ownRoute}
		route := rapid.SampledFrom(routes).Draw(t, "route")

		r := request{method: rapid.SampledFrom([]string{"GET", "POST", "PATCH", "DELETE"}).Draw(t, "method")}
		var claim tenancy.Claim
		if path := maybe(written).Draw(t, "path"); path != "-" {
			claim.Path, claim.HasPath = path, true
		}
		claim.Header = rapid.SliceOfN(written, 0, 2).Draw(t, "headers")
		for range 2 {
			if q := maybe(name).Draw(t, "parameter"); q != "-" {
				r.query += "&" + url.QueryEscape(q) + "=" + url.QueryEscape(written.Draw(t, "parameter value"))
			}
		}
		creating := rapid.Bool().Draw(t, "creating")
		var members []string
		if creating {
			members = append(members, `"createMandateWithRepresentative":true`)
		}
		for range rapid.IntRange(0, 2).Draw(t, "members") {
			member := fmt.Sprintf("%q:%s", name.Draw(t, "member"), value.Draw(t, "member value"))
			if rapid.IntRange(0, 4).Draw(t, "nest") == 0 {
				member = `"nested":{` + member + `}`
			}
			members = append(members, member)
		}
		if members != nil || rapid.Bool().Draw(t, "empty object") {
			r.body = "{" + strings.Join(members, ",") + "}"
		}
		var err error
		if claim.Query, err = tenancy.NamedInQuery(r.query); err != nil {
			return
		}
		if claim.Body, err = tenancy.NamedInBody([]byte(r.body), "application/json", ""); err != nil {
			return
		}
		action := ebox.List
		if route.Kind == config.KindMandates {
			action = ebox.Mandates
		}
		tenant, err := tenancy.NewResolver(config.Tenancy{
			Mode: mode, Enterprises: rows, Suspended: []enterprise.Number{stopped}, DefaultClient: "payroll",
		}, clock).Resolve(ruled(rule), route, action, r.method, claim)
		if err != nil {
			if s := problem.From(err).Status; s != 400 && s != 403 {
				t.Fatalf("status %d", s)
			}
			return
		}

		allowed := func(n enterprise.Number) bool {
			return n != stopped && (rule.Enterprises == nil || slices.Contains(rule.Enterprises, n)) &&
				(mode == config.Any || slices.Contains(listed, n))
		}
		switch {
		case tenant.Number != 0:
			outcomes["number"]++
			if !allowed(tenant.Number) || tenant.Own {
				t.Fatalf("%+v is not allowed", tenant)
			}
			header := ""
			if route.Enterprise != config.None {
				header = tenant.Number.String()
			}
			if strings.Join(tenant.Header, ",") != header {
				t.Fatalf("the header of %+v is not %q", tenant, header)
			}
			if want := map[bool]string{true: "brewing", false: "payroll"}[tenant.Number == brewery]; tenant.Client != want {
				t.Fatalf("the client of %+v is not %s", tenant, want)
			}
		case tenant.Header != nil:
			t.Fatalf("a header for nobody: %+v", tenant)
		case tenant.Own:
			outcomes["own"]++
			if !rule.Own {
				t.Fatalf("%+v without own", tenant)
			}
		default:
			outcomes["nobody"]++
			if route.Enterprise != config.None && !claim.Query.Present && !claim.Body.Present {
				t.Fatalf("%+v: nobody on a route that acts for somebody", tenant)
			}
		}
		said := slices.Clone(claim.Header)
		if claim.HasPath {
			said = append(said, claim.Path)
		}
		for _, s := range said {
			if n, err := enterprise.Parse(s); err != nil && s != "own" || n != tenant.Number {
				t.Fatalf("%q became %+v", s, tenant)
			}
		}
		if route.Kind != config.KindMandates {
			return
		}
		sent := r
		if tenant.Query != "" {
			sent.query = strings.TrimPrefix(sent.query+"&"+tenant.Query, "&")
		}
		for _, order := range [][2]string{{numberName, enterpriseName}, {enterpriseName, numberName}} {
			switch acts := upstream(sent, order[0], order[1]); acts {
			case "refused":
			case "itself":
				excepted := r.method == "POST" && creating && tenant.Number != 0
				if !rule.Own && !excepted {
					t.Fatalf("%+v acts as the client itself, without own", r)
				}
			default:
				n, err := enterprise.Parse(acts)
				if err == nil && (n != tenant.Number || !allowed(n)) {
					t.Fatalf("%+v acts for %s, not for %+v", r, acts, tenant)
				}
				outcomes["agreed"]++
			}
		}
	}
	for range 40 { // most combinations are refused: a hundred say little
		rapid.Check(t, property)
	}
	t.Log(outcomes)
	for _, o := range []string{"number", "own", "nobody", "agreed"} {
		if outcomes[o] == 0 {
			t.Errorf("no request ended as %q: the property says nothing of it", o)
		}
	}
}
