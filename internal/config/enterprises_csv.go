package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// columns of an enterprise file, in any order; number alone is needed.
var columns = []string{"number", "name", "client", "routes", "from", "until", "suspended"}

// csv reads an enterprise file of RFC 4180, with "," or ";" between the cells,
// as spreadsheets write it in different countries.
func (t *enterpriseTable) csv(src *source) {
	reader := csv.NewReader(bytes.NewReader(src.content))
	header, _, _ := bytes.Cut(src.content, []byte{'\n'})
	if bytes.Count(header, []byte{';'}) > bytes.Count(header, []byte{','}) {
		reader.Comma = ';'
	}
	reader.ReuseRecord = true
	record, err := reader.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			t.d.m.add(src, 1, 1, "", "the file is empty: a first line with the columns is expected, "+strings.Join(columns, ","))
			return
		}
		t.broken(src, err)
		return
	}
	order, ok := t.header(src, reader, record)
	if !ok {
		return
	}
	for wrong := 0; wrong <= maxMistakes; {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.broken(src, err)
			wrong++
			continue
		}
		if !t.row(src, reader, record, order) {
			wrong++
		}
	}
}

// header gives the place of each column in a row, -1 if it is not there.
func (t *enterpriseTable) header(src *source, reader *csv.Reader, record []string) (order [7]int, ok bool) {
	for i := range order {
		order[i] = -1
	}
	ok = true
	for i, cell := range record {
		name := strings.ToLower(strings.TrimSpace(cell))
		at := -1
		for j := range columns {
			if columns[j] == name {
				at = j
			}
		}
		switch {
		case at < 0:
			guess := ""
			if near := nearest(name, columns); near != "" {
				guess = "did you mean " + near + "? "
			}
			t.cell(src, reader, i, "unknown column "+quote(cell)+": "+guess+"allowed are "+strings.Join(columns, ", "))
			ok = false
		case order[at] >= 0:
			t.cell(src, reader, i, "the column "+name+" is there twice")
			ok = false
		default:
			order[at] = i
		}
	}
	if order[0] < 0 && ok {
		t.cell(src, reader, 0, "there is no column number")
		ok = false
	}
	return order, ok
}

// row takes one row in and tells whether it was right.
func (t *enterpriseTable) row(src *source, reader *csv.Reader, record []string, order [7]int) bool {
	cell := func(column int) string {
		if i := order[column]; i >= 0 {
			return strings.TrimSpace(record[i])
		}
		return ""
	}
	ok := true
	fail := func(column int, message string) {
		t.cell(src, reader, order[column], message)
		ok = false
	}
	var e Enterprise
	var err error
	if text := cell(0); text == "" {
		if strings.TrimSpace(strings.Join(record, "")) == "" {
			return true // the empty rows at the end of a spreadsheet
		}
		fail(0, "the number is missing")
	} else if e.Number, err = parseNumber(text); err != nil {
		fail(0, quote(text)+" "+err.Error())
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
		fail(6, quote(text)+" is neither true nor false: write one of them; a number in a suspended file is stopped whatever stands here")
	}
	if part, message := t.wrong(&e); message != "" {
		for i := range columns {
			if columns[i] == part {
				fail(i, message)
			}
		}
	}
	if ok {
		line, _ := reader.FieldPos(order[0])
		if message := t.add(&e, origin{src, line}); message != "" {
			fail(0, message)
		}
	}
	return ok
}

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
	message := "this is no CSV: " + where.Err.Error()
	if errors.Is(err, csv.ErrFieldCount) {
		message = "this row has more or fewer cells than the first line; put a name with a comma in it into double quotes"
	}
	t.d.m.add(src, where.Line, src.characters(where.Line, where.Column), "", message)
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
