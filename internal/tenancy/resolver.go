package tenancy

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Resolver finds the Tenant of a request. Any number of goroutines may use it, while
// further enterprises are suspended.
type Resolver struct {
	// t is the configuration's. Mode listed serves its rows; any serves every valid number and
	// leaves the mandate to the upstream, except for what the rows say of the numbers they have.
	t config.Tenancy
	// index gives the position of a number in the rows. Without pointers in it, the collector
	// passes it over: an enterprise costs some 20 bytes here.
	index map[enterprise.Number]int32
	now   func() time.Time

	mu sync.Mutex // held by Suspend
	// suspended are the numbers that are suspended now; a map is replaced, never changed.
	suspended atomic.Pointer[map[enterprise.Number]bool]
}

// NewResolver returns a Resolver of what the configuration has checked. It keeps the rows,
// which must not change any more. now is the clock that dates are compared with.
func NewResolver(t config.Tenancy, now func() time.Time) *Resolver {
	r := &Resolver{t: t, index: make(map[enterprise.Number]int32, len(t.Enterprises)), now: now}
	for i := range t.Enterprises {
		r.index[t.Enterprises[i].Number] = int32(i)
	}
	suspended := SuspendedIn(t)
	r.suspended.Store(&suspended)
	return r
}

// SuspendedIn are the numbers that a configuration suspends, in its files and its rows. Those
// of the files need not be listed.
func SuspendedIn(t config.Tenancy) map[enterprise.Number]bool {
	numbers := make(map[enterprise.Number]bool, len(t.Suspended))
	for _, n := range t.Suspended {
		numbers[n] = true
	}
	for _, e := range t.Enterprises {
		if e.Suspended {
			numbers[e.Number] = true
		}
	}
	return numbers
}

// Suspended are the numbers that are suspended now. The map must not be changed.
func (r *Resolver) Suspended() map[enterprise.Number]bool { return *r.suspended.Load() }

// Suspend adds numbers, for a suspended file that changed while the rest of the configuration
// stays as it is, and returns how many of them are new.
func (r *Resolver) Suspend(numbers []enterprise.Number) (added int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.Suspended())
	before := len(all)
	for _, n := range numbers {
		all[n] = true
	}
	r.suspended.Store(&all)
	return len(all) - before
}

// row finds the row of n; nil if it is not listed.
func (r *Resolver) row(n enterprise.Number) *config.Enterprise {
	if i, listed := r.index[n]; listed {
		return &r.t.Enterprises[i]
	}
	return nil
}

// Resolve finds whom a request acts for, or refuses it. c is nil for a caller that
// no rule matches. The error is a *problem.Problem: 400 for a number that is
// missing, wrong or contradictory, 403 for what is not allowed.
//
// The checks are made in an order that shows callers no more than they may know: the
// caller, the route, the action, then the form of the numbers, then whether this
// caller may represent them, and only then what the gateway knows of them.
//
// On a route of kind mandates the enterprise is named in the body or query, and a call
// that names it elsewhere alone would be made in the client's own name. So there
//   - every number found must be one that the caller may represent, and they must
//     all be the same, the one in path or header included;
//   - a number in body or query goes before the caller's default;
//   - a POST for a number from path, header or default that is not repeated is
//     refused with 400, unless it creates a mandate with the representative;
//   - a GET, HEAD or DELETE for a number that stands nowhere in the query where the
//     upstream looks gets it there: the Tenant's Query says so;
//   - beside a number, wherever it stands, no parameter that means the represented enterprise
//     may be blank: the upstream might read that one, and act in the client's own name;
//   - other methods may leave it unrepeated only if the caller may act as the
//     client itself;
//   - for a caller who may not, the number of any other call must stand where the upstream looks:
//     in the outermost object of the body, or in the query if there is no body to
//     look in. Elsewhere it would be a decoy that the upstream passes over;
//   - a value that is no CBE number passes, for the upstream to refuse it, and the
//     Tenant has no number if nothing else names one.
//
// On every other route each enterprise of claim.Named must be one that its part in the
// call allows, see checkNamed.
func (r *Resolver) Resolve(c *Caller, route *Route, action ebox.Action, method string, claim Claim) (Tenant, error) {
	s, err := r.before(c, route, action, &claim)
	if err != nil {
		return Tenant{}, err
	}
	if route.Kind == config.KindMandates {
		return r.resolveMandates(c, route, action, method, &claim, s)
	}
	t, err := r.resolve(c, route, s)
	if err == nil {
		err = r.checkNamed(c, route, s, &t, claim.Named)
	}
	if err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// resolve finds the Tenant of a call to any route of another kind.
func (r *Resolver) resolve(c *Caller, route *Route, s mention) (Tenant, error) {
	switch {
	case s.isOwn():
		return r.own(c)
	case s.number != 0:
		return r.tenant(c, route, s.number)
	case route.Enterprise == config.None:
		return Tenant{Client: r.t.DefaultClient}, nil
	case c.DefaultEnterprise != 0:
		return r.tenant(c, route, c.DefaultEnterprise)
	case route.Enterprise == config.Optional:
		return r.own(c)
	default:
		return Tenant{}, missingEnterprise(c.Own)
	}
}

// Check makes those of Resolve's checks that need neither query nor body, in the
// same order: the caller, the route, the action, what path and header say. A
// request that fails it can be refused before its body is asked for; Resolve makes
// them all again.
func (r *Resolver) Check(c *Caller, route *Route, action ebox.Action, claim Claim) error {
	s, err := r.before(c, route, action, &claim)
	if err == nil && s.number != 0 {
		_, err = r.admit(c, route, s.number)
	}
	return err
}

func (r *Resolver) before(c *Caller, route *Route, action ebox.Action, claim *Claim) (mention, error) {
	switch {
	case c == nil:
		return mention{}, problem.Forbidden("No caller rule recognises this caller by its address, listener or client " +
			"certificate. Ask the platform team for one.")
	case !route.In(c.Routes):
		return mention{}, problem.Forbidden("The caller rule " + c.Name + " does not allow the route " + route.Name +
			". Ask the platform team to add it to the rule's routes.")
	case !c.May.Has(action):
		return mention{}, problem.Forbidden("The caller rule " + c.Name + " does not allow the action " + action.String() +
			". Ask the platform team to add it to what the rule may do.")
	}
	return claim.said(c, route)
}

func (r *Resolver) resolveMandates(c *Caller, route *Route, action ebox.Action, method string, claim *Claim,
	s mention) (Tenant, error) {
	s, err := r.agreed(c, route, claim, s)
	if err != nil {
		return Tenant{}, err
	}
	if s.isOwn() {
		return r.own(c)
	}
	number := s.number
	free := action == ebox.None // /health acts for nobody
	present := claim.Query.Present || claim.Body.Present
	if !free && !present && number == 0 && c.DefaultEnterprise != 0 {
		number = c.DefaultEnterprise
	}
	t := Tenant{Client: r.t.DefaultClient}
	if number != 0 {
		if t, err = r.tenant(c, route, number); err != nil {
			return Tenant{}, err
		}
	}
	switch {
	case free:
	case number != 0 && claim.Query.Blank:
		return Tenant{}, leftBlank(number)
	case number != 0 && inQuery(method) && !claim.Query.Direct:
		t.Query = representedNumber + "=" + number.String()
	case present:
		if !c.Own && !claim.direct(method) {
			return Tenant{}, notRepeated(number, claim.place(method))
		}
	case number == 0 && route.Enterprise == config.Optional:
		return r.own(c)
	case number == 0:
		return Tenant{}, missingEnterprise(c.Own)
	case method == http.MethodPost:
		if !claim.Body.CreateWithRepresentative {
			return Tenant{}, notRepeated(number, "body")
		}
	case !c.Own:
		return Tenant{}, notRepeated(number, claim.place(method))
	}
	return t, nil
}

// agreed gives whom path, header, query and body name together, by the first of these places. Each number must be
// admitted before it is compared with the others.
func (r *Resolver) agreed(c *Caller, route *Route, claim *Claim, s mention) (mention, error) {
	mentions := []mention{s}
	for _, n := range claim.Query.Numbers {
		mentions = append(mentions, mention{"query", representedNumber, n})
	}
	for _, n := range claim.Body.Numbers {
		mentions = append(mentions, mention{"body", "/" + representedNumber, n})
	}
	for _, m := range mentions {
		if m.number == 0 {
			continue
		}
		if _, err := r.admit(c, route, m.number); err != nil {
			return s, err
		}
	}
	if value := claim.Query.Unreadable; value != "" {
		return s, unreadable("query", representedNumber, value)
	}
	if value := claim.Body.Unreadable; value != "" {
		return s, unreadable("body", "/"+representedNumber, value)
	}
	for _, m := range mentions {
		var contradicted *problem.Problem
		if s, contradicted = agree(s, m); contradicted != nil {
			return s, contradicted
		}
	}
	return s, nil
}

// tenant admits n and makes the Tenant of it.
func (r *Resolver) tenant(c *Caller, route *Route, n enterprise.Number) (Tenant, error) {
	row, err := r.admit(c, route, n)
	if err != nil {
		return Tenant{}, err
	}
	t := Tenant{Number: n, Client: r.t.DefaultClient, Enterprise: row}
	if row != nil && row.Client != "" {
		t.Client = row.Client
	}
	if route.Enterprise != config.None {
		t.Header = []string{n.String()}
	}
	return t, nil
}

// own makes the Tenant of a call as the client itself.
func (r *Resolver) own(c *Caller) (Tenant, error) {
	if !c.Own {
		return Tenant{}, ownNotAllowed(c)
	}
	return Tenant{Own: true, Client: r.t.DefaultClient}, nil
}

// admit reports whether c may act for n on route now. The row is nil for a number
// that mode Any serves without one.
func (r *Resolver) admit(c *Caller, route *Route, n enterprise.Number) (*config.Enterprise, error) {
	switch {
	case !c.mayRepresent(n):
		return nil, problem.Forbidden("The caller rule " + c.Name + " does not allow acting for enterprise " + n.String() +
			". Ask the platform team to add it to the rule's enterprises.")
	case n == route.Own && !c.Own && c.Enterprises == nil:
		return nil, ownNotAllowed(c) // all enterprises are not the office
	}
	row := r.row(n)
	switch {
	case r.Suspended()[n]:
		return nil, notServed(n, "suspended at this gateway. Ask the platform team why.")
	case row == nil && r.t.Mode == config.Any:
		return nil, nil
	case row == nil:
		return nil, notServed(n, "not listed at this gateway. Ask the platform team to add it to the enterprises.")
	case !row.From.IsZero() && r.now().Before(row.From):
		return nil, notServed(n, "not served yet: the first day of its service is still to come. Ask the platform team if "+
			"that is wrong.")
	case !row.Until.IsZero() && !r.now().Before(row.Until):
		return nil, notServed(n, "no longer served: the last day of its service has passed. Ask the platform team if that "+
			"is wrong.")
	case !route.In(row.Routes):
		return nil, notServed(n, "not served on the route "+route.Name+". Ask the platform team to add it to the "+
			"enterprise's routes.")
	}
	return row, nil
}
