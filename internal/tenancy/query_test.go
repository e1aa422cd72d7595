package tenancy_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

func TestNamedInQuery(t *testing.T) {
	for name, c := range map[string]struct{ query, want string }{
		"nothing":                   {"", ""},
		"other parameters":          {"page=1&pageSize=20&q=0206731645", ""},
		"named":                     {"page=1&representedEnterpriseNumber=0206731645", "0206731645+!"},
		"an escaped name":           {"represented%45nterpriseNumber=0206731645", "0206731645+!"},
		"a plus is a blank":         {"representedEnterpriseNumber=BE+0206+731+645", "0206731645+!"},
		"another case":              {"RepresentedEnterprisenumber=0206731645", "0206731645+"},
		"snake case":                {"represented_enterprise_number=0206731645", "0206731645+"},
		"a blank before the name":   {"+representedEnterpriseNumber=0206731645", "0206731645+"},
		"bracketed":                 {"filter[representedEnterpriseNumber]=0206731645", "0206731645+"},
		"a name that ends at a NUL": {"representedEnterpriseNumber%00x=0206731645", "0206731645+"},
		"an item of a list": {
			"representedEnterpriseNumber[0]=0206731645&representedEnterpriseNumber[1]=0474028805", "0206731645,0474028805+"},
		"a member of the enterprise": {"representedEnterprise.cbe=0206731645&representedEnterprise.name=x", "0206731645+"},
		"two in one value":           {"representedEnterpriseNumber=0206731645,0474028805", "+!?"},
		"both names": {
			"representedEnterpriseNumber=0206731645&representedEnterprise=0474028805", "0206731645,0474028805+!"},
		"wrong check digits": {"representedEnterpriseNumber=0206731646", "+!?"},
		"an empty value":     {"representedEnterpriseNumber=", ""},
		"an empty value beside a list": {
			"representedEnterpriseNumber=&representedEnterpriseNumber[]=0206731645", "0206731645+"},
		"a longer name":               {"representedEnterpriseNumbers=0206731645", ""},
		"a value with an equals sign": {"representedEnterpriseNumber==0206731645", "+!?"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tenancy.NamedInQuery(c.query)
			if err != nil || seen(got) != c.want {
				t.Fatalf("%s, %v; want %s", seen(got), err, c.want)
			}
		})
	}
}

func TestQueriesThatTwoReadersMightReadDifferently(t *testing.T) {
	for name, query := range map[string]string{
		"a semicolon":               "a=1;representedEnterpriseNumber=0206731645",
		"a broken escape in a name": "represented%4=1",
		"a name encoded twice":      "%2572epresentedEnterpriseNumber=0206731645",
		"a value encoded twice":     "representedEnterpriseNumber=02121488%25396",
		"a value of another kind":   "representedEnterpriseNumber=%25u0030212148896",
		"hidden in a value":         "status=x%252526representedEnterpriseNumber%25253D0212148896",
		"hidden in a name":          "status%3Dx%26representedEnterpriseNumber=0212148896",
		"hidden in a URL":           "next=%2Fmandates%3Frepresented_enterprise_number%3D0212148896",
		"an overlong encoding":      "%C1%B2epresentedEnterpriseNumber=0206731645",
		"no UTF-8 in a value":       "representedEnterpriseNumber=0206731645%FF",
		"named twice":               "representedEnterpriseNumber=0206731645&representedEnterpriseNumber=0206731645",
		"named twice, once empty":   "representedEnterpriseNumber=&representedEnterpriseNumber=0206731645",
		"named twice, escaped":      "representedEnterpriseNumber=0206731645&%72epresentedEnterpriseNumber=0206731645",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tenancy.NamedInQuery(query)
			if status(t, err) != 400 || len(issues(err)) != 1 || issues(err)[0].In != "query" || seen(got) != "" {
				t.Fatalf("%s, %v", seen(got), err)
			}
		})
	}
	for _, q := range []string{"representedEnterpriseNumber=BE%200212.148.896", "q=100%25", "q=50%2525%20off",
		"q=a%26b%3Dc", "sort=representedEnterpriseNumber", "q=%C3%A9%25zz"} {
		if _, err := tenancy.NamedInQuery(q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

// Against net/url: a query that it refuses is refused, and no parameter that it
// finds is overlooked.
func FuzzNamedInQuery(f *testing.F) {
	for _, seed := range []string{
		"representedEnterpriseNumber=0206731645", "a[representedEnterprise]=BE+0206.731.645",
		"%72epresentedEnterpriseNumber=%30206731645",
		"a=1;b=2", "a=%", "representedEnterpriseNumber", "&=&", "repre%C5%BFentedEnterpriseNumber=206731645",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, err := tenancy.NamedInQuery(query)
		values, urlErr := url.ParseQuery(query)
		if err != nil {
			if status(t, err) != 400 {
				t.Fatal(err)
			}
			return
		}
		if urlErr != nil {
			t.Fatalf("%q was accepted, but %v", query, urlErr)
		}
		for name, list := range values {
			if !strings.EqualFold(name, numberName) && !strings.EqualFold(name, enterpriseName) {
				continue
			}
			for _, v := range list {
				if n, err := enterprise.Parse(v); err == nil && !slices.Contains(got.Numbers, n) {
					t.Fatalf("%s was overlooked in %q", n, query)
				}
			}
		}
	})
}
