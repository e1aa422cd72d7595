// Package jsonscan walks JSON texts (RFC 8259) that are known to be valid, and takes
// them apart without changing or copying a byte. Check and Read are where a text from
// elsewhere becomes one that is known to be valid, and Stream where its values do while it
// comes.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// pointer appends a key to a JSON pointer. Of a long key it takes the beginning.
func pointer(at, key string) string {
	const most = 64
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	if strings.ContainsAny(key, "~/") {
		key = escapes.Replace(key)
	}
	return at + "/" + key
}

// escapes are those of a JSON pointer (RFC 6901, section 3).
var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// blanks returns b without the white space in front.
func blanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// valueEnd gives the length of the value that b begins with.
func valueEnd(b []byte) int {
	var scan valueScan
	if n, whole := scan.end(b); whole {
		return n
	}
	return len(b) // a number or a word
}

// valueScan looks for the end of a value in a text that may grow.
type valueScan struct {
	i, depth     int
	text, escape bool // within a string, behind its backslash
}

// end gives the length of the value that b begins with, as far as it was looked through; whole
// is false if it may go on behind b. A value that is not valid may end anywhere.
func (v *valueScan) end(b []byte) (n int, whole bool) {
	for ; v.i < len(b); v.i++ {
		c := b[v.i]
		if v.text {
			if plain[c] && !v.escape { // as most are
				continue
			}
			switch {
			case v.escape:
				v.escape = false
			case c == '\\':
				v.escape = true
			case c == '"':
				if v.text = false; v.depth == 0 {
					return v.i + 1, true
				}
			}
			continue
		}
		switch c {
		case '"':
			v.text = true
		case '{', '[':
			v.depth++
		case '}', ']':
			if v.depth == 0 { // behind a number or a word
				return v.i, true
			}
			if v.depth--; v.depth == 0 {
				return v.i + 1, true
			}
		case ',', ' ', '\t', '\r', '\n':
			if v.depth == 0 {
				return v.i, true
			}
		}
	}
	return 0, false
}

// Member is one member of an object: its key without escapes, its value as written,
// and where it stands, from its key to the end of its value.
type Member struct {
	Key, Value []byte
	Start, End int
}

// Members gives the members of an object.
func Members(object []byte) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		at := func(rest []byte) int { return len(object) - len(rest) }
		for rest := blanks(object[1:]); rest[0] != '}'; {
			m := Member{Start: at(rest)}
			n := valueEnd(rest)
			m.Key = inside(rest[:n])
			rest = blanks(blanks(rest[n:])[1:])
			n = valueEnd(rest)
			m.Value, rest = rest[:n], rest[n:]
			m.End = at(rest)
			if !yield(m) {
				return
			}
			if rest = blanks(rest); rest[0] == ',' {
				rest = blanks(rest[1:])
			}
		}
	}
}

// Elements gives the elements of an array.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := blanks(array[1:]); rest[0] != ']'; {
			n := valueEnd(rest)
			if !yield(rest[:n]) {
				return
			}
			if rest = blanks(rest[n:]); rest[0] == ',' {
				rest = blanks(rest[1:])
			}
		}
	}
}

// Deepest is how many objects and arrays of what a provider says may stand in one
// another: the API's messages have six, and common readers give up at 64.
const Deepest = 32

// Readable reports whether every reader of JSON takes a value: one that does not would
// refuse the whole answer for it, the messages of the others included. It may not be
// nested too deep, nor hold half of a surrogate pair (RFC 8259, sections 8.2 and 9).
func Readable(value []byte) bool {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			n := valueEnd(value[i:])
			if !isText(value[i : i+n]) {
				return false
			}
			i += n - 1
		case '{', '[':
			if depth++; depth > Deepest {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// isText reports whether the escapes of a string are whole characters.
func isText(quoted []byte) bool {
	for {
		i := bytes.IndexByte(quoted, '\\')
		if i < 0 {
			return true
		}
		escape := quoted[i:]
		if escape[1] != 'u' {
			quoted = escape[2:]
			continue
		}
		switch half(escape) {
		case 'h':
			if half(escape[6:]) != 'l' {
				return false
			}
			escape = escape[6:]
		case 'l':
			return false
		}
		quoted = escape[6:]
	}
}

// half says which half of a surrogate pair b begins with, the high ('h') or the low ('l');
// 0 if neither.
func half(b []byte) byte {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' || b[2]|0x20 != 'd' {
		return 0
	}
	switch c := b[3] | 0x20; {
	case c == '8' || c == '9' || c == 'a' || c == 'b':
		return 'h'
	case c >= 'c' && c <= 'f':
		return 'l'
	}
	return 0
}

// inside gives what a string means, without its escapes.
func inside(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // valid, as the whole is
	return []byte(s)
}

// Text gives what a string, with its quotes, means.
func Text(quoted []byte) string { return string(inside(quoted)) }

// Without gives the inside of an object but for its members of a name, in whatever case:
// what stands between its braces. It is empty if nothing is left. Many readers take
// ProviderId for providerId, and the last of them for the one that counts.
func Without(object []byte, key string) []byte {
	all := bytes.TrimRight(blanks(object[1:len(object)-1]), " \t\r\n")
	name, there := []byte(key), false
	for m := range Members(object) {
		there = there || bytes.EqualFold(m.Key, name)
	}
	if !there {
		return all
	}
	kept := make([]byte, 0, len(all))
	for m := range Members(object) {
		if bytes.EqualFold(m.Key, name) {
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, ',')
		}
		kept = append(kept, object[m.Start:m.End]...)
	}
	return kept
}

// Encoded is v as JSON, with nothing escaped that need not be. It is for what always can be
// encoded: texts, numbers, and JSON that was read.
func Encoded(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
