// Package jsonscan walks JSON texts (RFC 8259) that are known to be valid, and takes
// them apart without changing or copying a byte. Check and Read are where a text from
// elsewhere becomes one that is known to be valid.
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
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i += textEnd(b[i:]); depth == 0 {
				return i
			}
			i--
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // behind a number or a word
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b) // a number or a word
}

// textEnd gives the length of the string that b begins with.
func textEnd(b []byte) int {
	for i := 1; ; i++ {
		switch {
		case plain[b[i]]: // as most are
		case b[i] == '\\':
			i++
		default:
			return i + 1
		}
	}
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
			n := textEnd(value[i:])
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
	const between = ", \t\r\n"
	name, whole := []byte(key), true
	var kept []byte
	for m := range Members(object) {
		switch is := bytes.EqualFold(m.Key, name); {
		case is && whole: // all in front of it is kept
			whole = false
			kept = append(make([]byte, 0, len(object)), bytes.Trim(object[1:m.Start], between)...)
		case !is && !whole:
			if len(kept) > 0 {
				kept = append(kept, ',')
			}
			kept = append(kept, object[m.Start:m.End]...)
		}
	}
	if whole {
		return bytes.Trim(object[1:len(object)-1], between)
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
