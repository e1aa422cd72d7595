package config

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strconv"
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
	starts  []int    // where its lines begin; made when first needed
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
	list []mistake
	// rank is that of what is added now.
	rank rank
	// more counts, by file, what was not kept.
	more map[*source]int
	kept map[*source]int
}

// maxMistakes bounds what is printed of one file: one with the wrong delimiter would
// otherwise give an error for each of its lines.
const maxMistakes = 100

// maxKept bounds what is kept of one file, to be sorted.
const maxKept = 100 * maxMistakes

func (m *mistakes) add(src *source, line, column int, path, message string) {
	if m.kept[src] == maxKept {
		if m.more == nil {
			m.more = make(map[*source]int)
		}
		m.more[src]++
		return
	}
	if m.kept == nil {
		m.kept = make(map[*source]int)
	}
	m.kept[src]++
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
	m.list = slices.Compact(m.list)
	var all Errors
	for i, one := range m.list {
		if i == 0 || m.list[i-1].src != one.src {
			all = append(all, m.errorsOf(m.list[i:])...)
		}
	}
	return all
}

// errorsOf gives the mistakes of the file that list begins with.
func (m *mistakes) errorsOf(list []mistake) (all Errors) {
	src, more := list[0].src, m.more[list[0].src]
	for _, one := range list {
		switch {
		case one.src != src:
		case len(all) == maxMistakes:
			more++
		default:
			all = append(all, Error{
				File: src.name, Line: one.line, Column: one.column, Path: one.path, Message: one.message,
				Excerpt: src.excerpt(one.line),
			})
		}
	}
	if more > 0 {
		all = append(all, Error{File: src.name, Message: "and " + thousands(more) + " more mistakes; mend these first"})
	}
	return all
}

// thousands writes a number as people read it, 1,900.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// position gives the line and column of a byte offset, both from 1.
func (s *source) position(offset int) (line, column int) {
	before := s.content[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte{'\n'}) + 1, utf8.RuneCount(before[start:]) + 1
}

const maxExcerpt = 160

// excerpt gives the line, counted from 1, as it may be shown.
func (s *source) excerpt(line int) string {
	if s.lines == nil {
		s.lines = strings.Split(string(s.masked()), "\n")
	}
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

// masked is the text without its secrets. Each is replaced together with all that stands
// between it and the next node, so that nothing hangs on how a value is quoted or folded.
func (s *source) masked() []byte {
	if s.root == nil {
		return s.content
	}
	type place struct {
		from   int
		secret bool
		closes string // what ends the flow collections around it, the innermost first
	}
	var places []place
	starts := lineStarts(s.content)
	var visit func(n *node, secret bool, closes string)
	visit = func(n *node, secret bool, closes string) {
		secret = secret || s.secrets[n]
		if n.Line >= 1 && n.Line <= len(starts) {
			begin := offsetOf(s.content, starts[n.Line-1], n.Column)
			places = append(places, place{begin, secret && n.Kind == scalarNode, closes})
		}
		switch {
		case n.Style&yaml.FlowStyle == 0:
		case n.Kind == mappingNode:
			closes = "}" + closes
		case n.Kind == sequenceNode:
			closes = "]" + closes
		}
		for i, child := range n.Content {
			switch {
			case n.Kind != mappingNode:
				visit(child, secret, closes)
			case i%2 == 0:
				visit(child, false, closes) // a key
			default:
				visit(child, secret || child.Kind != mappingNode && namesSecret(n.Content[i-1].Value), closes)
			}
		}
	}
	visit(s.root, false, "")
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for i, p := range places {
		if !p.secret || p.from < at {
			continue
		}
		out = append(append(out, s.content[at:p.from]...), hidden...)
		next := place{from: len(s.content)}
		for _, other := range places[i+1:] {
			if other.from > p.from {
				next = other
				break
			}
		}
		at = next.from
		out = append(out, strings.TrimSuffix(p.closes, next.closes)...)
		lines := bytes.Count(s.content[p.from:at], []byte{'\n'}) // which keep their numbers
		if lines == 0 && at < len(s.content) {
			out = append(out, ", "...)
		}
		out = append(out, bytes.Repeat([]byte{'\n'}, lines)...)
	}
	return append(out, s.content[at:]...)
}

// namesSecret tells a key that names a secret by the look of it, also when it is misspelt.
func namesSecret(key string) bool {
	key = strings.ToLower(key)
	return !strings.HasSuffix(key, "file") &&
		(strings.Contains(key, "pass") || strings.Contains(key, "pwd") || strings.Contains(key, "secret"))
}

func lineStarts(content []byte) []int {
	starts := []int{0}
	for i, c := range content {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// offsetOf finds the byte of a column, counted in characters from 1.
func offsetOf(content []byte, start, column int) int {
	at := start
	for ; column > 1 && at < len(content); column-- {
		_, size := utf8.DecodeRune(content[at:])
		at += size
	}
	return at
}
