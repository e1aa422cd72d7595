package tenancy

import (
	"cmp"
	"errors"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// numberIssue is the issue of a number that does not parse.
func numberIssue(in, name, value string, err error) problem.Issue {
	issue := problem.Issue{
		Type: problem.IssueInvalidInput, In: in, Name: name, Value: problem.Clip(value), Detail: err.Error(),
	}
	if strings.TrimSpace(value) == "" {
		issue.Type, issue.Value = problem.IssueRequiredInput, ""
		issue.Detail = "the number is missing: ten digits are expected, as in 0206731645"
	} else if errors.Is(err, enterprise.ErrMalformed) {
		issue.Type = problem.IssueSchemaViolation
	}
	return issue
}

// unreadable refuses a value of query or body that could be read as a number and is not one.
func unreadable(in, name, value string) error {
	_, err := enterprise.Parse(value)
	return problem.BadRequest("The number of the represented enterprise is not valid.", numberIssue(in, name, value, err))
}

// contradiction is a request in which two places name two enterprises, or one and the client.
func contradiction(first, other mention) *problem.Problem {
	issue := func(m mention) problem.Issue {
		return problem.Issue{Type: problem.IssueInvalidInput, In: m.in, Name: m.name,
			Value: cmp.Or(m.number.String(), ownSegment), Detail: "names another enterprise than the rest of the request"}
	}
	return problem.BadRequest("The request names two different enterprises. Name one, the same everywhere.",
		issue(first), issue(other))
}

// missingEnterprise is a request without the enterprise that its route needs. own
// is true if the caller could have asked for the client's own.
func missingEnterprise(own bool) error {
	detail := "This route acts for an enterprise and the request names none. Send its number in the header " +
		call.RepresentedField +
		", or put /enterprises/{number} in front of the path"
	if own {
		detail += "; for the client itself put /enterprises/own in front"
	}
	return problem.BadRequest(detail+".", problem.Issue{
		Type: problem.IssueRequiredInput, In: "header", Name: call.RepresentedField,
		Detail: "the CBE number of the represented enterprise is missing",
	})
}

// notRepeated is a grant/citizen call for number, in whose place the upstream would
// act for the client itself, because it reads the number elsewhere.
func notRepeated(number enterprise.Number, in string) error {
	name := representedNumber
	if in == "body" {
		name = "/" + name
	}
	value := "of the enterprise"
	if number != 0 {
		value = number.String()
	}
	return problem.BadRequest("grant/citizen reads the represented enterprise from "+representedNumber+" in the "+in+
		" and would otherwise act in the client's own name. Repeat the number there.",
		problem.Issue{
			Type: problem.IssueRequiredInput, In: in, Name: name,
			Detail: "the number " + value + " must stand here, as ten digits",
		})
}

// leftBlank refuses a query that names the represented enterprise without a value, while the
// request is for n.
func leftBlank(n enterprise.Number) error {
	return problem.BadRequest("The query has the name of the represented enterprise without a number. Leave it out, or "+
		"give it the number that the request is for.",
		problem.Issue{Type: problem.IssueInvalidInput, In: "query", Name: representedNumber,
			Detail: "the request is for " + n.String()})
}

func ownNotAllowed(c *Caller) error {
	return problem.Forbidden("This request would act in the client's own name, which the caller rule " + c.Name +
		" does not allow. Name the enterprise that it is for, or ask the platform team to set own in the rule.")
}

// notServed refuses an enterprise; why follows "Enterprise … is ".
func notServed(n enterprise.Number, why string) error {
	return problem.Forbidden("Enterprise " + n.String() + " is " + why)
}
