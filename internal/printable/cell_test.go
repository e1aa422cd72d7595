package printable_test

import (
	"testing"

	"ebox-gateway/internal/printable"
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
		if got := printable.Cell(c.cell); got != c.want {
			t.Errorf("%q became %q, not %q", c.cell, got, c.want)
		}
	}
}
