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
// to what stands between the letters, values are read at any depth, and digits of
// other scripts are refused. That may find a number that the upstream would overlook, at
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
	// Misspelt is the first value that is written as a CBE number and has the wrong check
	// digits, or that has digits of another script; empty if there is none. It names no enterprise that anybody may
	// represent, and the upstream, which checks the digits' count alone, would take
	// it.
	Misspelt string
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

// meaningOf tells what a member or parameter stands for. whole is false if only one
// segment of a dotted or bracketed name, such as filter[representedEnterprise].cbe,
// means it.
func meaningOf(name string) (m meaning, whole bool) {
	if len(name) < len(representedName) {
		return meansNothing, false
	}
	if m := segmentMeaning(name); m != meansNothing {
		return m, true
	}
	for segment := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(".[]/:", r) }) {
		if m := segmentMeaning(segment); m == meansNumber || m == meansEnterprise {
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
// It tells whether the value holds any text; false for ok means too many numbers.
func (n *Named) note(value string) (text, ok bool) {
	if isBlank(value) {
		return false, true
	}
	n.Present = true
	number, err := enterprise.Parse(value)
	if err == nil {
		return true, n.add(number)
	}
	if n.Misspelt == "" && (errors.Is(err, enterprise.ErrCheckDigits) || strings.ContainsFunc(value, strange)) {
		n.Misspelt = value
	}
	// Not as people write it. A lenient reader may still see a number: all digits
	// taken together, any run of them, any group parted by what parts the digits of
	// one number, as in a list, or the whole as a number in scientific notation.
	var all, run, group digits
	for _, r := range value {
		if r >= '0' && r <= '9' {
			all.push(byte(r))
			run.push(byte(r))
			group.push(byte(r))
			continue
		}
		ended := [2]digits{run}
		run = digits{}
		if r != '.' && r != '-' && !unicode.IsSpace(r) {
			ended[1], group = group, digits{}
		}
		if !n.addFound(ended[:]...) {
			return true, false
		}
	}
	if !n.addFound(run, group, all) {
		return true, false
	}
	return true, n.noteScientific(value)
}

// noteLiteral records a JSON number, which may spell 206731645 as 2.06731645e8.
func (n *Named) noteLiteral(literal string) (ok bool) {
	n.Present = true
	if strings.ContainsAny(literal, ".eE") {
		return n.noteScientific(literal)
	}
	_, ok = n.note(literal)
	return ok
}

// noteScientific records a number with a fraction or an exponent. Readers of whole
// numbers drop the fraction or round, and some the sign.
func (n *Named) noteScientific(text string) (ok bool) {
	if !strings.ContainsAny(text, ".eE") {
		return true
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if f = math.Abs(f); err != nil || !(f >= 1 && f < 1e10) {
		return true
	}
	down, up := math.Floor(f), math.Ceil(f)
	return n.addFound(digits{uint64(down), 10}, digits{uint64(up), 10})
}

// addFound adds those of the texts that are numbers.
func (n *Named) addFound(texts ...digits) (ok bool) {
	for _, text := range texts {
		if number, is := text.number(); is && !n.add(number) {
			return false
		}
	}
	return true
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

// isBlank tells whether a lenient reader could take s for no value at all.
func isBlank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r) {
			return false
		}
	}
	return true
}

// digits are a text of digits, as the number they spell and how many they are.
type digits struct {
	value uint64
	count int
}

// beyond is more than any number has, with room for one more digit.
const beyond = 10_000_000_000

func (d *digits) push(digit byte) {
	if d.count++; d.value < beyond {
		d.value = d.value*10 + uint64(digit-'0')
	}
}

// number reads nine digits, ten, or more if zeros in front of them are all that is
// too much: whoever reads the text as a number never sees those.
func (d *digits) number() (enterprise.Number, bool) {
	if d.count < 9 || d.value >= beyond {
		return 0, false
	}
	n, err := enterprise.Parse(fmt.Sprintf("%010d", d.value))
	return n, err == nil
}

// strange tells a digit that is none of ASCII's, such as an Arabic or a full-width one.
// Some servers would read a number of them, and others none.
func strange(r rune) bool { return r > unicode.MaxASCII && unicode.IsNumber(r) }
