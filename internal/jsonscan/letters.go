package jsonscan

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestName is how many letters a name may have that Letters gives.
const longestName = 64

// Letters gives the letters and digits of a name as some server may read it: in small
// letters of ASCII, folded from every letter whose upper or lower case is one of those, such
// as the long s and the dotless i. What stands between the letters is passed over. It gives
// nothing for a name with another letter, with more than 64, or with one of the signs that
// part segments: a dot, a colon, a slash, brackets.
func Letters(name string) string {
	letters := make([]byte, 0, longestName)
	for _, r := range name {
		switch folded := unicode.ToLower(unicode.ToUpper(r)); {
		case strings.ContainsRune(".[]/:", r):
			return ""
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
		case folded >= utf8.RuneSelf || len(letters) == longestName:
			return ""
		default:
			letters = append(letters, byte(folded))
		}
	}
	return string(letters)
}

// Spells reports whether the letters of s are those of name, as Letters reads both.
func Spells(s, name string) bool { return strings.EqualFold(Letters(s), name) }
