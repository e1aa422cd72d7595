package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
	c, err := Parse("test.yaml", []byte(fileTestConfig), t.TempDir(), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
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
		"YAML": {
			file: "list.yaml", content: "- {number: 0212148896}\n", want: []string{"0212148896 office"}},
		"a wrong check digit":       {file: "list.txt", content: "0206731646\n", wrong: ":1:1: "},
		"a client that is not here": {file: "list.csv", content: "number,client\n0206731645,brunch\n", wrong: "branch"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := c.EnterprisesIn(file(t, t.TempDir(), tc.file, tc.content))
			var mistakes Errors
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
