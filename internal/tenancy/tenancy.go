// Package tenancy answers who is calling, for whom, and whether they may.
//
// Callers holds the caller rules and finds by address, listener or verified
// client certificate which rule a connection falls under; ClientAddr finds the
// address behind proxies that are trusted. Resolver holds the represented
// enterprises: it takes what a request says about the one it is for
// (a Claim) and either names the Tenant or refuses, with the problem that the
// caller gets: 400 for a number that is missing, wrong or contradictory, 403 for
// what is not allowed.
//
// grant/citizen names the enterprise in its bodies and queries (JSON of RFC 8259,
// URLs of RFC 3986), so NamedInBody and NamedInQuery read there every number that
// the upstream could read, however it is spelt, escaped or nested.
//
// Nothing here knows tokens or caches. All types are immutable once built, but for the
// suspended numbers; a changed configuration builds new ones.
package tenancy

import (
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Route is a route of the configuration. With Enterprise optional, a request that names none acts
// as the client itself and needs a caller with Own. With none, an enterprise in path or header must
// still be one that the caller may represent, since path prefixes work before every path and a wrong
// one must not go unnoticed, but it is not sent on, and the default of the caller's rule does not
// apply.
type Route struct {
	*config.Route
	// Own is the office's own number, whose e-Box a call as the client itself is for;
	// 0 if it is not known.
	Own enterprise.Number
}

// Claim is what a request says about the enterprise it is for.
type Claim struct {
	// Path is the decoded segment after /enterprises/, "own" included, if HasPath.
	Path    string
	HasPath bool
	// Header holds all values received under call.RepresentedField or an alias of it,
	// as HeaderValues collects them.
	Header []string
	// Query and Body are what NamedInQuery and NamedInBody found; only read on a
	// route of kind mandates.
	Query, Body Named
	// Target is the number in the path of the API itself (ebox.EnterpriseIn), 0 if there
	// is none. It stands for path and header if they say nothing.
	Target enterprise.Number
	// Named are the enterprises that the call names in an e-Box API's words
	// (ebox.NamedIn), whatever their part.
	Named []ebox.Named
}

// Tenant is whom a request acts for.
type Tenant struct {
	// Number is the represented enterprise, 0 if there is none.
	Number enterprise.Number
	// Own is true if the request acts as the client itself.
	Own bool
	// Client is the name of the OAuth client.
	Client string
	// Enterprise is the row of the configuration, nil for a number that mode Any serves
	// without one, and without a number.
	Enterprise *config.Enterprise
	// Header is the value for call.RepresentedField, nil if it must not be sent.
	Header []string
	// Query is the parameter, "name=value", that the query needs on its way to the
	// upstream so that this knows for whom the call is; empty for none.
	Query string
}
