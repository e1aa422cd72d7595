package tenancy

import (
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// checkNamed refuses a call for t that names an enterprise which is not this caller's to
// name. By its part in the call it must be
//   - Asked: one that the caller may represent; the office's own needs Own;
//   - Changed: that, and the one that the call is for;
//   - Sender: the one that the call is for, or the office itself;
//   - Mandatary: one that the caller may represent, or the office itself;
//   - Recipient: anybody.
//
// While route.Own is not known, a sender or mandatary that no list has is taken for the
// office, since the upstream knows whose token it gets; nothing is read or changed by that.
func (r *Resolver) checkNamed(c *Caller, route *Route, s mention, t *Tenant, named []ebox.Named) error {
	for i := range named {
		n := &named[i]
		if n.Part == ebox.Recipient || t.Number != 0 && n.Number == t.Number {
			continue
		}
		own := n.Number == route.Own
		office := own || route.Own == 0 && !r.knows(n.Number)
		if office && (n.Part == ebox.Sender || n.Part == ebox.Mandatary) {
			continue
		}
		if err := r.mayName(c, route, n.Number, own); err != nil {
			return err
		}
		mustAgree := n.Part == ebox.Changed || n.Part == ebox.Sender
		if mustAgree && (t.Number != 0 || t.Own && !own) {
			if s.in == "" { // a default
				s = mention{"path", "number", t.Number}
			}
			return route.hinted(contradiction(s, mention{n.In, n.At, n.Number}), t.Own)
		}
	}
	return nil
}

// knows reports whether the gateway's lists have a number.
func (r *Resolver) knows(n enterprise.Number) bool {
	return r.row(n) != nil || r.Suspended()[n]
}

// mayName reports whether the caller may read or change what is n's. own reports whether it is
// the office's number.
func (r *Resolver) mayName(c *Caller, route *Route, n enterprise.Number, own bool) error {
	if own && c.Own {
		return nil
	}
	_, err := r.admit(c, route, n)
	if err != nil && c.Own && route.Own == 0 && !r.knows(n) {
		return problem.Forbidden("Enterprise " + n.String() + " is none that the caller rule " + c.Name +
			" and the gateway's list allow. " + sayOwn)
	}
	return err
}

const sayOwn = "If it is the office's own, have the platform team write it as enterprise of the OAuth client."

// hinted adds to the refusal of a call what may be missing in the configuration, if it is one as the client itself.
func (route *Route) hinted(p *problem.Problem, own bool) error {
	if own && route.Own == 0 {
		p.Detail += " " + sayOwn
	}
	return p
}
