package config

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/enterprise"
)

const minimal = `environment: production
oauth: {clients: {office: {clientId: abc, keystore: {file: client.p12}}}}
`

// withFile loads a configuration whose one enterprise file has this content.
func withFile(t testing.TB, name, content string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	file(t, dir, name, content)
	return Parse("config.yaml", []byte(minimal+"tenancy: {enterpriseFiles: ["+name+"]}\n"), dir, environment)
}

func day(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestEnterpriseFilesInEveryForm(t *testing.T) {
	want := []Enterprise{
		{
			Number: 206731645, Name: "Café & frites, bv", Client: "office", Routes: []string{"ebox", "grant-citizen"},
			From: day(t, "2025-12-31T23:00:00Z"), Until: day(t, "2026-03-29T22:00:00Z"), Suspended: true,
		},
		{Number: 474028805},
	}
	for name, file := range map[string]struct{ name, content string }{
		"comma": {"e.csv", "number,name,client,routes,from,until,suspended\n" +
			"0206.731.645,\"Café & frites, bv\",office,ebox grant-citizen,2026-01-01,2026-03-29,true\n0474028805,,,,,,\n"},
		"semicolon, byte order mark, other order, capitals, CRLF": {"e.CSV",
			"\xef\xbb\xbfSuspended;Number;Until;From;Routes;Client;Name\r\n" +
				"TRUE;BE0206731645;2026-03-29;2026-01-01;ebox|grant-citizen;office;Café & frites, " +
				"bv\r\n;474028805;;;;;\r\n;;;;;;\r\n"},
		"flow mappings": {"e.yaml", "# comment\n- {number: 0206731645, name: \"Café & frites, bv\", client: office, " +
			"routes: [ebox, grant-citizen], from: 2026-01-01, until: 2026-03-29, suspended: true}\n" +
			"- {number: 474028805}\n"},
		"below enterprises": {"e.yaml", "enterprises:\n  - number: 0206731645\n    name: 'Café & frites, bv'\n    client: " +
			"office\n    routes: [ebox, grant-citizen]\n    from: 2026-01-01\n    until: 2026-03-29\n    suspended: true\n" +
			"  - {number: 0474028805}\n"},
		"what only the full reader understands": {"e.yaml", "- &first\n  number: >-\n    0206731645\n  name: \"Caf\\u00e9 " +
			"& frites, bv\"\n  client: office # the only one\n  routes:\n    - ebox\n    - grant-citizen\n" +
			"  from: 2026-01-01\n  until: 2026-03-29\n  suspended: true\n- {number: \"0474028805\"}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := withFile(t, file.name, file.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, c.Tenancy.Enterprises,
				cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSuspendedNumbersSurviveABrokenLine(t *testing.T) {
	path := file(t, t.TempDir(), "stop.txt", "\xef\xbb\xbf# stop\r\n0206731645 # reason\r\n\r\nnonsense\r\n "+
		"0474.028.805\r\n0474028806\r\n\xff\xfe\r\nBE0212148896")
	numbers, err := LoadSuspended(path)
	if want := []enterprise.Number{206731645, 474028805, 212148896}; !reflect.DeepEqual(numbers, want) {
		t.Errorf("got %v", numbers)
	}
	errs, ok := err.(Errors)
	if !ok || len(errs) != 4 {
		t.Fatalf("four errors are expected: %v", err)
	}
	for i, line := range []int{4, 6, 7, 7} {
		if errs[i].Line != line || errs[i].File != path {
			t.Errorf("error %d stands on %s:%d", i, errs[i].File, errs[i].Line)
		}
	}
	if _, err := LoadSuspended(path + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}
