package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ebox-gateway/internal/problem"
)

// Errors are all the mistakes found, in the order in which they stand.
type Errors []Error

// Error is one mistake and where it stands.
type Error struct {
	// File is the name of the file. Line and Column count from 1, the column in
	// characters; both are 0 if the mistake is about the file as a whole.
	File         string
	Line, Column int
	// Path is the path in the YAML, routes[2].upstream; empty in other files.
	Path string
	// Message says what is wrong and what is allowed.
	Message string
	// Excerpt is the offending line, with secrets hidden.
	Excerpt string

	src  *source // until the excerpt is made
	rank rank
}

// Error gives the mistake and, on a line of its own, the line it stands on.
func (e Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		text += ": " + e.Path
	}
	text += ": " + e.Message
	if e.Excerpt != "" {
		text += "\n    " + e.Excerpt
	}
	return text
}

// Error gives all mistakes, one after the other.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// rank orders the mistakes of a file before their position does: a key that is misspelt
// explains what is missing, and what does not fit together may follow from either.
type rank int

const (
	unknownKey rank = iota - 1
	wrongValue
	derived
)

// mistakes collects everything that is wrong.
type mistakes struct {
	list    Errors
	rank    rank // of what is added now
	sources int  // how many files were read
}

// maxMistakes bounds what is printed of one file: one with the wrong delimiter would
// otherwise give an error for each of its lines.
const maxMistakes = 100

func (m *mistakes) add(src *source, line, column int, path, message string) {
	m.list = append(m.list, Error{File: src.name, Line: line, Column: column, Path: path, Message: message, src: src,
		rank: m.rank})
}

// as adds what do finds with another rank.
func (m *mistakes) as(r rank, do func()) {
	before := m.rank
	m.rank = r
	defer func() { m.rank = before }()
	do()
}

// errors gives everything collected, file by file, in the order of ranks and of the text,
// or nil. Excerpts are made now, when it is known what is secret.
func (m *mistakes) errors() error {
	if len(m.list) == 0 {
		return nil
	}
	slices.SortStableFunc(m.list, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.src.order, b.src.order), cmp.Compare(a.rank, b.rank), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
	var all Errors
	list, shown := slices.Compact(m.list), 0
	for i, one := range list {
		src := one.src
		if shown++; shown <= maxMistakes {
			one.Excerpt, one.src = src.excerpt(one.Line), nil
			all = append(all, one)
		}
		if i+1 < len(list) && list[i+1].src == src {
			continue
		}
		if shown > maxMistakes {
			all = append(all, Error{File: src.name,
				Message: fmt.Sprintf("and %d more mistakes; mend these first", shown-maxMistakes)})
		}
		shown = 0
	}
	return all
}

// didYouMean is the question about what was probably meant, with a blank behind it, or "".
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return "did you mean " + near + "? "
	}
	return ""
}

// nearest gives the candidate that was probably meant, or "": at most a third of the letters may
// differ, and no more than three; case does not count.
func nearest(word string, candidates []string) string {
	for edits := range min(len(word)/3, 3) + 1 {
		for _, c := range candidates {
			if within(strings.ToLower(word), strings.ToLower(c), edits) {
				return c
			}
		}
	}
	return ""
}

// within reports whether b can be made of a by so many edits: a letter inserted, deleted, replaced
// or swapped with its neighbour.
func within(a, b string, edits int) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	switch {
	case a == "" || b == "":
		return len(a)+len(b) <= edits
	case edits == 0:
		return false
	case len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] && within(a[2:], b[2:], edits-1):
		return true
	}
	return within(a[1:], b, edits-1) || within(a, b[1:], edits-1) || within(a[1:], b[1:], edits-1)
}

// quote shows a value of the file in a message: in quotes, shortened, without
// the credentials of a URL.
func quote(s string) string {
	return strconv.Quote(problem.Clip(userInfo.ReplaceAllString(s, "://"+hidden+"@")))
}
