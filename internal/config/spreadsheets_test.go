package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

func TestOneFileGivesAHundredMistakesAtMost(t *testing.T) {
	_, err := withFile(t, "list.csv", "number,name\n"+strings.Repeat("x,y\n", 2000))
	if err == nil || !strings.Contains(err.Error(), ":101:1: ") || !strings.Contains(err.Error(), "and 1900 more mistakes") {
		t.Errorf("%.2000s", err)
	}
}

// A stop file in another encoding still stops whom it names.
func TestASuspendedFileInUTF16Suspends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stop.txt")
	text := "\xff\xfe" + strings.Join(strings.Split("0206731645\r\n", ""), "\x00") + "\x00"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	numbers, err := LoadSuspended(path)
	if len(numbers) != 1 || err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("%v, %v", numbers, err)
	}
}
