package jsonscan

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestName is how many letters a name may have that Letters gives.
const longestName = 64

// Name is room for the letters of a name.
type Name [longestName]byte

// What Letters does with a byte of ASCII: nothing but these is a letter or a digit.
const (
	passedOver = 0
	parts      = 1
)

var ascii = func() (is [utf8.RuneSelf]byte) {
	for c := range is {
		switch c := byte(c); {
		case isDigit(c), c >= 'a' && c <= 'z':
			is[c] = c
		case c >= 'A' && c <= 'Z':
			is[c] = c | 0x20
		case c == '.', c == '[', c == ']', c == '/', c == ':':
			is[c] = parts
		}
	}
	return is
}()

// Letters gives the letters and digits of a name as some server may read it: in small
// letters of ASCII, folded from every letter whose upper or lower case is one of those, such
// as the long s and the dotless i. What stands between the letters is passed over. It gives
// nothing for a name with another letter, with more than 64, or with one of the signs that
// part segments: a dot, a colon, a slash, brackets.
func Letters(name []byte, room *Name) []byte {
	n := 0
	for i := 0; i < len(name); {
		var letter byte
		if c := name[i]; c < utf8.RuneSelf {
			i++
			if letter = ascii[c]; letter == passedOver {
				continue
			}
		} else {
			r, size := utf8.DecodeRune(name[i:])
			i += size
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				continue
			}
			if r = unicode.ToLower(unicode.ToUpper(r)); r < utf8.RuneSelf {
				letter = byte(r)
			} else {
				letter = parts
			}
		}
		if letter == parts || n == len(room) {
			return nil
		}
		room[n] = letter
		n++
	}
	return room[:n]
}

// Segments gives the parts of a dotted or bracketed name, such as filter[eboxId].value. For some servers a name
// ends at a NUL.
func Segments(name string) iter.Seq[string] {
	return strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(".[]/:\x00", r) })
}
