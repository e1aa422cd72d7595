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
)

// source is the text of one file, for the excerpts in errors.
type source struct {
	name     string
	content  []byte
	order    int   // files are reported in the order in which they were read
	root     *node // nil for files that are not YAML
	unparsed bool  // YAML whose syntax is wrong, so that no node says where secrets are
	// secrets are nodes whose values are never shown.
	secrets []*node
	starts  []int    // where its lines begin; made when first needed
	lines   []string // the text with secrets hidden; made when first needed
}

// mistake is an Error whose excerpt is not made yet.
type mistake struct {
	src          *source
	line, column int
	path         string
	message      string
}

// mistakes collects everything that is wrong.
type mistakes struct {
	list []mistake
}

// maxMistakes bounds what is printed: a file with the wrong delimiter would
// otherwise give an error for each of its lines.
const maxMistakes = 100

func (m *mistakes) add(src *source, line, column int, path, message string) {
	m.list = append(m.list, mistake{src, line, column, path, message})
}

// errors gives everything collected in the order of the text, or nil.
func (m *mistakes) errors() error {
	if len(m.list) == 0 {
		return nil
	}
	slices.SortStableFunc(m.list, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.src.order, b.src.order), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	m.list = slices.Compact(m.list)
	kept := m.list[:min(len(m.list), maxMistakes)]
	all := make(Errors, 0, len(kept)+1)
	for _, one := range kept {
		all = append(all, Error{
			File: one.src.name, Line: one.line, Column: one.column,
			Path: one.path, Message: one.message, Excerpt: one.src.excerpt(one.line),
		})
	}
	if more := len(m.list) - len(kept); more > 0 {
		all = append(all, Error{File: m.list[len(kept)].src.name, Message: fmt.Sprintf("and %d more mistakes; mend these first", more)})
	}
	return all
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

// masked is the text with the values of all secrets replaced.
func (s *source) masked() []byte {
	if s.root == nil {
		return s.content
	}
	hide := slices.Clone(s.secrets)
	walk(s.root, func(key, value *node) {
		name := strings.ToLower(key.Value)
		if (strings.Contains(name, "pass") || strings.Contains(name, "pwd") || strings.Contains(name, "secret")) &&
			!strings.HasSuffix(name, "file") && value.Kind != mappingNode {
			hide = append(hide, value)
		}
	})
	starts := lineStarts(s.content)
	type span struct{ from, to int }
	var spans []span
	for _, n := range hide {
		scalars(n, func(n *node) {
			if n.Line < 1 || n.Line > len(starts) {
				return
			}
			from := offsetOf(s.content, starts[n.Line-1], n.Column)
			spans = append(spans, span{from, endOf(s.content, from, n)})
		})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, sp := range spans {
		if sp.from < at { // the same node twice
			continue
		}
		out = append(out, s.content[at:sp.from]...)
		out = append(out, hidden...)
		// Lines keep their numbers.
		for range bytes.Count(s.content[sp.from:sp.to], []byte{'\n'}) {
			out = append(out, '\n')
		}
		at = sp.to
	}
	return append(out, s.content[at:]...)
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

// endOf finds where the text of a scalar that begins at from ends.
func endOf(content []byte, from int, n *node) int {
	switch {
	case n.Style&blockStyles != 0:
		// Everything up to the next line that is indented no deeper than the
		// line with the key.
		lineStart := bytes.LastIndexByte(content[:from], '\n') + 1
		depth := indent(content[lineStart:])
		at := from
		for {
			next := bytes.IndexByte(content[at:], '\n')
			if next < 0 {
				return len(content)
			}
			rest := content[at+next+1:]
			if line, _, _ := bytes.Cut(rest, []byte{'\n'}); len(bytes.TrimSpace(line)) > 0 && indent(rest) <= depth {
				return at + next
			}
			at += next + 1
		}
	case n.Style&doubleQuoted != 0:
		for at := from + 1; at < len(content); at++ {
			switch content[at] {
			case '\\':
				at++
			case '"':
				return at + 1
			}
		}
	case n.Style&singleQuoted != 0:
		for at := from + 1; at < len(content); at++ {
			if content[at] == '\'' {
				if at+1 < len(content) && content[at+1] == '\'' {
					at++
					continue
				}
				return at + 1
			}
		}
	default:
		// A plain scalar: its characters, however the blanks between are folded.
		at := from
		for _, r := range n.Value {
			if unicode.IsSpace(r) {
				continue
			}
			for at < len(content) && (content[at] == ' ' || content[at] == '\n' || content[at] == '\r' || content[at] == '\t') {
				at++
			}
			at += utf8.RuneLen(r)
		}
		return min(at, len(content))
	}
	return len(content)
}

func indent(line []byte) int {
	return len(line) - len(bytes.TrimLeft(line, " "))
}

// walk visits every key with its value, without following aliases.
func walk(n *node, visit func(key, value *node)) {
	if n.Kind == mappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			visit(n.Content[i], n.Content[i+1])
		}
	}
	for _, child := range n.Content {
		walk(child, visit)
	}
}

// scalars visits every scalar in n but the keys, without following aliases.
func scalars(n *node, visit func(*node)) {
	if n.Kind == scalarNode {
		visit(n)
	}
	for i, child := range n.Content {
		if n.Kind == sequenceNode || i%2 == 1 {
			scalars(child, visit)
		}
	}
}
