package telemetry_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/telemetry"
)

func TestMaskHidesCitizensHoweverTheyAreWritten(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"with its usual separators": {"/mandates/79.07.23-000.48", "/mandates/**.**.**-***.**"},
		"with escaped separators":   {"/mandates/79%2E07%2e23%2D000%2d48", "/mandates/**%2E**%2e**%2D***%2d**"},
		"with digits escaped":       {"/mandates/%37%39072300048", "/mandates/***************"},
		"twice":                     {"/79072300048/85073003328/", "/***********/***********/"},
		"followed by a number":      {"79.07.23-000.48-2", "**.**.**-***.**-2"},
		"after a number":            {"12.79072300048", "12.***********"},
		"after an escape":           {"a%2079072300048", "a%20***********"},
		"in the name of a file":     {"/mandate_79072300048.pdf", "/mandate_***********.pdf"},
		"a CBE number stays":        {"/enterprises/0206731645/ebox", "/enterprises/0206731645/ebox"},
		"a dotted CBE number stays": {"/enterprises/0206.731.645/x", "/enterprises/0206.731.645/x"},
		"twelve digits stay":        {"/messages/123456789012", "/messages/123456789012"},
		"a message id stays": {
			"/messages/2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11", "/messages/2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11"},
		"segments are no groups":        {"/ebox/2026/11/22/00001", "/ebox/2026/11/22/00001"},
		"an escape cut short":           {"790723%2", "790723%2"},
		"four separators are a divider": {"790723----00048", "790723----00048"},
		"nothing":                       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := telemetry.Mask(c.in); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Whatever stands around it that is no digit, a number in groups is hidden.
func TestMaskFindsCitizensAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9]{11}`).Draw(t, "number")
		var written strings.Builder
		for i := range digits {
			if i > 0 {
				written.WriteString(rapid.SampledFrom([]string{"", "", "", ".", "-", " ", "+", "_", "%2E", "%2d", "%20", " - "}).
					Draw(t, "separator"))
			}
			written.WriteString(rapid.SampledFrom([]string{digits[i : i+1], "%3" + digits[i:i+1]}).Draw(t, "digit"))
		}
		around := rapid.StringMatching(`[/a-z?=]{1,8}`)
		in := around.Draw(t, "before") + written.String() + around.Draw(t, "after")
		out := telemetry.Mask(in)
		if len(out) != len(in) || strings.ContainsAny(unescapeDigits(out), "0123456789") && !strings.Contains(in, "%2") {
			t.Fatalf("%q became %q", in, out)
		}
		if again := strings.Count(out, "*"); again < len("79072300048") {
			t.Fatalf("%q became %q", in, out)
		}
	})
}

func unescapeDigits(s string) string {
	for _, d := range "0123456789" {
		s = strings.ReplaceAll(s, "%3"+string(d), string(d))
	}
	return s
}

func FuzzMask(f *testing.F) {
	for _, seed := range []string{"/mandates/79072300048", "79.07.23-000.48", "%37%39072300048", "790723%20000%2048",
		"0206.731.645", "%3", "1-%2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := telemetry.Mask(s)
		if len(out) != len(s) {
			t.Fatalf("%q became %q", s, out)
		}
		for i := range len(s) {
			if s[i] != out[i] && out[i] != '*' {
				t.Fatalf("%q became %q", s, out)
			}
		}
		if again := telemetry.Mask(out); again != out {
			t.Fatalf("%q, masked again, is %q", out, again)
		}
	})
}
