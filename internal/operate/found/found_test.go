package found_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/operate/found"
	"ebox-gateway/internal/testkit"
)

func TestARowOfCSVIsReadAsItWasRecorded(t *testing.T) {
	var b bytes.Buffer
	w := found.NewCSV(&b)
	one := &audit.Found{Record: audit.Record{Actor: `=HYPERLINK("x")`, Purpose: "a;=1,\"2\"\r\nb"}}
	testkit.Must(t, w.Write(one))
	testkit.Must(t, w.Flush())
	text, marked := strings.CutPrefix(b.String(), "\ufeff")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || !marked || len(rows) != 2 || rows[0][5] != "actor" || rows[0][6] != "purpose" {
		t.Fatalf("%v, %q", err, text)
	}
	if got := rows[1][5]; got != `'=HYPERLINK("x")` {
		t.Errorf("the actor is %q", got)
	}
	if got := rows[1][6]; got != "a;'=1,\"2\"\nb" { // encoding/csv reads CRLF in a cell as LF
		t.Errorf("the purpose is %q", got)
	}
}
