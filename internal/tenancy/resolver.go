package tenancy

import (
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// Mode tells which enterprises are served.
type Mode uint8

// The modes. Listed serves the enterprises of the table; Any serves every valid
// number and leaves the mandate to the upstream, with what the table says of those
// it has.
const (
	Listed Mode = iota
	Any
)

// ResolverOptions are what a Resolver needs.
type ResolverOptions struct {
	Mode Mode
	// Table may be nil: no enterprise is listed and none is suspended.
	Table *Table
	// DefaultClient names the OAuth client of enterprises without one of their own
	// and of calls as the client itself.
	DefaultClient string
	// Now is the clock that dates are compared with; nil is time.Now.
	Now func() time.Time
}

// Resolver finds the Tenant of a request. It is immutable and may be used by any
// number of goroutines.
type Resolver struct {
	mode          Mode
	table         *Table
	defaultClient string
	now           func() time.Time
}

// NewResolver returns a Resolver.
func NewResolver(o ResolverOptions) *Resolver {
	r := &Resolver{mode: o.Mode, table: o.Table, defaultClient: o.DefaultClient, now: o.Now}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

// Resolve finds whom a request acts for. c is nil for a caller that no rule
// matches. The error is a *problem.Problem: 400 or 403.
func (r *Resolver) Resolve(c *Caller, route *Route, action ebox.Action, method string, claim Claim) (Tenant, error) {
	return Tenant{}, problem.Forbidden("Nothing is allowed yet.")
}
