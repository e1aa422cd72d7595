package printable

import "regexp"

// formula is where a spreadsheet would take a cell for a formula: at its beginning, and behind
// whatever it may take for the end of a cell, as a semicolon in Belgium.
var formula = regexp.MustCompile(`((?:^|[,;|\t\r\n"])\s*)([=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])`)

// Cell is the text of a cell of CSV: before what a spreadsheet would compute it has an apostrophe.
func Cell(text string) string { return formula.ReplaceAllString(text, "$1'$2") }
