// Package jsonscan walks JSON texts (RFC 8259) that are known to be valid, and takes
// them apart without changing or copying a byte. Check and Read are where a text from
// elsewhere becomes one that is known to be valid, and Stream where its values do while it
// comes.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

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
		quoted = quoted[i:]
		first := unit(quoted)
		if !utf16.IsSurrogate(first) {
			quoted = quoted[len(`\"`):] // what else an escape has are plain signs
			continue
		}
		if utf16.DecodeRune(first, unit(quoted[len(`\ud83d`):])) == utf8.RuneError {
			return false
		}
		quoted = quoted[len(`\ud83d\ude00`):]
	}
}

// unit gives the code unit of UTF-16 that an escape at the beginning of b stands for; 0 if there is none.
func unit(b []byte) rune {
	if len(b) < len(`\ud83d`) || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(b[2:6]), 16, 16) // valid, as the whole is; 0 for what is another escape
	return rune(n)
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
