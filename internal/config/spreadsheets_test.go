package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"
)

// utf16Of is a text as "Unicode Text" of a spreadsheet.
func utf16Of(t *testing.T, text string, order unicode.Endianness) string {
	t.Helper()
	encoded, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// Spreadsheets leave more in a file than people see.
func TestSpreadsheetsAreReadAsTheyAre(t *testing.T) {
	for name, content := range map[string]string{
		"empty columns at the end":               "number,name,,,\n0206731645,A,,,\n0474028805,B,,,\n",
		"rows without their last delimiters":     "number;name;client;routes\n0206731645;A\n0474028805\n",
		"rows with more delimiters than columns": "number,name\n0206731645,A,,,,\n0474028805,B,,\n",
		"an empty line first, then semicolons":   "\nnumber;name\n0206731645;A, B and C\n0474028805;D\n",
		"a line of delimiters first":             ";;;\r\nnumber;name\r\n0206731645;A\r\n0474028805;B\r\n",
		"blanks first":                           "  \nnumber;name\n0206731645;A\n0474028805;B\n",
		"Excel's own first line":                 "sep=;\nnumber;name\n0206731645;A\n0474028805;B\n",
		"empty rows between and after":           "number,name\n0206731645,A\n,\n\n0474028805,B\n,\n",
		"no zero in front, as numbers are shown": "number\n206731645\n474028805\n",
		"columns in another order":               "suspended,number\nnee,0206731645\nfalse,0474028805\n",
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

func TestSpreadsheetsAreToldWhatIsWrongAllAtOnce(t *testing.T) {
	accented := "number,name\n0206731645,Café\n0474028806,B\n"
	many := "number,name\n" + strings.Repeat("x,y\n", 2000)
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"scientific notation": {"number;name\n2,06731645E+08;A\n2.06732E+8;B\n4e8;C\n", []string{
			`:2:1: "2,06731645E+08" is a number in scientific notation`, ":3:1: ", ":4:1: ", "format the column as Text",
		}},
		"cp1252, and another mistake": {string([]byte("number,name\n0206731645,Caf\xe9\n0474028806,B\n")), []string{
			":2:15: this is not UTF-8, but looks like Windows-1252", `"CSV UTF-8 (Comma delimited)"`, "Café", ":3:1: ",
			"its last two digits",
		}},
		"UTF-16": {
			utf16Of(t, accented, unicode.LittleEndian), []string{"this is UTF-16", `"CSV UTF-8`, ":3:1: ",
				"its last two digits"}},
		"UTF-16, big end": {utf16Of(t, accented, unicode.BigEndian), []string{"this is UTF-16", ":3:1: "}},
		"every unknown column beside every bad row": {"nummer,naam,ref,client\n0206731645,A,1,office\n0474028806,B,2,ofice\n",
			[]string{
				`:1:1: unknown column "nummer": did you mean number?`, `:1:8: unknown column "naam"`, `:1:13: unknown column "ref"`,
				`:3:1: "0474028806" is no enterprise number`, `:3:16: there is no client "ofice"`,
			}},
		"a value below no column": {
			"number,name,\n0206731645,A,B\n", []string{":2:14: there is no column above this cell"}},
		"a name with a comma": {
			"number,name\n0206731645,A, Inc\n",
			[]string{":2:14: there is no column above this cell; put a name with a , in it into double quotes"}},
		"no number column": {
			"name,client\nA,ofice\n", []string{"there is no column number", `:2:3: there is no client "ofice"`}},
		"nothing but delimiters":       {",,\n,,\n", []string{"the file is empty"}},
		"more mistakes than are shown": {many, []string{":101:1: ", "and 1900 more mistakes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := withFile(t, "list.csv", c.content)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in\n%.2000s", want, err)
				}
			}
		})
	}
}

// A stop file in another encoding still stops whom it names.
func TestASuspendedFileInUTF16Suspends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stop.txt")
	text := utf16Of(t, "0206731645\r\n", unicode.LittleEndian)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	numbers, err := LoadSuspended(path)
	if len(numbers) != 1 || err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("%v, %v", numbers, err)
	}
}

func TestATabInYAMLIsNamed(t *testing.T) {
	for _, text := range []string{"server:\n\tlisten: a\n", "server:\n  drain:\n  \tdelay: 5s\n",
		"server:\n  allowedHosts:\n  - a\n\t- b\n"} {
		_, err := Parse("test.yaml", []byte("environment: simulation\n"+text), "/", environment)
		if err == nil || !strings.Contains(err.Error(), "a tab in the indentation") {
			t.Errorf("%q: %v", text, err)
		}
	}
	good := "environment: simulation\n\t# a comment\n\t\nserver: {listen:\t\"127.0.0.1:1\"}\noauth: {clients: {office: " +
		"{clientId: a, keystore: {file: a.p12}}}}\n"
	if _, err := Parse("test.yaml", []byte(good), "/", environment); err != nil {
		t.Error(err)
	}
}

func TestAllMissingVariablesOfAValueAreNamedAtOnce(t *testing.T) {
	_, err := expand("https://${ONE}:${TWO}@${THREE-x}/${FOUR", func(string) (string, bool) { return "", false })
	for _, want := range []string{"variables ONE, TWO are not set", "${THREE-x} names no", "${ without its }"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}

func TestAMisspeltKeyComesBeforeWhatIsMissingForIt(t *testing.T) {
	_, err := Parse("test.yaml", []byte("server: {listen: x}\nenvironmnt: simulation\n"), "/", environment)
	errs, _ := err.(Errors)
	if len(errs) < 3 || !strings.Contains(errs[0].Message, "unknown key") ||
		!strings.Contains(fmt.Sprint(errs[1:]), "is missing") {
		t.Errorf("%v", err)
	}
}
