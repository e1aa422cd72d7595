package config

import (
	"strings"
	"testing"
)

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
	if err == nil || !strings.Contains(err.Error(), ":101:1: ") || !strings.Contains(err.Error(), "and 1900 more mistakes") {
		t.Errorf("%.2000s", err)
	}
}

// A stop file in another encoding still stops whom it names.
func TestASuspendedFileInUTF16Suspends(t *testing.T) {
	text := "\xff\xfe" + strings.Join(strings.Split("0206731645\r\n", ""), "\x00") + "\x00"
	numbers, err := LoadSuspended(file(t, t.TempDir(), "stop.txt", text))
	if len(numbers) != 1 || err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("%v, %v", numbers, err)
	}
}
