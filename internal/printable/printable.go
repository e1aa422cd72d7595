// Package printable makes what callers and upstreams wrote fit for logs, records, pages
// and terminals. It is the one place that decides what is printable.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxAsserted bounds what a caller asserts of itself (X-Actor, X-Purpose), in bytes.
const MaxAsserted = 256

// Text gives s with everything that is not printed as a character of its own replaced by
// U+FFFD, cut to at most most bytes between two characters. Replaced are control characters
// (C0, C1), bytes that are no UTF-8, line and paragraph separators, spaces other than U+0020,
// bidirectional controls and other format characters, characters of no width, and what
// Unicode has not assigned.
func Text(s string, most int) string {
	if isPlain(s) {
		return s[:min(len(s), most)]
	}
	var b strings.Builder
	for _, r := range s {
		if !visible(r) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Asserted is the text of a header field by which a caller says something of itself. Fields
// that stand more than once are joined, as RFC 9110 (section 5.3) has it.
func Asserted(values []string) string {
	if len(values) == 1 {
		return Text(values[0], MaxAsserted)
	}
	return Text(strings.Join(values, ", "), MaxAsserted)
}

// isPlain reports whether s is ASCII without controls, the common case, which needs no copy.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func visible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		r != '\u2800' // a braille cell without dots
}
