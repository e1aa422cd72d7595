package tenancy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/problem"
)

// Named is what the body or the query of a grant/citizen call says of the
// represented enterprise.
//
// It is read on the principle that the upstream must not be able to find a number
// where the gateway finds none. So names are compared without regard to case and
// to what stands between the letters, values are read at any depth, and what only may be
// a number is refused. That may find a number that the upstream would overlook, at
// worst a refusal too many; it matters the other way round only for Direct, which
// is why that one is exact.
type Named struct {
	// Numbers are the CBE numbers found anywhere under a name that means the
	// represented enterprise, each once, in order of appearance.
	Numbers []enterprise.Number
	// Present is true if such a name has a value that holds any text at all, be
	// it no CBE number; null, "", [] and {} hold none.
	Present bool
	// Direct is true if that is so where the upstream looks: at a member of the
	// body's outermost object or a parameter of the query, by its exact name.
	Direct bool
	// Blank is true if a parameter of the query means the represented enterprise and
	// holds no text. Beside one that names it, a server may read the wrong one.
	Blank bool
	// CreateWithRepresentative is true if the body's outermost object has the
	// member createMandateWithRepresentative with the value true.
	CreateWithRepresentative bool
	// Unreadable is the first value that could be read as a number and is not written as
	// one: with wrong check digits, several in one text, digits of another script, an
	// exponent. Empty if there is none. It names no enterprise that anybody may represent,
	// and an upstream might find one in it.
	Unreadable string
	// Content is true if the body is anything but empty, {} or [].
	Content bool
}

// The names that grant/citizen gives the represented enterprise, and the member
// that makes a mandate without one.
const (
	representedNumber        = "representedEnterpriseNumber"
	representedName          = "representedEnterprise"
	createWithRepresentative = "createMandateWithRepresentative"
)

// mostNumbers bounds how many different numbers are collected. Two are already a
// contradiction; the rest is for the order of the checks.
const mostNumbers = 8

// tooManyNumbers is a request with more than mostNumbers different numbers.
func tooManyNumbers(in string) error {
	return problem.BadRequest("The request names many different enterprises. Name one, the same everywhere.",
		problem.Issue{Type: problem.IssueInvalidInput, In: in, Name: representedNumber, Detail: "more than " +
			strconv.Itoa(mostNumbers) + " different numbers"})
}

// meaning is what a name stands for.
type meaning uint8

const (
	meansNothing meaning = iota
	meansNumber
	meansEnterprise
	meansCreate
)

// represents reports whether a name is one of the represented enterprise.
func (m meaning) represents() bool { return m == meansNumber || m == meansEnterprise }

// meaningOf gives what a member or parameter stands for. whole is false if only one
// segment of a dotted or bracketed name, such as filter[representedEnterprise].cbe,
// means it. A NUL parts segments too: for some servers the name ends there.
func meaningOf(name string) (m meaning, whole bool) {
	if len(name) < len(representedName) {
		return meansNothing, false
	}
	if m := segmentMeaning(name); m != meansNothing {
		return m, true
	}
	for segment := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(".[]/:\x00", r) }) {
		if m := segmentMeaning(segment); m.represents() {
			return m, false
		}
	}
	return meansNothing, false
}

func segmentMeaning(s string) meaning {
	switch {
	case jsonscan.Spells(s, representedNumber):
		return meansNumber
	case jsonscan.Spells(s, representedName):
		return meansEnterprise
	case jsonscan.Spells(s, createWithRepresentative):
		return meansCreate
	}
	return meansNothing
}

// note records a value found under a name that means the represented enterprise.
// It reports whether the value holds any text; false for ok means too many numbers.
func (n *Named) note(value string) (text, ok bool) {
	if isBlank(value) {
		return false, true
	}
	n.Present = true
	number, err := enterprise.Parse(value)
	if err == nil {
		return true, n.add(number)
	}
	if n.Unreadable == "" && (errors.Is(err, enterprise.ErrCheckDigits) || mayBeRead(value)) {
		n.Unreadable = value
	}
	return true, true
}

// mayBeRead reports whether a lenient reader could take a value for a number that is not
// written as one: it has the digits of one somewhere, digits of another script, which some
// servers read and others do not, or a fraction, an exponent or another base (0x) that can
// make so many. Of digits alone, too many are left to the upstream, unless they are zeros in
// front.
func mayBeRead(value string) bool {
	const fewest = 9 // digits, of a number without the zero in front
	digits := 0
	for _, r := range value {
		if r > unicode.MaxASCII && unicode.IsNumber(r) {
			return true
		}
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	if digits == len(value) && digits < 20 {
		n, err := strconv.ParseUint(value, 10, 64)
		if err == nil {
			_, err = enterprise.Parse(fmt.Sprintf("%010d", n))
		}
		return err == nil
	}
	value = strings.TrimSpace(value)
	if digits == 0 || digits >= fewest || !strings.ContainsRune("+-.0123456789", rune(value[0])) {
		return digits >= fewest
	}
	f, err := strconv.ParseFloat(value, 64)
	if i, otherBase := strconv.ParseInt(value, 0, 64); otherBase == nil {
		f, err = float64(i), nil
	}
	return err == nil && math.Abs(f) > 1e8 && math.Abs(f) < 1e10
}

func (n *Named) add(number enterprise.Number) bool {
	if slices.Contains(n.Numbers, number) {
		return true
	}
	if len(n.Numbers) == mostNumbers {
		return false
	}
	n.Numbers = append(n.Numbers, number)
	return true
}

// isBlank reports whether a lenient reader could take s for no value at all.
func isBlank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r) {
			return false
		}
	}
	return true
}
