package tenancy_test

import (
	"net/http"
	"slices"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

func TestCutPath(t *testing.T) {
	for name, c := range map[string]struct {
		path, segment, rest string
		found               bool
		status              int
	}{
		"a number":                 {"/enterprises/0206731645/ebox/providers", "0206731645", "/ebox/providers", true, 0},
		"nothing behind it":        {"/enterprises/0206731645", "0206731645", "", true, 0},
		"escapes in the rest stay": {"/enterprises/1/a%20b%2Fc", "1", "/a%20b%2Fc", true, 0},
		"an escaped segment":       {"/enterprises/BE%200206.731.645/x", "BE 0206.731.645", "/x", true, 0},
		"an escaped slash in it":   {"/enterprises/a%2Fb/x", "a/b", "/x", true, 0},
		"no segment":               {"/enterprises/", "", "", true, 0},
		"an empty segment":         {"/enterprises//ebox", "", "/ebox", true, 0},
		"twice: once is taken":     {"/enterprises/1/enterprises/2/x", "1", "/enterprises/2/x", true, 0},
		"a broken escape":          {"/enterprises/02%zz/x", "", "", false, 400},
		"another path":             {"/ebox/providers", "", "/ebox/providers", false, 0},
		"the word alone":           {"/enterprises", "", "/enterprises", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			segment, rest, found, err := tenancy.CutPath(c.path)
			if segment != c.segment || rest != c.rest || found != c.found || status(t, err) != c.status {
				t.Fatalf("%q, %q, %v, %v", segment, rest, found, err)
			}
		})
	}
}

func TestAliasesOfTheRepresentedHeader(t *testing.T) {
	for name, want := range map[string]bool{
		"On-Behalf-Of-Enterprise-Number":  true,
		"ON_BEHALF_OF_ENTERPRISE_NUMBER":  true,
		"On_behalf-of.Enterprise~Number":  true,
		"On-Behalf-Of-Enterprise-Numbers": false,
		"On-Behalf-Of-Enterprise":         false,
		"OnxBehalf-Of-Enterprise-Number":  false,
		"On-Behalf0Of-Enterprise-Number":  false,
		"Xn-Behalf-Of-Enterprise-Number":  false,
		"":                                false,
	} {
		got := tenancy.HeaderValues(http.Header{name: {"1", "2"}, "Accept": {"5"}})
		if want != slices.Equal(got, []string{"1", "2"}) || !want && got != nil {
			t.Errorf("%q has the values %q", name, got)
		}
	}
}

// Whatever path and headers say, they are either refused with 400 or name one enterprise, or the office itself.
func FuzzClaim(f *testing.F) {
	f.Add("0206731645", true, "BE 0206.731.645", "", 1)
	f.Add("own", true, "", "", 0)
	f.Add("", false, "0206731645", "0206731645", 2)
	f.Fuzz(func(t *testing.T, path string, hasPath bool, one, two string, headers int) {
		claim := tenancy.Claim{Path: path, HasPath: hasPath, Header: []string{one, two}[:min(2, max(0, headers))]}
		got, err := resolver(config.Any).Resolve(ruled(everything), eboxRoute, ebox.List, "GET", claim)
		if err != nil {
			if status(t, err) != 400 || len(issues(err)) == 0 || got.Number != 0 || got.Own {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		said := slices.Clone(claim.Header)
		if hasPath {
			said = append(said, path)
		}
		for _, s := range said {
			if n, err := enterprise.Parse(s); n != got.Number || (err != nil) != (got.Own && s == "own") {
				t.Fatalf("%+v of %+v", got, claim)
			}
		}
		if len(said) == 0 || len(claim.Header) > 1 {
			t.Fatalf("%+v of %+v", got, claim)
		}
	})
}
