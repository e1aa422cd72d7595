package inbox

import (
	"bytes"
	"encoding/json"
)

// The functions of this file walk JSON texts (RFC 8259) that are known to be valid, and
// take them apart without changing or copying a byte.

// blanks returns b without the white space in front.
func blanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// stringEnd gives the length of the string that b begins with, its quotes included.
func stringEnd(b []byte) int {
	i := 1
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// valueEnd gives the length of the value that b begins with.
func valueEnd(b []byte) int {
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		depth := 0
		for i := 0; ; {
			switch b[i] {
			case '"':
				i += stringEnd(b[i:])
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	if end := bytes.IndexAny(b, " \t\r\n,]}"); end >= 0 {
		return end
	}
	return len(b)
}

// member is one member of an object: its key without escapes, its value as written,
// and where it stands, from its key to the end of its value.
type member struct {
	key, value []byte
	start, end int
}

// members calls yield for each member of the object, until it returns false.
func members(object []byte, yield func(member) bool) {
	at := func(rest []byte) int { return len(object) - len(rest) }
	for rest := blanks(object[1:]); rest[0] != '}'; {
		m := member{start: at(rest)}
		n := stringEnd(rest)
		m.key = inside(rest[:n])
		rest = blanks(blanks(rest[n:])[1:])
		n = valueEnd(rest)
		m.value, rest = rest[:n], rest[n:]
		m.end = at(rest)
		if !yield(m) {
			return
		}
		if rest = blanks(rest); rest[0] == ',' {
			rest = blanks(rest[1:])
		}
	}
}

// elements calls yield for each element of the array, until it returns false.
func elements(array []byte, yield func([]byte) bool) {
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

// deepest is how many objects and arrays of what a provider says may stand in one
// another: the API's messages have six, and common readers give up at 64.
const deepest = 32

// readable tells whether every reader of JSON takes a value: one that does not would
// refuse the whole answer for it, the messages of the others included. It may not be
// nested too deep, nor hold half of a surrogate pair (RFC 8259, sections 8.2 and 9).
func readable(value []byte) bool {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			n := stringEnd(value[i:])
			if !isText(value[i : i+n]) {
				return false
			}
			i += n - 1
		case '{', '[':
			if depth++; depth > deepest {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// isText tells whether the escapes of a string are whole characters.
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

// half tells the high ('h') and the low ('l') half of a surrogate pair at the beginning
// of b; 0 if there is neither.
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

func text(quoted []byte) string { return string(inside(quoted)) }

// without gives the inside of an object but for its members of a name, in whatever case:
// what stands between its braces. It is empty if nothing is left. Many readers take
// ProviderId for providerId, and the last of them for the one that counts.
func without(object []byte, key string) []byte {
	all := bytes.TrimRight(blanks(object[1:len(object)-1]), " \t\r\n")
	name, there := []byte(key), false
	members(object, func(m member) bool { there = bytes.EqualFold(m.key, name); return !there })
	if !there {
		return all
	}
	kept := make([]byte, 0, len(all))
	members(object, func(m member) bool {
		if !bytes.EqualFold(m.key, name) {
			if len(kept) > 0 {
				kept = append(kept, ',')
			}
			kept = append(kept, object[m.start:m.end]...)
		}
		return true
	})
	return kept
}

// named appends the object with the provider's id as its first member. id is quoted.
func named(b, object []byte, id []byte) []byte {
	b = append(b, `{"providerId":`...)
	b = append(b, id...)
	if rest := without(object, "providerId"); len(rest) > 0 {
		b = append(b, ',')
		b = append(b, rest...)
	}
	return append(b, '}')
}

// quoted is s as JSON, with nothing escaped that need not be.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
