// Package enterprise reads and writes the CBE number, the ten-digit number under which
// the Crossroads Bank for Enterprises (KBO/BCE) registers every Belgian
// enterprise.
//
// The first digit is 0 or 1 and the last two are a check: 97 minus the first
// eight digits modulo 97. People write the number with or without dots, with
// the country code of VAT in front, or with the leading zero dropped; services
// want ten digits. Parse understands all of these, String writes the one.
package enterprise

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// Number is a valid CBE number. The zero value is no number at all: ten zeros
// do not satisfy the check digits, so it can never be a real one.
type Number uint32

var (
	// ErrMalformed says that the text is in no written form of a CBE number.
	ErrMalformed = errors.New("not a CBE number: ten digits are expected, as in 0206731645 or " +
		"0206.731.645, optionally after BE")
	// ErrCheckDigits says that the form is right and the number a typing error.
	ErrCheckDigits = errors.New("the last two digits of the CBE number do not match the first eight: " +
		"look for a typing error")
)

// maxWritten bounds the longest accepted form, "BE 0206.731.645" with room for
// surrounding blanks; anything longer is refused before it is read.
const maxWritten = 24

// Parse reads a CBE number in any of its written forms: ten digits; nine, the
// leading zero dropped; groups of 4-3-3 or 3-3-3 digits parted by dots, blanks
// or hyphens; each optionally after "BE" in either case. The error is
// ErrMalformed or ErrCheckDigits.
func Parse(s string) (Number, error) {
	if len(s) > maxWritten {
		return 0, ErrMalformed
	}
	digits, ok := digitsOf(s)
	if !ok || digits >= 2_000_000_000 {
		return 0, ErrMalformed
	}
	if !isValid(digits) {
		return 0, ErrCheckDigits
	}
	return Number(digits), nil
}

func isValid(n uint64) bool { return n < 2_000_000_000 && 97-(n/100)%97 == n%100 }

// IsAmbiguous reports whether some reader could take a text for a number where Parse finds none: it has the digits of
// one or several somewhere, digits of another script, wrong check digits, zeros in front, or an exponent, a fraction or
// another base (0x) that makes so many. Too many digits that are a single number are not: every reader refuses them.
func IsAmbiguous(s string) bool {
	const fewest = 9 // digits, of a number without the zero in front
	digits := 0
	for _, r := range s {
		if r > unicode.MaxASCII && unicode.IsNumber(r) {
			return true
		}
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	if _, err := Parse(s); errors.Is(err, ErrCheckDigits) {
		return true
	}
	if digits == len(s) && digits < 2*10 {
		n, err := strconv.ParseUint(s, 10, 64)
		return err == nil && n > 1e8 && isValid(n)
	}
	if digits == 0 || digits >= fewest {
		return digits >= fewest
	}
	s = strings.Join(strings.Fields(s), "")
	f, err := strconv.ParseFloat(s, 64)
	if i, otherBase := strconv.ParseInt(s, 0, 64); otherBase == nil {
		f, err = float64(i), nil
	}
	return err == nil && math.Abs(f) > 1e8 && math.Abs(f) < 1e10
}

// digitsOf strips what people write around the digits and checks the grouping.
func digitsOf(s string) (value uint64, ok bool) {
	s = strings.Trim(s, " \t")
	if len(s) >= 2 && s[0]|0x20 == 'b' && s[1]|0x20 == 'e' {
		s = s[2:]
		if s != "" && isSeparator(s[0]) {
			s = s[1:]
		}
	}
	var groups [3]int // digits seen in each group
	group, total := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			groups[group]++
			if total++; total > 10 {
				return 0, false
			}
			value = value*10 + uint64(c-'0')
		case isSeparator(c):
			if groups[group] == 0 || group == 2 {
				return 0, false
			}
			group++
		default:
			return 0, false
		}
	}
	if total != 10 && total != 9 {
		return 0, false
	}
	grouped := groups[1] == 3 && groups[2] == 3
	return value, group == 0 || grouped
}

func isSeparator(c byte) bool { return c == '.' || c == ' ' || c == '-' }

// String writes the number as ten digits, the form that every service takes.
// The zero Number gives the empty string.
func (n Number) String() string {
	if n == 0 {
		return ""
	}
	return string(n.AppendText10(make([]byte, 0, 11)))
}

// AppendText10 appends the ten digits to b, which needs room for eleven.
func (n Number) AppendText10(b []byte) []byte {
	at := len(b)
	b = strconv.AppendUint(b, 10_000_000_000+uint64(n), 10) // a 1 in front of ten digits
	return append(b[:at], b[at+1:]...)
}

// MarshalText implements encoding.TextMarshaler with the ten digits.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler for every written form.
func (n *Number) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return fmt.Errorf("reading %q: %w", text, err)
	}
	*n = parsed
	return nil
}
