package tenancy

import (
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Named is what the body or the query of a grant/citizen call says of the
// represented enterprise.
type Named struct {
	// Numbers are the CBE numbers found anywhere under a name that means the
	// represented enterprise, each once, in order of appearance.
	Numbers []enterprise.Number
	// Present is true if such a name has a value that holds any text at all, be
	// it no CBE number; null, "", [] and {} hold none.
	Present bool
	// Direct is true if that is so where upstream looks: a member of the body's
	// outermost object or a parameter of the query, with the exact name.
	Direct bool
	// CreateWithRepresentative is true if the body's outermost object has
	// createMandateWithRepresentative: true.
	CreateWithRepresentative bool
	// Content is true if there is a body or query at all.
	Content bool
}

// NamedInBody reads a body whole.
func NamedInBody(body []byte, contentType, contentEncoding string) (Named, error) {
	return Named{}, problem.BadRequest("not yet readable")
}

// NamedInQuery reads a raw query.
func NamedInQuery(rawQuery string) (Named, error) {
	return Named{}, problem.BadRequest("not yet readable")
}
