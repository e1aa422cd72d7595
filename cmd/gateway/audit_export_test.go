package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"ebox-gateway/internal/audit"
)

func TestACellIsNeverAFormula(t *testing.T) {
	for _, c := range []struct{ cell, want string }{
		{"an.peeters", "an.peeters"},
		{"=1+1", "'=1+1"},
		{"+32", "'+32"},
		{"-1", "'-1"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", "\t'=1"},
		{" =1", " '=1"},
		{"\uff1d1", "'\uff1d1"},
		{"a;=cmd|' /C calc'!A0", "a;'=cmd|' /C calc'!A0"}, // where a semicolon ends a cell
		{`a","=1`, `a","'=1`},
		{"a\r\n=1", "a\r\n'=1"},
		{"/ebox/messages/1-2", "/ebox/messages/1-2"},
	} {
		if got := harmless(c.cell); got != c.want {
			t.Errorf("%q became %q, not %q", c.cell, got, c.want)
		}
	}
	var b bytes.Buffer
	w := &csvWriter{bufio.NewWriter(&b)}
	w.header()
	found := &audit.Found{Record: audit.Record{Actor: `=HYPERLINK("x")`, Purpose: "a;=1,\"2\"\r\nb"}}
	if err := w.write(found); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	text, marked := strings.CutPrefix(b.String(), "\ufeff")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || !marked || len(rows) != 2 || len(rows[0]) != len(csvColumns) {
		t.Fatalf("%v, %q", err, text)
	}
	if got := rows[1][5]; got != `'=HYPERLINK("x")` {
		t.Errorf("the actor is %q", got)
	}
	if got := rows[1][6]; got != "a;'=1,\"2\"\nb" { // encoding/csv reads CRLF in a cell as LF
		t.Errorf("the purpose is %q", got)
	}
}
