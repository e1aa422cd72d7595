package config

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// source is the text of one file, for the excerpts in errors.
type source struct {
	name     string
	content  []byte
	order    int   // files are reported in the order in which they were read
	root     *node // nil for files that are not YAML
	unparsed bool  // YAML whose syntax is wrong, so that no node says where secrets are
	// secrets are nodes whose values are never shown.
	secrets map[*node]bool
	lines   []string // the text with secrets hidden; made when first needed
}

// mistake is an Error whose excerpt is not made yet.
type mistake struct {
	src          *source
	rank         rank
	line, column int
	path         string
	message      string
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
	list    []mistake
	rank    rank // of what is added now
	sources int  // how many files were read
}

// maxMistakes bounds what is printed of one file: one with the wrong delimiter would
// otherwise give an error for each of its lines.
const maxMistakes = 100

func (m *mistakes) add(src *source, line, column int, path, message string) {
	m.list = append(m.list, mistake{src, m.rank, line, column, path, message})
}

// as adds what do finds with another rank.
func (m *mistakes) as(r rank, do func()) {
	before := m.rank
	m.rank = r
	defer func() { m.rank = before }()
	do()
}

// errors gives everything collected, file by file, in the order of ranks and of the text,
// or nil.
func (m *mistakes) errors() error {
	if len(m.list) == 0 {
		return nil
	}
	slices.SortStableFunc(m.list, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.src.order, b.src.order), cmp.Compare(a.rank, b.rank), cmp.Compare(a.line, b.line),
			cmp.Compare(a.column, b.column))
	})
	var all Errors
	list, shown := slices.Compact(m.list), 0
	for i, one := range list {
		if shown++; shown <= maxMistakes {
			all = append(all, Error{
				File: one.src.name, Line: one.line, Column: one.column, Path: one.path, Message: one.message,
				Excerpt: one.src.excerpt(one.line),
			})
		}
		if i+1 < len(list) && list[i+1].src == one.src {
			continue
		}
		if shown > maxMistakes {
			all = append(all, Error{File: one.src.name,
				Message: fmt.Sprintf("and %d more mistakes; mend these first", shown-maxMistakes)})
		}
		shown = 0
	}
	return all
}

// position gives the line and column of a byte offset, both from 1.
func (s *source) position(offset int) (line, column int) {
	before := s.content[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte{'\n'}) + 1, utf8.RuneCount(before[start:]) + 1
}

// split parts the text into lines, in which no secret can be read.
func (s *source) split() {
	if s.lines == nil {
		s.lines = strings.Split(string(s.content), "\n")
		s.mask()
	}
}

const maxExcerpt = 160

// excerpt gives the line, counted from 1, as it may be shown.
func (s *source) excerpt(line int) string {
	s.split()
	if line < 1 || line > len(s.lines) {
		return ""
	}
	text := s.lines[line-1]
	if s.unparsed {
		if line > 1 && secretKey.MatchString(s.lines[line-2]) {
			return hidden // perhaps the rest of a value that began above
		}
		if at := secretKey.FindStringIndex(text); at != nil {
			text = text[:at[1]] + " " + hidden
		}
	}
	text = userInfo.ReplaceAllString(text, "://"+hidden+"@")
	text = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) > maxExcerpt {
		text = strings.ToValidUTF8(text[:maxExcerpt], "") + " …"
	}
	return text
}

var (
	// secretKey finds a key that names a secret by the look of it, also when
	// the key is misspelt or the text is no YAML at all.
	secretKey = regexp.MustCompile(`(?i)\b\w*(pass|pwd|secret)\w*["']?\s*[:=]`)
	// userInfo finds the credentials in a URL.
	userInfo = regexp.MustCompile(`://\S*@`)
)

// hide keeps the values in n out of every excerpt.
func (s *source) hide(n *node) {
	if s.secrets == nil {
		s.secrets = make(map[*node]bool)
	}
	s.secrets[n] = true
}

// mask cuts the secrets out of the lines, each together with all that stands between it and
// the next node, so that nothing hangs on how a value is quoted or folded.
func (s *source) mask() {
	if s.root == nil {
		return
	}
	type place struct {
		line, column int
		secret       bool
	}
	var places []place
	var visit func(n *node, secret bool)
	visit = func(n *node, secret bool) {
		secret = secret || s.secrets[n]
		places = append(places, place{n.Line, n.Column, secret && n.Kind == yaml.ScalarNode})
		for i, child := range n.Content {
			switch {
			case n.Kind != yaml.MappingNode:
				visit(child, secret)
			case i%2 == 0:
				visit(child, false) // a key
			default:
				visit(child, secret || child.Kind != yaml.MappingNode && namesSecret(n.Content[i-1].Value))
			}
		}
	}
	visit(s.root, false)
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	next := place{line: len(s.lines) + 1}
	for _, p := range slices.Backward(places) { // so that the columns before it stay as they are
		if p.secret && p.line >= 1 && p.line <= len(s.lines) {
			s.hideBetween(p.line, p.column, next.line, next.column)
		}
		next = p
	}
}

// hideBetween takes a secret that begins at one place out of the lines, up to the next.
func (s *source) hideBetween(line, column, nextLine, nextColumn int) {
	before, _ := cutAt(s.lines[line-1], column)
	if line == nextLine {
		_, rest := cutAt(s.lines[line-1], nextColumn)
		s.lines[line-1] = before + hidden + ", " + rest
		return
	}
	s.lines[line-1] = before + hidden
	for i := line; i < min(nextLine-1, len(s.lines)); i++ {
		s.lines[i] = hidden
	}
	if nextLine > len(s.lines) {
		return
	}
	if end, rest := cutAt(s.lines[nextLine-1], nextColumn); strings.Trim(end, " -") != "" {
		s.lines[nextLine-1] = rest // the secret ended on this line
	}
}

// namesSecret tells a key that names a secret by the look of it, also when it is misspelt.
func namesSecret(key string) bool {
	key = strings.ToLower(key)
	return !strings.HasSuffix(key, "file") &&
		(strings.Contains(key, "pass") || strings.Contains(key, "pwd") || strings.Contains(key, "secret"))
}

// cutAt parts a line before a column, counted in characters from 1.
func cutAt(line string, column int) (before, after string) {
	runes := []rune(line)
	at := max(0, min(column-1, len(runes)))
	return string(runes[:at]), string(runes[at:])
}
