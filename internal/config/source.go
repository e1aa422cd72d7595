package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"golang.org/x/text/encoding/charmap"
	utf16 "golang.org/x/text/encoding/unicode"

	"ebox-gateway/internal/printable"
)

// source is the text of one file, for the excerpts in errors.
type source struct {
	name     string
	content  []byte
	order    int   // files are reported in the order in which they were read
	root     *node // nil for files that are not YAML
	unparsed bool  // YAML whose syntax is wrong, so that no node tells where secrets are
	// secrets are nodes whose values are never shown.
	secrets map[*node]bool
	lines   []string // the text with secrets hidden; made when first needed
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
	text = strings.TrimSpace(strings.ReplaceAll(text, "\t", " "))
	shown := printable.Text(text, maxExcerpt)
	if len(text) > maxExcerpt {
		shown += " …"
	}
	return shown
}

var (
	// secretKey finds a key that names a secret by the look of it, also when
	// the key is misspelt or the text is no YAML at all.
	secretKey = regexp.MustCompile(`(?i)\b\w*(pass\w*|pwd\w*|secret\w*|token|key)["']?\s*[:=]`)
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

// namesSecret reports whether a key seems to name a secret, even if it is misspelt or unknown: a
// token or key may stand where its file was meant.
func namesSecret(key string) bool {
	return secretKey.MatchString(key+":") && !strings.HasSuffix(strings.ToLower(key), "file") && key != "idempotencyKey"
}

// cutAt parts a line before a column, counted in characters from 1.
func cutAt(line string, column int) (before, after string) {
	runes := []rune(line)
	at := max(0, min(column-1, len(runes)))
	return string(runes[:at]), string(runes[at:])
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// inExcel is how a spreadsheet becomes a file that is read here.
const inExcel = "save it as UTF-8; in Excel: Save As, file type \"CSV UTF-8 (Comma delimited)\""

// textOf makes the source of a text file. One that is not UTF-8 is a mistake, and is read
// all the same as what it must be, so that whatever else is wrong in it is found too.
func textOf(name string, content []byte, m *mistakes) *source {
	src := &source{name: name, content: bytes.TrimPrefix(content, byteOrderMark), order: m.sources}
	m.sources++
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		if text, err := utf16.UTF16(utf16.LittleEndian, utf16.UseBOM).NewDecoder().Bytes(content); err == nil {
			src.content = text
		}
		m.add(src, 1, 1, "", "this is UTF-16 (\"Unicode Text\"), not UTF-8: "+inExcel)
		return src
	}
	if utf8.Valid(src.content) {
		return src
	}
	line, column := src.position(bytes.IndexRune(src.content, utf8.RuneError))
	if text, err := charmap.Windows1252.NewDecoder().Bytes(src.content); err == nil {
		src.content = text
	}
	m.add(src, line, column, "", "this is not UTF-8, but looks like Windows-1252 (cp1252, \"ANSI\"): "+inExcel)
	return src
}

// node is a piece of YAML, with its position.
type node = yaml.Node

// parseYAML reads the one document in content. Without a document the node is
// nil. A syntax error is reported to m.
func parseYAML(src *source, m *mistakes) *node {
	src.unparsed = true
	if i := strangeBreak(src.content); i >= 0 {
		line, column := src.position(i)
		m.add(src, line, column, "", "a NUL byte or a line break other than LF and CR LF: save the file as plain text")
		return nil
	}
	if at := tabs.FindIndex(src.content); at != nil {
		line, _ := src.position(at[0])
		m.add(src, line, 1, "", "a tab in the indentation: YAML takes blanks alone, two for each level")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(src.content))
	var documents [2]node
	for i := range documents {
		if err := decoder.Decode(&documents[i]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			addSyntax(src, m, err)
			return nil
		}
	}
	src.unparsed = false
	if second := &documents[1]; !second.IsZero() {
		m.add(src, second.Line, second.Column, "", "a second YAML document (---): put everything into one")
	}
	if len(documents[0].Content) == 0 {
		return nil
	}
	return documents[0].Content[0]
}

// strangeBreak finds what YAML takes for a line break and editors do not, or
// what no text has; -1 if there is none. With it, lines would be counted
// differently here and there, and an excerpt could show the wrong one.
func strangeBreak(content []byte) int {
	known := bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n\n")) // of the same length
	return bytes.IndexAny(known, "\x00\r\u0085\u2028\u2029")
}

// tabs finds a line whose indentation has a tab and which is no comment. Text in a block (|)
// may have tabs behind its blanks.
var tabs = regexp.MustCompile(`(?m)^ *\t[\t ]*[^\s#]`)

func addSyntax(src *source, m *mistakes, err error) {
	var several *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &several):
	case errors.As(err, &one):
		several = &yaml.LoadErrors{Errors: []*yaml.LoadError{one}}
	default:
		m.add(src, 0, 0, "", "this is not YAML: "+err.Error())
		return
	}
	for _, one := range several.Errors {
		m.add(src, one.Mark.Line, one.Mark.Column, "", "this is not YAML: "+one.Message)
	}
}

// isNull reports whether a key has no value, null or ~.
func isNull(n *node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
