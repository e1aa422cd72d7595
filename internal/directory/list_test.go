package directory_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/testkit"
)

// read gives what a directory makes of the answer of its registry.
func read(t testing.TB, r config.Registry, answer string) (list []*directory.Provider, problems []string, err error) {
	d := directory.New(directory.Options{Registry: r, Fetch: func(context.Context, string) (directory.Answer, error) {
		return directory.Answer{Status: http.StatusOK, Body: []byte(answer)}, nil
	}})
	err = d.Refresh(t.Context())
	return d.List(), d.Status().Problems, err
}

const whole = `{"messageProviderId": "nsso",
	"messageProviderName": {"nl": "RSZ", "fr": "ONSS", "de": "LSS", "en": "NSSO", "xx": null},
	"messageProviderDescription": "plain text",
	"messageProviderUrl": "HTTPS://Services.SocialSecurity.be:443/REST/messageRegistry/v3/",
	"messageProviderActivationDate": "2017-12-01", "messageProviderTechnicalContact": "who@example.be",
	"apiSupportedVersion": "3.0", "_links": {"self": {"href": "x"}}, "somethingNew": [1, 2]}`

func TestBothShapesOfTheList(t *testing.T) {
	want := map[string]string{"nl": "RSZ", "fr": "ONSS", "de": "LSS", "en": "NSSO"}
	for name, body := range map[string]string{
		"an array":               "[" + whole + "]",
		"an object with items":   `{"total": 1, "items": [` + whole + `], "_links": {}}`,
		"with a byte order mark": "\xef\xbb\xbf [" + whole + "]\n",
	} {
		t.Run(name, func(t *testing.T) {
			list, problems, err := read(t, federation(), body)
			if err != nil || len(list) != 1 || len(problems) != 0 {
				t.Fatal(list, problems, err)
			}
			p := list[0]
			if p.ID != "nsso" || p.Base.String() != "https://services.socialsecurity.be/REST/messageRegistry/v3" ||
				p.Refusal != "" || p.APIVersion != "3.0" || p.Contact != "who@example.be" ||
				p.Description[""] != "plain text" || !cmp.Equal(p.Name, want) ||
				!p.Activation.Equal(at("2017-11-30T23:00:00Z")) || !p.Deactivation.IsZero() {
				t.Errorf("%+v at %s", p, p.Base)
			}
		})
	}
}

func TestTheConfigurationCanNameOtherFields(t *testing.T) {
	r := federation()
	r.Fields.ID, r.Fields.URL, r.Fields.APIVersion = "id", "endpoint", "version"
	r.Fields.Maintenance, r.Fields.MaintenanceStart, r.Fields.MaintenanceEnd = "downtime", "from", "to"
	list, problems, err := read(t, r, `{"items": [{"id": 17, "endpoint": "https://a.socialsecurity.be", "version": 2.10,
		"messageProviderActivationDate": "2020-01-01",
		"downtime": [{"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}]}]}`)
	if err != nil || len(problems) != 0 || len(list) != 1 {
		t.Fatal(list, problems, err)
	}
	if got := list[0]; got.ID != "17" || got.APIVersion != "2.10" || len(got.Maintenance) != 1 || got.Activation.IsZero() {
		t.Errorf("%+v", got)
	}
}

func entry(id, rest string) string {
	return `{"messageProviderId": "` + id + `", "messageProviderUrl": "https://a.socialsecurity.be/"` + rest + `}`
}

// linked is an entry with a URL.
func linked(url string) string {
	return `{"messageProviderId": "x", "messageProviderUrl": "` + url + `"}`
}

func TestWhatTheKnownNamesDoNotFindIsRecognisedByItsShape(t *testing.T) {
	body := `{"registries": [
		{"id": "nsso", "ownerId": "0206731645", "endpoint": "https://a.socialsecurity.be/v3", "version": "3.5",
		 "activationDate": [2020,1,1], "contactUrl": "mailto:x@example.be",
		 "plannedMaintenance": [{"startDate": 1785230760, "endDate": 1785234360000}],
		 "_links": {"self": {"href": "https://x.example.be"}}},
		{"id": "gone", "ownerId": "0206731645", "endpoint": "https://b.socialsecurity.be/v3", "version": "3.5",
		 "deactivationDate": "2021-01-01+01:00"}], "total": 2}`
	list, problems, err := read(t, federation(), body)
	if err != nil || len(list) != 2 {
		t.Fatal(list, problems, err)
	}
	nsso, gone := list[0], list[1]
	if nsso.ID != "nsso" || nsso.Base.String() != "https://a.socialsecurity.be/v3" || nsso.APIVersion != "3.5" ||
		!nsso.Activation.Equal(at("2019-12-31T23:00:00Z")) ||
		len(nsso.Maintenance) != 1 || !nsso.Maintenance[0].Start.Equal(at("2026-07-28T09:26:00Z")) ||
		!nsso.Maintenance[0].End.Equal(at("2026-07-28T10:26:00Z")) {
		t.Errorf("%+v", nsso)
	}
	if !gone.Deactivation.Equal(at("2021-01-01T23:00:00Z")) {
		t.Errorf("deactivated at %s", gone.Deactivation)
	}
	said := strings.Join(problems, "\n")
	for _, want := range []string{`"registries"`, `'s id is taken to be "id"`, `'s URL is taken to be "endpoint"`,
		`'s deactivation is taken to be "deactivationDate"`, "registry.fields"} {
		if strings.Count(said, want) < 1 || strings.HasPrefix(want, "'s id") && strings.Count(said, want) != 1 {
			t.Errorf("%q is not said once: %s", want, said)
		}
	}

	for name, body := range map[string]string{
		"two https URLs": `[{"id": "x", "a": "https://a.socialsecurity.be",
			"b": "https://b.socialsecurity.be"}]`,
		"two ids":                           `[{"xId": "x", "yId": "y", "a": "https://a.socialsecurity.be"}]`,
		"http":                              `[{"id": "x", "a": "http://a.socialsecurity.be"}]`,
		"an end that is no date":            `[{"id": "x", "a": "https://a.socialsecurity.be", "endDate": "soon"}]`,
		"an id that cannot stand in a path": `[{"id": "../x", "a": "https://a.socialsecurity.be"}]`,
	} {
		if list, _, err := read(t, federation(), body); err == nil {
			t.Errorf("%s: %+v", name, list[0])
		}
	}
	r := federation()
	r.Fields.URL = "link" // the operator's own word, which is not guessed at
	if _, _, err := read(t, r, `[{"messageProviderId": "x", "a": "https://a.socialsecurity.be"}]`); err == nil {
		t.Error("what the configuration names is missing, and something else was taken")
	}
	if list, _, err := read(t, federation(), `[{"id": "x", "a": "https://evil.example"}]`); err != nil ||
		list[0].Refusal == "" {
		t.Errorf("a host that is not allowed is taken: %v", err)
	}
}

func TestOneBadEntryDoesNotVoidTheList(t *testing.T) {
	good := entry("good", "")
	for name, c := range map[string]struct{ bad, problem string }{
		"no object":                   {`"text"`, "not an object"},
		"null":                        {`null`, "not an object"},
		"no id":                       {`{"messageProviderUrl": "https://a.socialsecurity.be"}`, "no id"},
		"an id that is an object":     {`{"messageProviderId": {}}`, "messageProviderId is no text"},
		"an id with a slash":          {entry("a/b", ""), "slash"},
		"an id with a percent sign":   {entry("a%2fb", ""), "percent"},
		"an id that is a dot segment": {entry("..", ""), "dot segment"},
		"an id with a line break":     {entry(`a\nb`, ""), "control"},
		"an id of 101 characters":     {entry(strings.Repeat("é", 101), ""), "100 characters"},
		"an id that stands twice":     {entry("good", ""), "before"},
		"no URL":                      {`{"messageProviderId": "x"}`, "missing"},
		"another scheme":              {linked("file:///etc/passwd"), "no URL"},
		"a URL whose host a resolver might read as an address": {linked("https://127.1/v3"), "no valid host"},
		"a URL with a user":              {linked("https://services.socialsecurity.be@evil.example/"), "user"},
		"a URL with an escape":           {linked("https://a.socialsecurity.be/a%2fb"), "an escape"},
		"an activation that is no date":  {entry("x", `, "messageProviderActivationDate": "soon"`), "neither a date"},
		"a deactivation that is no date": {entry("x", `, "messageProviderDeactivationDate": {}`), "neither a date"},
	} {
		t.Run(name, func(t *testing.T) {
			list, problems, err := read(t, federation(), "["+good+","+c.bad+","+entry("also", "")+"]")
			testkit.Must(t, err)
			if len(list) != 2 || list[0].ID != "good" || list[1].ID != "also" {
				t.Errorf("%d providers", len(list))
			}
			if len(problems) != 1 || !strings.Contains(problems[0], c.problem) {
				t.Errorf("problems %q, want one with %q", problems, c.problem)
			}
		})
	}
}

func TestPartsThatAProviderCanDoWithout(t *testing.T) {
	for name, c := range map[string]struct{ rest, problem string }{
		"maintenance that is no list": {`, "messageProviderPlannedMaintenance": "never"`, "no list"},
		"a window without an end": {
			`, "messageProviderPlannedMaintenance": [{"startDate": "2026-01-01T00:00:00Z"}]`, "ignored: 1, whose"},
		"a window that ends backwards": {
			`, "messageProviderPlannedMaintenance": [{"startDate": "2026-01-02T00:00:00Z", "endDate": "2026-01-01T00:00:00Z"}]`,
			"before they begin"},
		"a name that is a list": {`, "messageProviderName": ["x"]`, ""},
		"nulls": {
			`, "messageProviderName": null, "messageProviderPlannedMaintenance": null, "messageProviderDeactivationDate": null`,
			""},
	} {
		t.Run(name, func(t *testing.T) {
			list, problems, err := read(t, federation(), "["+entry("p", c.rest)+"]")
			if err != nil || len(list) != 1 || len(list[0].Maintenance) != 0 {
				t.Fatal(list, problems, err)
			}
			if c.problem == "" && len(problems) != 0 || c.problem != "" &&
				(len(problems) != 1 || !strings.Contains(problems[0], c.problem)) {
				t.Errorf("problems %q, want %q", problems, c.problem)
			}
		})
	}
}

// Each mistake is kept and logged: a registry must not fill memory and log with them.
func TestAListFullOfMistakesIsReportedInPart(t *testing.T) {
	list, problems, err := read(t, federation(), "["+entry("good", "")+strings.Repeat(",{}", 999)+"]")
	if err != nil || len(list) != 1 || len(problems) != 101 ||
		problems[100] != "and 899 more of the kind" {
		t.Errorf("%d providers, %d problems, %v", len(list), len(problems), err)
	}
}

// Neither JSON nor Retry-After can write what lies beyond: one such date would be an error in
// place of the list of all providers.
func TestNoDateOfTheRegistryIsBeyondTheYearsThatCanBeWritten(t *testing.T) {
	for _, dates := range []string{
		`"startDate": "2026-01-01T00:00:00Z", "endDate": "9999-12-31T23:59:59-01:00"`,
		`"startDate": "2026-01-01T00:00:00Z", "endDate": 999999999999999`,
		`"startDate": "0000-01-01", "endDate": "9999-12-31"`,
	} {
		planned := entry("p", `, "messageProviderPlannedMaintenance": [{`+dates+"}]")
		list, problems, err := read(t, federation(), "["+planned+"]")
		if err != nil || len(problems) != 0 || len(list[0].Maintenance) != 1 {
			t.Fatalf("%s: %v %v %v", dates, list, problems, err)
		}
		if _, err := json.Marshal(list[0].Maintenance); err != nil {
			t.Errorf("%s: %v", dates, err)
		}
		p := list[0].Problem(at("2026-06-01T00:00:00Z"))
		if _, err := http.ParseTime(p.Header.Get("Retry-After")); err != nil {
			t.Errorf("%s: %v", dates, err)
		}
	}
}

func TestNonsenseIsNoList(t *testing.T) {
	for name, c := range map[string]struct{ body, err string }{
		"nothing":                {"", "empty"},
		"empty items":            {`{"items": []}`, "empty"},
		"a web page":             {"<!DOCTYPE html><html></html>", "web page"},
		"text":                   {"Service unavailable", "no JSON"},
		"cut between entries":    {"[" + whole + ",", "not whole"},
		"null":                   {"null", "items"},
		"items that are no list": {`{"items": {"a": 1}}`, "items"},
		"no entry with an id":    {`[{"name": "x"}, 3]`, "none of the 2"},
		"names that are not known": {
			`[{"code": "x", "baseUrl": "https://a.socialsecurity.be", "site": "https://b.socialsecurity.be"}]`,
			`"baseUrl", "code", "site": name the right ones in registry.fields`},
		"two lists":          {`{"a": [{"x": 1}], "b": [{"y": 1}]}`, `the members "a", "b"`},
		"names that are odd": {`[{"\u001b[31m\u202e": 1}]`, `"\x1b[31m\u202e"`},
		"more than 4 MB":     {"[" + whole + strings.Repeat(" ", directory.MaxBody) + "]", "4 MB"},
		"more entries than there can be": {"[" + strings.Repeat("1,", 1000) + "1]",
			"1001 entries, and one of more than 1000 is not used"},
		"deeper than JSON should be": {strings.Repeat("[", 100_000), "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			list, _, err := read(t, federation(), c.body)
			if err == nil || list != nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v; want an error with %q", list, err, c.err)
			}
		})
	}
}

// What the parser lets through holds what the rest of the gateway relies on.
func FuzzList(f *testing.F) {
	f.Add("[" + whole + "]")
	f.Add(`{"items": [` + whole + "," +
		entry("b", `, "messageProviderPlannedMaintenance": [{"startDate": "2026-01-01", "endDate": "2026-01-01"}]`) + `]}`)
	f.Add(`[{"messageProviderId": 1, "messageProviderUrl": "https://user:pw@[::1]:8443/a%2e/?q#f"}]`)
	f.Add(`[{"messageProviderId": "x", "messageProviderUrl": "http://169.254.169.254/latest"}]`)
	f.Add(`[{"messageProviderId": "x", "messageProviderUrl": "https://bücher.socialsecurity.be./%C3%A9/"}]`)
	f.Fuzz(func(t *testing.T, body string) {
		list, _, err := read(t, federation(), body)
		if err != nil != (len(list) == 0) || err != nil && strings.Contains(err.Error(), "a fault of the gateway") {
			t.Fatalf("%d providers and %v", len(list), err)
		}
		seen := map[string]bool{}
		for _, p := range list {
			if p.ID == "" || p.ID == "." || p.ID == ".." || strings.ContainsAny(p.ID, `/\%`) ||
				utf8.RuneCountInString(p.ID) > 100 || seen[p.ID] {
				t.Fatalf("id %q", p.ID)
			}
			seen[p.ID] = true
			b := p.Base
			if b == nil || b.User != nil || b.RawQuery != "" || b.Fragment != "" || strings.HasSuffix(b.Path, "/") ||
				b.Host != strings.ToLower(b.Host) {
				t.Fatalf("base %v", b)
			}
			again, err := config.BaseURL(b.String())
			if err != nil || again.String() != b.String() {
				t.Fatalf("base %s read again: %v, %v", b, again, err)
			}
			if p.Refusal == "" && (b.Scheme != "https" || !strings.HasSuffix(b.Host, ".socialsecurity.be")) {
				t.Fatalf("taken: %s", b)
			}
			for i, w := range p.Maintenance {
				if !w.End.After(w.Start) || i > 0 && !w.Start.After(p.Maintenance[i-1].End) {
					t.Fatalf("windows %v", p.Maintenance)
				}
			}
		}
	})
}
