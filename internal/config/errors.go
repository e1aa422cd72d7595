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

// nearest gives the candidate that was probably meant, or "": at most a third
// of the letters may differ, a transposition counting once and case not at all.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", len(word)/3+1
	for _, c := range candidates {
		if n := distance(strings.ToLower(word), strings.ToLower(c)); n < least {
			best, least = c, n
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differs := 1
			if a[i-1] == b[j-1] {
				differs = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differs)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}

// quote shows a value of the file in a message: in quotes, shortened, without
// the credentials of a URL.
func quote(s string) string {
	return strconv.Quote(problem.Clip(userInfo.ReplaceAllString(s, "://"+hidden+"@")))
}
