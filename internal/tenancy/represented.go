package tenancy

import (
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// with adds the number that the path of the API holds: it must agree with path prefix and
// header, and stands for them if they are missing.
func (s said) with(n enterprise.Number, claim *Claim, c *Caller, route *Route) (said, error) {
	own := n == route.Own
	switch {
	case s.own && own, s.number == n:
		return s, nil
	case s.own:
		return said{}, contradictsOwn("path", "enterpriseNumber", n, route)
	case s.number == 0:
		if own && c.Own {
			return said{own: true}, nil
		}
		return said{number: n}, nil
	case claim.HasPath:
		return said{}, contradiction("path", "number", problem.Clip(claim.Path), "path", "enterpriseNumber", n.String())
	default:
		return said{}, contradiction("header", call.RepresentedField, problem.Clip(claim.Header[0]), "path",
			"enterpriseNumber", n.String())
	}
}

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
func (r *Resolver) checkNamed(c *Caller, route *Route, t *Tenant, named []ebox.Named) error {
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
		switch {
		case n.Part != ebox.Changed && n.Part != ebox.Sender, t.Own && own:
		case t.Own:
			return contradictsOwn(n.In, n.At, n.Number, route)
		case t.Number != 0:
			return contradiction("header", call.RepresentedField, t.Number.String(), n.In, n.At, n.Number.String())
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

// contradictsOwn is a call as the client itself that names an enterprise.
func contradictsOwn(in, name string, n enterprise.Number, route *Route) error {
	detail := "The request is for the office's own e-Box and names an enterprise. Name one, the same everywhere."
	if route.Own == 0 {
		detail += " " + sayOwn
	}
	return problem.BadRequest(detail, problem.Issue{
		Type: problem.IssueInvalidInput, In: in, Name: name, Value: n.String(),
		Detail: "names another e-Box than the rest of the request",
	})
}
