package wire

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"
)

// SyntaxError is a message that is not HTTP/1.1, or that different recipients would read differently. Its text is
// constant: nothing of the message is in it.
type SyntaxError struct {
	text  string
	large bool
}

func (e *SyntaxError) Error() string { return e.text }

// TooLarge reports whether the message was refused for the size of its head or trailer section alone.
func (e *SyntaxError) TooLarge() bool { return e.large }

var (
	errHeadSize   = &SyntaxError{"the head is too large", true}
	errLineSize   = &SyntaxError{"a line of the head is too long", true}
	errFieldCount = &SyntaxError{"the head has too many fields", true}
	errFieldName  = &SyntaxError{text: "malformed field name"}
	errFieldValue = &SyntaxError{text: "a field value holds a control character"}
	errNoColon    = &SyntaxError{text: "a field line has no colon"}
	errBlank      = &SyntaxError{text: "there is a blank between a field name and its colon"}
	errFold       = &SyntaxError{text: "a field value is folded"}
	errFirstFold  = &SyntaxError{text: "the first field line begins with a blank"}
	errStartLine  = &SyntaxError{text: "malformed start line"}

	// ErrStartSize is a start line that is too long. Servers answer 414.
	ErrStartSize error = &SyntaxError{"the start line is too long", true}
)

// Classes of bytes.
const (
	tokenByte = 1 << iota // RFC 9110, section 5.6.2
	valueByte             // RFC 9110, section 5.5: visible, blank, tab or above ASCII
)

var classes = func() (c [256]uint8) {
	for b := range 256 {
		if b >= ' ' && b != 0x7f || b == '\t' {
			c[b] |= valueByte
		}
		if b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' && b < 0x80 ||
			b > ' ' && b < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", byte(b)) >= 0 {
			c[b] |= tokenByte
		}
	}
	return c
}()

// IsToken reports whether s can be a field name or a method.
func IsToken(s string) bool { return s != "" && all(s, tokenByte) }

// IsValue reports whether s can be a field value: no control character but the tab.
func IsValue(s string) bool { return all(s, valueByte) }

// all reports whether all bytes of s are of a class.
func all(s string, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// equalFold compares in ASCII alone: strings.EqualFold takes U+212A for a "k". b is in lower case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		c := a[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

func trimBlanks(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// Limits are those of a message's head, and how strictly it is read.
type Limits struct {
	Bytes  int // of the whole head
	Line   int // of one line
	Fields int
	// Request is set by servers. RFC 9112 has them refuse what it lets a proxy repair in an answer: blanks before a
	// colon (section 5.1) and folded values (section 5.2). It also skips empty lines before the start line
	// (section 2.2), which before an answer are somebody else's bytes.
	Request bool
}

// parseFields reads field lines, each with its line end, into h. The strings in h are parts of text. A line may end in
// a bare LF, as RFC 9112, section 2.2, allows and net/http does; a CR anywhere else is a control character.
func parseFields(text string, h http.Header, l Limits) error {
	count := strings.Count(text, "\n")
	if count-1 > l.Fields { // without the empty line
		return errFieldCount
	}
	values := make([]string, 0, count) // one array for the single values of all fields
	last := ""
	for first := true; text != ""; first = false {
		end := strings.IndexByte(text, '\n')
		line := text[:end]
		text = text[end+1:]
		if end > l.Line {
			return errLineSize
		}
		if end > 0 && line[end-1] == '\r' {
			line = line[:end-1]
		}
		if line == "" {
			continue // the line that ends the section
		}
		if line[0] == ' ' || line[0] == '\t' {
			switch {
			case l.Request:
				return errFold
			case first:
				return errFirstFold
			case !IsValue(line):
				return errFieldValue
			}
			folded := h[last]
			folded[len(folded)-1] = trimBlanks(folded[len(folded)-1] + " " + trimBlanks(line))
			continue
		}
		colon := 0
		for colon < len(line) && classes[line[colon]]&tokenByte != 0 {
			colon++
		}
		name := line[:colon]
		for colon < len(line) && (line[colon] == ' ' || line[colon] == '\t') {
			if l.Request {
				return errBlank
			}
			colon++
		}
		switch {
		case colon == len(line):
			return errNoColon
		case line[colon] != ':' || name == "":
			return errFieldName
		}
		value := trimBlanks(line[colon+1:])
		if !IsValue(value) {
			return errFieldValue
		}
		last = textproto.CanonicalMIMEHeaderKey(name)
		if before, ok := h[last]; ok {
			h[last] = append(before, value)
			continue
		}
		values = append(values, value)
		h[last] = values[len(values)-1 : len(values) : len(values)]
	}
	return nil
}

// AppendField appends a field line. It refuses a name or value that would be read as something else.
func AppendField(b []byte, name, value string) ([]byte, error) {
	if !IsToken(name) {
		return b, errFieldName
	}
	if !IsValue(value) {
		return b, errFieldValue
	}
	return appendField(b, name, value), nil
}

// appendField is for names and values that are known to be right.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, trimBlanks(value)...)
	return append(b, "\r\n"...)
}

// Elements gives the elements of a field that is a list of tokens, over all its lines and without empty ones (RFC
// 9110, section 5.6.1). Each comma parts, within quotes too: they have no place in such a field, and hide nothing.
func Elements(values []string) iter.Seq[string] { return list(values, false) }

// Members is Elements for lists whose members may hold quoted strings, in which a comma does not part. A quote that is
// not closed is none, so that it hides nothing that follows.
func Members(values []string) iter.Seq[string] { return list(values, true) }

func list(values []string, quotes bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range values {
			quotes, start := quotes, 0
			for i := 0; i <= len(v); i++ {
				switch {
				case i == len(v), v[i] == ',':
					if element := trimBlanks(v[start:i]); element != "" && !yield(element) {
						return
					}
					start = i + 1
				case v[i] == '"' && quotes:
					n := quotedLength(v[i:])
					quotes = n > 0
					i += max(n-1, 0)
				}
			}
		}
	}
}

// quotedLength is the length of the quoted string that s begins with, 0 if it is not closed.
func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return 0
}

// HasToken reports whether one of the elements of a field's values is token, which is in lower case, in any case.
// Parameters of an element do not count: "a;q=1" is not "a".
func HasToken(values []string, token string) bool {
	for element := range Elements(values) {
		if equalFold(element, token) {
			return true
		}
	}
	return false
}

// Announced gives the names in a Trailer field that may be in a trailer section, without values.
func Announced(values []string) http.Header {
	h := make(http.Header)
	for name := range Elements(values) {
		if name = http.CanonicalHeaderKey(name); IsToken(name) && MayTrail(name) {
			h[name] = nil
		}
	}
	return h
}
