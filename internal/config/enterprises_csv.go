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
)

// columns of an enterprise file, in any order; number alone is needed.
var columns = []string{"number", "name", "client", "routes", "from", "until", "suspended"}

// csv reads an enterprise file of RFC 4180, with "," or ";" between the cells, as
// spreadsheets write it in different countries: with empty columns and rows at the end,
// with rows that end before the last columns, with empty lines above the first row.
func (t *enterpriseTable) csv(src *source) {
	if at := bytes.IndexByte(src.content, 0); at >= 0 {
		line, column := src.position(at)
		t.d.m.add(src, line, column, "", "a NUL byte: this is no text")
		return
	}
	reader := csv.NewReader(bytes.NewReader(src.content))
	reader.Comma = delimiter(src.content)
	reader.ReuseRecord = true
	reader.FieldsPerRecord = -1
	var order *header
	for {
		record, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			if order == nil {
				t.d.m.add(src, 1, 1, "", "the file is empty: a first line with the columns is expected, "+
					strings.Join(columns, ","))
			}
			return
		case err != nil:
			t.broken(src, err)
		case blank(record) || order == nil && strings.HasPrefix(record[0], "sep="):
			// Rows of a spreadsheet in which nothing stands, and Excel's own first line.
		case order == nil:
			order = t.header(src, reader, record)
		default:
			t.row(src, reader, record, order)
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
	for _, cell := range record {
		if strings.TrimSpace(cell) != "" {
			return false
		}
	}
	return true
}

// header says where the columns of a file stand.
type header struct {
	at [7]int // of columns, -1 if it is not there
	// named says which cells of a row have a column, known or not.
	named []bool
}

// header reads the first row. A column that nobody knows is a mistake; if one can be meant
// by it, the rows are read as if it were that one, so that their mistakes show too.
func (t *enterpriseTable) header(src *source, reader *csv.Reader, record []string) *header {
	h := &header{named: make([]bool, len(record))}
	for i := range h.at {
		h.at[i] = -1
	}
	guessed := make(map[int]int)
	for i, cell := range record {
		name := strings.ToLower(strings.TrimSpace(cell))
		if name == "" {
			continue // whatever stands below it is a mistake there
		}
		h.named[i] = true
		at := slices.Index(columns, name)
		switch {
		case at < 0:
			guess := ""
			if near := nearest(name, columns); near != "" {
				guess = "did you mean " + near + "? "
				guessed[slices.Index(columns, near)] = i
			}
			t.d.m.as(unknownKey, func() {
				t.cell(src, reader, i, "unknown column "+quote(cell)+": "+guess+"allowed are "+strings.Join(columns, ", "))
			})
		case h.at[at] >= 0:
			t.cell(src, reader, i, "the column "+name+" is there twice")
		default:
			h.at[at] = i
		}
	}
	for at, i := range guessed {
		if h.at[at] < 0 {
			h.at[at] = i
		}
	}
	if h.at[0] < 0 {
		t.cell(src, reader, 0, "there is no column number")
	}
	return h
}

// row takes one row in, if it is right.
func (t *enterpriseTable) row(src *source, reader *csv.Reader, record []string, h *header) {
	cell := func(column int) string {
		if i := h.at[column]; i >= 0 && i < len(record) {
			return strings.TrimSpace(record[i])
		}
		return ""
	}
	ok := true
	fail := func(column int, message string) {
		at := h.at[column]
		t.cell(src, reader, max(0, min(at, len(record)-1)), message)
		ok = false
	}
	for i := range record {
		if strings.TrimSpace(record[i]) != "" && (i >= len(h.named) || !h.named[i]) {
			t.cell(src, reader, i, "there is no column above this cell; put a name with a "+string(reader.Comma)+
				" in it into double quotes")
			return
		}
	}
	var e Enterprise
	var err error
	switch text := cell(0); {
	case h.at[0] < 0: // reported with the first row
		ok = false
	case text == "":
		fail(0, "the number is missing")
	case scientific.MatchString(text):
		fail(0, quote(text)+" is a number in scientific notation, in which digits are lost: in Excel, format the column as "+
			"Text, enter the numbers again, and save")
	default:
		if e.Number, err = parseNumber(text); err != nil {
			fail(0, quote(text)+" "+err.Error())
		}
	}
	e.Name = strings.Clone(cell(1))
	e.Client = t.word(cell(2))
	e.Routes = t.routeCell(cell(3))
	if text := cell(4); text != "" {
		if e.From, err = t.day(text, false); err != nil {
			fail(4, quote(text)+" "+err.Error())
		}
	}
	if text := cell(5); text != "" {
		if e.Until, err = t.day(text, true); err != nil {
			fail(5, quote(text)+" "+err.Error())
		}
	}
	switch text := cell(6); strings.ToLower(text) {
	case "true", "yes", "1", "ja", "oui", "waar", "vrai": // as spreadsheets write it here
		e.Suspended = true
	case "false", "no", "0", "nee", "non", "onwaar", "faux", "":
	default:
		fail(6, quote(text)+" is neither true nor false: write one of them; a number in a suspended file is "+
			"stopped whatever stands here")
	}
	if part, message := t.wrong(&e); message != "" {
		for i := range columns {
			if columns[i] == part {
				fail(i, message)
			}
		}
	}
	if ok {
		line, _ := reader.FieldPos(h.at[0])
		if message := t.add(&e, origin{src, line}); message != "" {
			fail(0, message)
		}
	}
}

// scientific is what spreadsheets make of a number that is too wide for its cell.
var scientific = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$`)

// routeCell reads the routes of one cell, parted by blanks or "|".
func (t *enterpriseTable) routeCell(text string) []string {
	if text == "" {
		return nil
	}
	if kept, ok := t.routes[text]; ok {
		return kept
	}
	text = strings.Clone(text)
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '|' })
	t.routes[text] = list
	return list
}

// cell reports a mistake in a cell of the row read last.
func (t *enterpriseTable) cell(src *source, reader *csv.Reader, i int, message string) {
	line, column := reader.FieldPos(i)
	t.d.m.add(src, line, src.characters(line, column), "", message)
}

func (t *enterpriseTable) broken(src *source, err error) {
	var where *csv.ParseError
	if !errors.As(err, &where) {
		t.d.m.add(src, 0, 0, "", "this is no CSV: "+err.Error())
		return
	}
	t.d.m.add(src, where.Line, src.characters(where.Line, where.Column), "", "this is no CSV: "+where.Err.Error())
}

// characters turns a column counted in bytes into one counted in characters.
func (s *source) characters(line, column int) int {
	if s.starts == nil {
		s.starts = lineStarts(s.content)
	}
	if line < 1 || line > len(s.starts) || column < 1 {
		return 1
	}
	start := s.starts[line-1]
	return utf8.RuneCount(s.content[start:min(start+column-1, len(s.content))]) + 1
}
