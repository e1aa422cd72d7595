package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
)

const minimal = `environment: production
oauth: {clients: {office: {clientId: abc, keystore: {file: client.p12}}}}
`

// withFile loads a configuration whose one enterprise file has this content.
func withFile(t testing.TB, name, content string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	file(t, dir, name, content)
	return config.Parse("config.yaml", []byte(minimal+"tenancy: {enterpriseFiles: ["+name+"]}\n"), dir, environment)
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
	want := []config.Enterprise{
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
	numbers, err := config.LoadSuspended(path)
	if want := []enterprise.Number{206731645, 474028805, 212148896}; !reflect.DeepEqual(numbers, want) {
		t.Errorf("got %v", numbers)
	}
	errs, ok := err.(config.Errors)
	if !ok || len(errs) != 4 {
		t.Fatalf("four errors are expected: %v", err)
	}
	for i, line := range []int{4, 6, 7, 7} {
		if errs[i].Line != line || errs[i].File != path {
			t.Errorf("error %d stands on %s:%d", i, errs[i].File, errs[i].Line)
		}
	}
	if _, err := config.LoadSuspended(path + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	inUTF16 := "\xff\xfe" + strings.Join(strings.Split("0206731645\r\n", ""), "\x00") + "\x00"
	numbers, err = config.LoadSuspended(file(t, t.TempDir(), "stop.txt", inUTF16))
	if len(numbers) != 1 || err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("%v, %v", numbers, err)
	}
}

const fileTestConfig = `environment: simulation
oauth:
  clients:
    office: {clientId: a, keystore: {file: a.p12}}
    branch: {clientId: b, keystore: {file: b.p12}}
tenancy:
  defaultClient: office
  enterprises:
    - {number: 0206.731.645, client: branch}
`

func TestEnterprisesInAFileOfItsOwn(t *testing.T) {
	c := parseText(t, fileTestConfig)
	for name, tc := range map[string]struct {
		file, content string
		want          []string // number client
		wrong         string
	}{
		"plain numbers, with comments, one of them twice": {
			file: "list.txt", content: "# customers\n0206.731.645\nBE0212148896 # new\n\n0212148896\n",
			want: []string{"0206731645 branch", "0212148896 office"},
		},
		"a spreadsheet": {
			file: "list.csv", content: "\xef\xbb\xbfnumber;name;client\n212148896;Second;branch\n0206731645;;\n",
			want: []string{"0212148896 branch", "0206731645 branch"},
		},
		"a wrong check digit":       {file: "list.txt", content: "0206731646\n", wrong: ":1:1: "},
		"a client that is not here": {file: "list.csv", content: "number,client\n0206731645,brunch\n", wrong: "branch"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := c.EnterprisesIn(file(t, t.TempDir(), tc.file, tc.content))
			var mistakes config.Errors
			if tc.wrong != "" {
				if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), tc.wrong) {
					t.Fatalf("%v instead of a mistake with %q", err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range list {
				got = append(got, e.Number.String()+" "+e.Client)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := c.EnterprisesIn(filepath.Join(t.TempDir(), "nowhere.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Spreadsheets leave more in a file than people see.
func TestSpreadsheetsAreReadAsTheyAre(t *testing.T) {
	for name, content := range map[string]string{
		"empty columns at the end":               "number,name,,,\n0206731645,A,,,\n0474028805,B,,,\n",
		"rows without their last delimiters":     "number;name;client;routes\n0206731645;A\n0474028805\n",
		"rows with more delimiters than columns": "number,name\n0206731645,A,,,,\n0474028805,B,,\n",
		"a line of delimiters first":             ";;;\r\nnumber;name\r\n0206731645;A\r\n0474028805;B\r\n",
		"Excel's own first line":                 "sep=;\nnumber;name\n0206731645;A\n0474028805;B\n",
		"empty rows between and after":           "number,name\n0206731645,A\n,\n\n0474028805,B\n,\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := withFile(t, "list.csv", content)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Tenancy.Enterprises) != 2 {
				t.Errorf("%+v", c.Tenancy.Enterprises)
			}
		})
	}
}

func TestOneFileGivesAHundredMistakesAtMost(t *testing.T) {
	_, err := withFile(t, "list.csv", "number,name\n"+strings.Repeat("x,y\n", 2000))
	if err == nil || !strings.Contains(err.Error(), ":101:1: ") ||
		!strings.Contains(err.Error(), "and 1900 more mistakes") {
		t.Errorf("%.2000s", err)
	}
}

// A day begins and ends at midnight in Brussels, also when it has 23 or 25 hours.
func TestDaysAreBrusselsDays(t *testing.T) {
	on := func(written string) (config.Enterprise, error) {
		c, err := withFile(t, "e.csv", "number,from,until\n0206731645,"+written+","+written+"\n")
		if err != nil {
			return config.Enterprise{}, err
		}
		return c.Tenancy.Enterprises[0], nil
	}
	for written, want := range map[string][2]string{
		"2026-01-31": {"2026-01-30T23:00:00Z", "2026-01-31T23:00:00Z"},
		"2026-03-29": {"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"2026-10-25": {"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		"2028-02-29": {"2028-02-28T23:00:00Z", "2028-02-29T23:00:00Z"},
	} {
		if e, err := on(written); err != nil || !e.From.Equal(day(t, want[0])) || !e.Until.Equal(day(t, want[1])) {
			t.Errorf("%s is from %v until %v (%v)", written, e.From, e.Until, err)
		}
	}
	for _, bad := range []string{"2026-02-29", "2026-1-1", "01/02/2026", "2026-01-01T00:00:00Z"} {
		if _, err := on(bad); err == nil {
			t.Errorf("%q is taken for a day", bad)
		}
	}
}
