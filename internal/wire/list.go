package wire

import (
	"iter"
	"net/http"
)

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
