package tenancy

import (
	"slices"
	"unicode"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/jsonscan"
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
	// represented enterprise, each once, in order of appearance: the first few, which
	// are as contradictory as all of them.
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
	// Unreadable is the first value that some reader could take for a number that it is not
	// (enterprise.IsAmbiguous). Empty if there is none.
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
// means it.
func meaningOf(name string) (m meaning, whole bool) {
	if len(name) < len(representedName) {
		return meansNothing, false
	}
	if m := segmentMeaning(name); m != meansNothing {
		return m, true
	}
	for segment := range jsonscan.Segments(name) {
		if m := segmentMeaning(segment); m.represents() {
			return m, false
		}
	}
	return meansNothing, false
}

func segmentMeaning(s string) meaning {
	var room jsonscan.Name
	switch string(jsonscan.Letters([]byte(s), &room)) {
	case "representedenterprisenumber":
		return meansNumber
	case "representedenterprise":
		return meansEnterprise
	case "createmandatewithrepresentative":
		return meansCreate
	}
	return meansNothing
}

// note records a value found under a name that means the represented enterprise.
// It reports whether the value holds any text.
func (n *Named) note(value string) (text bool) {
	if isBlank(value) {
		return false
	}
	n.Present = true
	number, err := enterprise.Parse(value)
	switch {
	case err != nil:
		if n.Unreadable == "" && enterprise.IsAmbiguous(value) {
			n.Unreadable = value
		}
	case !slices.Contains(n.Numbers, number) && len(n.Numbers) < mostNumbers:
		n.Numbers = append(n.Numbers, number)
	}
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
