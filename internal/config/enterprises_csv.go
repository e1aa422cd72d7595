package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"
)

// columns of an enterprise file, in any order; number alone is needed.
var columns = []string{"number", "name", "client", "routes", "from", "until", "suspended"}

// csv reads an enterprise file of RFC 4180, with "," or ";" between the cells, as
// spreadsheets write it in different countries: with empty columns and rows at the end,
// with rows that end before the last columns, with empty lines above the first row.
func (t *enterpriseTable) csv(src *source) {
	if at := bytes.IndexByte(src.content, 0); at >= 0 {
		line, column := src.position(at)
		t.k.m.add(src, line, column, "", "a NUL byte: this is no text")
		return
	}
	reader := csv.NewReader(bytes.NewReader(src.content))
	reader.Comma = delimiter(src.content)
	reader.ReuseRecord = true
	reader.FieldsPerRecord = -1
	var header []string // the column of each cell; "" for none
	var broken *csv.ParseError
	for {
		record, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			if header == nil {
				t.k.m.add(src, 1, 1, "", "the file is empty: a first line with the columns is expected, "+
					strings.Join(columns, ","))
			}
			return
		case errors.As(err, &broken):
			t.k.m.add(src, broken.Line, src.characters(broken.Line, broken.Column), "", "this is no CSV: "+broken.Err.Error())
		case blank(record) || header == nil && strings.HasPrefix(record[0], "sep="):
			// Rows of a spreadsheet in which nothing stands, and Excel's own first line.
		case header == nil:
			header = t.header(src, reader, record)
		default:
			t.row(src, reader, record, header)
		}
	}
}

// delimiter is ";" if the first line in which anything stands has more of those.
func delimiter(content []byte) rune {
	for line := range bytes.Lines(content) {
		commas, semicolons := bytes.Count(line, []byte{','}), bytes.Count(line, []byte{';'})
		if len(bytes.Trim(line, ",; \t\r\n")) == 0 || bytes.HasPrefix(line, []byte("sep=")) {
			continue
		}
		if semicolons > commas {
			return ';'
		}
		break
	}
	return ','
}

func blank(record []string) bool {
	return !slices.ContainsFunc(record, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

// header reads the first row. An unknown column is a mistake; if one can be meant
// by it, the rows are read as if it were that one, so that their mistakes show too.
func (t *enterpriseTable) header(src *source, reader *csv.Reader, record []string) []string {
	header := make([]string, len(record))
	for i, cell := range record {
		header[i] = strings.ToLower(strings.TrimSpace(cell))
	}
	for i, name := range header {
		switch {
		case name == "": // whatever stands below it is a mistake there
		case !slices.Contains(columns, name):
			t.k.m.as(unknownKey, func() {
				t.cell(src, reader, i, "unknown column "+quote(name)+": "+didYouMean(name, columns)+"allowed are "+
					strings.Join(columns, ", "))
			})
			if near := nearest(name, columns); near != "" && !slices.Contains(header, near) {
				header[i] = near
			}
		case slices.Contains(header[:i], name):
			t.cell(src, reader, i, "the column "+name+" is there twice")
		}
	}
	if !slices.Contains(header, "number") {
		t.cell(src, reader, 0, "there is no column number: the first line names the columns, as in number,name")
	}
	return header
}

// row takes one row in, if it is right.
func (t *enterpriseTable) row(src *source, reader *csv.Reader, record, header []string) {
	ok := slices.Contains(header, "number") // else it was reported with the first row
	var e Enterprise
	fail := func(column, message string) {
		if message != "" {
			t.cell(src, reader, min(slices.Index(header, column), len(record)-1), message)
			ok = false
		}
	}
	for i := range max(len(record), len(header)) {
		text := ""
		if i < len(record) {
			text = strings.TrimSpace(record[i])
		}
		switch {
		case i < len(header) && header[i] != "":
			fail(header[i], e.setCell(header[i], text))
		case text != "":
			t.cell(src, reader, i, "there is no column above this cell; put a name with a "+string(reader.Comma)+
				" in it into double quotes")
			return
		}
	}
	fail(t.wrong(&e))
	if ok {
		line, _ := reader.FieldPos(slices.Index(header, "number"))
		fail("number", t.add(&e, origin{src, line}))
	}
}

// setCell reads the text of a cell into the part of the enterprise that its column names. It
// keeps no part of the text, which is one with the whole row's.
func (e *Enterprise) setCell(column, text string) (message string) {
	var err error
	switch {
	case column == "number" && text == "":
		return "the number is missing"
	case column == "number" && scientific.MatchString(text):
		return quote(text) + " is a number in scientific notation, in which digits are lost: in Excel, format the " +
			"column as Text, enter the numbers again, and save"
	case column == "number":
		e.Number, err = parseNumber(text)
	case text == "":
	case column == "name":
		e.Name = strings.Clone(text)
	case column == "client":
		e.Client = unique.Make(text).Value() // one copy for all rows
	case column == "routes": // parted by blanks or "|"
		e.Routes = strings.FieldsFunc(unique.Make(text).Value(), func(r rune) bool { return r == ' ' || r == '|' })
		if len(e.Routes) == 0 {
			return quote(text) + " names no route: leave the cell empty for all of them"
		}
	case column == "from":
		e.From, err = parseDay(text)
	case column == "until":
		e.Until, err = parseLastDay(text)
	case column == "suspended":
		var known bool
		if e.Suspended, known = spreadsheetWords[strings.ToLower(text)]; !known {
			return quote(text) + " is neither true nor false: write one of them; a number in a suspended file is stopped " +
				"whatever stands here"
		}
	}
	if err != nil {
		return quote(text) + " " + err.Error()
	}
	return ""
}

// spreadsheetWords are what spreadsheets write here for true and false.
var spreadsheetWords = map[string]bool{
	"true": true, "yes": true, "1": true, "ja": true, "oui": true, "waar": true, "vrai": true,
	"false": false, "no": false, "0": false, "nee": false, "non": false, "onwaar": false, "faux": false,
}

// scientific is what spreadsheets make of a number that is too wide for its cell.
var scientific = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$`)

// cell reports a mistake in a cell of the row read last.
func (t *enterpriseTable) cell(src *source, reader *csv.Reader, i int, message string) {
	line, column := reader.FieldPos(i)
	t.k.m.add(src, line, src.characters(line, column), "", message)
}

// characters turns a column counted in bytes into one counted in characters.
func (s *source) characters(line, column int) int {
	s.split()
	if line < 1 || line > len(s.lines) || column < 1 {
		return 1
	}
	text := s.lines[line-1]
	return utf8.RuneCountInString(text[:min(column-1, len(text))]) + 1
}
