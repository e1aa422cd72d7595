package config

import (
	"bytes"
	"slices"
	"strings"

	"ebox-gateway/internal/enterprise"
)

// plainRow is an enterprise read by the fast reader, and its line.
type plainRow struct {
	Enterprise
	line int
}

// plainRows reads the YAML that programs write when they write a hundred
// thousand enterprises: one flow mapping a line, or one key a line, with scalars
// that mean in YAML what they look like. It is a fifth of the time of the full
// reader and understands nothing else: at anything unusual, or wrong, it gives
// up, and the full reader decides. TestPlainRowsAgree and FuzzPlainRows hold the
// two together.
func (t *enterpriseTable) plainRows(src *source) (rows []plainRow, ok bool) {
	if !plainText(src.content) {
		return nil, false
	}
	rows = make([]plainRow, 0, bytes.Count(src.content, []byte("\n"))/2)
	var (
		row    plainRow
		seen   uint8 // which keys of the row were given
		depth  = -1  // indentation of the items
		block  bool  // within an item of one key a line
		within bool  // below enterprises:
		inList = -1  // indentation of the routes, if they stand one a line; 0 before the first
	)
	finish := func() bool {
		if !block {
			return true
		}
		block = false
		rows = append(rows, row)
		return seen&1 != 0 && inList != 0
	}
	line := 0
	for text := range strings.Lines(string(src.content)) {
		line++
		text = strings.TrimRight(withoutComment(text), " \r\n")
		body := strings.TrimLeft(text, " ")
		if body == "" || body[0] == '#' {
			continue
		}
		space := len(text) - len(body)
		if depth < 0 && !within && text == "enterprises:" {
			within = true
			continue
		}
		rest, item := strings.CutPrefix(body, "- ")
		if item && (depth < 0 || space == depth) {
			if depth < 0 && space > 0 && !within {
				return nil, false
			}
			depth = space
			if !finish() {
				return nil, false
			}
			row, seen, inList = plainRow{line: line}, 0, -1
			if inner, flow := strings.CutPrefix(rest, "{"); flow {
				inner, flow = strings.CutSuffix(inner, "}")
				if !flow || !t.flow(inner, &row.Enterprise, &seen) || seen&1 == 0 {
					return nil, false
				}
				rows = append(rows, row)
				continue
			}
			block = true
			body = rest
		} else if item && block && inList >= 0 && space >= depth+2 && (inList == 0 || inList == space) {
			inList = space
			name, plain := plainScalar(rest)
			if !plain {
				return nil, false
			}
			row.Routes = append(row.Routes, t.word(name))
			continue
		} else if !block || space != depth+2 || inList == 0 {
			return nil, false
		}
		inList = -1
		if body == "routes:" && seen&routesSeen == 0 {
			seen |= routesSeen
			inList = 0
			continue
		}
		key, value, found := strings.Cut(body, ": ")
		if !found || !t.set(&row.Enterprise, &seen, key, strings.TrimLeft(value, " ")) {
			return nil, false
		}
	}
	return rows, finish() && len(rows) > 0
}

// routesSeen is the bit of routes among the keys that were given.
const routesSeen = 1 << 3

// plainText refuses what YAML treats specially wherever it stands: lone carriage
// returns, tabs, other line breaks of Unicode, control characters.
func plainText(content []byte) bool {
	for i, c := range content {
		switch {
		case c >= ' ' && c < 0x7f || c == '\n':
		case c == '\r':
			if i+1 == len(content) || content[i+1] != '\n' {
				return false
			}
		case c < 0x80 || c == 0xef:
			return false
		case c == 0xc2 && content[i+1] < 0xa0, c == 0xe2 && content[i+1] == 0x80:
			return false // valid UTF-8 was checked, so there is a next byte
		}
	}
	return true
}

// withoutComment cuts a comment off a line that has no quotes; with quotes, what
// looks like one may be part of a value.
func withoutComment(line string) string {
	i := strings.Index(line, " #")
	if i < 0 || strings.ContainsAny(line[:i], `"'`) {
		return line
	}
	return line[:i]
}

// flow reads the inside of {…} on one line.
func (t *enterpriseTable) flow(inner string, e *Enterprise, seen *uint8) bool {
	for inner != "" {
		key, rest, found := strings.Cut(strings.TrimLeft(inner, " "), ": ")
		if !found {
			return false
		}
		rest = strings.TrimLeft(rest, " ")
		end := 0
		if rest != "" {
			switch rest[0] {
			case '[':
				end = strings.IndexByte(rest, ']') + 1
			case '{':
				end = strings.IndexByte(rest, '}') + 1
			case '"', '\'':
				end = strings.IndexByte(rest[1:], rest[0]) + 2
				if end == 1 {
					return false
				}
			}
		}
		comma := strings.IndexByte(rest[end:], ',')
		value := rest
		if comma >= 0 {
			value, inner = rest[:end+comma], rest[end+comma+1:]
			if inner == "" {
				return false
			}
		} else {
			inner = ""
		}
		if !t.set(e, seen, key, strings.TrimRight(value, " ")) {
			return false
		}
	}
	return true
}

// set takes one key of a row in, if it is plain and right.
func (t *enterpriseTable) set(e *Enterprise, seen *uint8, key, value string) bool {
	if key == "rate" {
		const bit = 1 << 7
		given := *seen&bit != 0
		*seen |= bit
		return !given && plainRate(e, value)
	}
	at := slices.Index(columns, key)
	if at < 0 || *seen&(1<<at) != 0 {
		return false
	}
	*seen |= 1 << at
	if columns[at] == "routes" {
		return t.plainRoutes(e, value)
	}
	text, plain := plainScalar(value)
	if !plain {
		return false
	}
	var err error
	switch columns[at] {
	case "number":
		e.Number, err = enterprise.Parse(text)
	case "name":
		e.Name = strings.Clone(text)
	case "client":
		e.Client = t.word(text)
	case "from":
		e.From, err = t.day(text, false)
	case "until":
		e.Until, err = t.day(text, true)
	case "suspended":
		e.Suspended, err = parseBool(text)
	}
	return err == nil
}

// plainRate reads {perSecond: 20, burst: 40} and {perSecond: 20}.
func plainRate(e *Enterprise, value string) bool {
	inner, open := strings.CutPrefix(value, "{perSecond: ")
	inner, closed := strings.CutSuffix(inner, "}")
	perSecond, burst, both := strings.Cut(inner, ", burst: ")
	if !open || !closed || strings.Trim(perSecond+burst, "0123456789.") != "" {
		return false
	}
	var r Rate
	var err error
	if r.PerSecond, err = parseFloat(perSecond); err != nil {
		return false
	}
	if both {
		if r.Burst, err = parseInt(burst); err != nil {
			return false
		}
	}
	e.Rate = &r
	return r.complete(both) == ""
}

func (t *enterpriseTable) plainRoutes(e *Enterprise, value string) bool {
	if kept, ok := t.routes["["+value]; ok {
		e.Routes = kept
		return true
	}
	inner, open := strings.CutPrefix(value, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !open || !closed {
		return false
	}
	var list []string
	for _, item := range strings.Split(inner, ",") {
		text, plain := plainScalar(strings.Trim(item, " "))
		if !plain {
			return false
		}
		list = append(list, strings.Clone(text))
	}
	t.routes["["+strings.Clone(value)] = list
	e.Routes = list
	return true
}

// plainScalar reads a scalar that is what it looks like: words of letters,
// digits and a few signs that mean nothing to YAML, or anything but escapes in
// quotes.
func plainScalar(value string) (string, bool) {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') {
		q := value[0]
		inner := value[1 : len(value)-1]
		return inner, value[len(value)-1] == q && inner != "" && strings.TrimSpace(inner) == inner &&
			strings.IndexByte(inner, q) < 0 && strings.IndexByte(inner, '\\') < 0 && !strings.Contains(inner, "${")
	}
	if value == "" || !isLetter(value[0]) && !isDigit(value[0]) && value[0] < 0x80 {
		return "", false
	}
	for _, c := range []byte(value) {
		if !isLetter(c) && !isDigit(c) && c < 0x80 && strings.IndexByte(" .-_/&()+", c) < 0 {
			return "", false
		}
	}
	return value, !strings.EqualFold(value, "null")
}
