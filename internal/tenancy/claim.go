package tenancy

import (
	"net/http"
	"net/url"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

const (
	enterprisesPath = "/enterprises/"
	ownSegment      = "own"
)

// CutPath takes the prefix /enterprises/{segment} off an escaped path. found is
// false, and rest the whole path, if there is no such prefix; a path that only
// begins with /enterprises/ has an empty segment, which Resolve refuses. segment is
// decoded, so that %30206731645 is the number it stands for; rest stays escaped and
// is "" or begins with a slash. The prefix is taken off once: what a second one in
// rest means is for the routes to say, and none of them knows it.
//
// The error is a *problem.Problem, 400, for a segment with a broken escape.
func CutPath(escaped string) (segment, rest string, found bool, err error) {
	after, found := strings.CutPrefix(escaped, enterprisesPath)
	if !found {
		return "", escaped, false, nil
	}
	if i := strings.IndexByte(after, '/'); i >= 0 {
		after, rest = after[:i], after[i:]
	}
	if strings.IndexByte(after, '%') < 0 {
		return after, rest, true, nil
	}
	segment, unescapeErr := url.PathUnescape(after)
	if unescapeErr != nil {
		return "", "", false, problem.BadRequest("The enterprise in the path has a broken percent escape. Write it as ten "+
			"digits, as in /enterprises/0206731645/….",
			problem.Issue{Type: problem.IssueInvalidInput, In: "path", Name: "number", Value: problem.Clip(after),
				Detail: "a percent sign must be followed by two hexadecimal digits"})
	}
	return segment, rest, true, nil
}

// isRepresentedField reports whether name is call.RepresentedField or an alias of it:
// the same letters in any case, parted by any other characters. Servers that hand
// headers to a program as variables fold "_", "." and whatever else is no letter or
// digit into one, and would read the alias as the header itself.
func isRepresentedField(name string) bool {
	if len(name) != len(call.RepresentedField) {
		return false
	}
	for i := 0; i < len(name); i++ {
		c, want := name[i], call.RepresentedField[i]
		if want == '-' {
			if isAlphanumeric(c) {
				return false
			}
		} else if c|0x20 != want|0x20 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// HeaderValues collects the values that h has under call.RepresentedField and its
// aliases, for Claim.Header. The common cases, no such header or one, allocate
// nothing.
func HeaderValues(h http.Header) []string {
	var values []string
	for name, v := range h {
		if !isRepresentedField(name) {
			continue
		}
		if values == nil {
			values = v[:len(v):len(v)]
		} else {
			values = append(values, v...)
		}
	}
	return values
}

// mention is a place of the request that names somebody: an enterprise, or the client itself by 0.
type mention struct {
	in, name string // empty for no place
	number   enterprise.Number
}

func (m mention) isOwn() bool { return m.in != "" && m.number == 0 }

// said gives whom path, header and the path of the API name together, by the first of these places. All that
// is wrong with path and header is reported at once.
func (claim *Claim) said(c *Caller, route *Route) (mention, error) {
	var inPath, inHeader mention
	var issues []problem.Issue
	read := func(in, name, value string) mention {
		n, err := enterprise.Parse(value)
		if err != nil {
			issues = append(issues, numberIssue(in, name, value, err))
		}
		return mention{in, name, n}
	}
	switch {
	case !claim.HasPath:
	case claim.Path == ownSegment:
		inPath = mention{"path", "number", 0}
	default:
		inPath = read("path", "number", claim.Path)
	}
	switch len(claim.Header) {
	case 0:
	case 1:
		inHeader = read("header", call.RepresentedField, claim.Header[0])
	default:
		issues = append(issues, problem.Issue{
			Type: problem.IssueInvalidInput, In: "header", Name: call.RepresentedField,
			Detail: "the header was sent more than once, or under another spelling besides: send it once",
		})
	}
	if issues != nil {
		return mention{}, problem.BadRequest("The enterprise that the request is for cannot be read. Correct what "+
			"the issues say.", issues...)
	}
	s, contradicted := agree(inPath, inHeader)
	switch {
	case contradicted != nil:
		return mention{}, contradicted
	case s.isOwn() && !c.Own:
		return mention{}, ownNotAllowed(c)
	case claim.Target == 0:
		return s, nil
	}
	target := mention{"path", "enterpriseNumber", claim.Target}
	if claim.Target == route.Own && s.number == 0 && c.Own {
		target.number = 0 // the office's own e-Box
	}
	if s, contradicted = agree(s, target); contradicted != nil {
		return mention{}, route.hinted(contradicted, s.isOwn())
	}
	return s, nil
}

// agree gives the first of two places that names somebody. If both do, they must name the same; else there is
// a problem, 400.
func agree(first, other mention) (mention, *problem.Problem) {
	switch {
	case first.in == "":
		return other, nil
	case other.in != "" && other.number != first.number:
		return first, contradiction(first, other)
	}
	return first, nil
}

// direct reports whether the enterprise is named where the upstream looks.
func (claim *Claim) direct(method string) bool {
	if claim.place(method) == "body" {
		return claim.Body.Direct
	}
	return claim.Query.Direct
}

// place says where the upstream looks: in the query if the method has no body of
// its own or this request has nothing in it, else in the body, beside which a
// number in the query may well be overlooked.
func (claim *Claim) place(method string) string {
	if !inQuery(method) && claim.Body.Content {
		return "body"
	}
	return "query"
}

// inQuery reports whether a method has no body of its own.
func inQuery(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete
}
