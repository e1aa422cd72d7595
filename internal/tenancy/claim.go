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
		if len(name) != len(call.RepresentedField) || !isRepresentedField(name) {
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

// said is what path and header say together.
type said struct {
	number enterprise.Number
	own    bool
}

// said reads path and header. All that is wrong with them is reported at once.
func (c *Claim) said() (said, error) {
	var s said
	var inHeader enterprise.Number
	var issues []problem.Issue
	if c.HasPath {
		if s.own = c.Path == ownSegment; !s.own {
			n, err := enterprise.Parse(c.Path)
			if err != nil {
				issues = append(issues, numberIssue("path", "number", c.Path, err))
			}
			s.number = n
		}
	}
	switch len(c.Header) {
	case 0:
	case 1:
		n, err := enterprise.Parse(c.Header[0])
		if err != nil {
			issues = append(issues, numberIssue("header", call.RepresentedField, c.Header[0], err))
		}
		inHeader = n
	default:
		issues = append(issues, problem.Issue{
			Type: problem.IssueInvalidInput, In: "header", Name: call.RepresentedField,
			Detail: "the header was sent more than once, or under another spelling besides: send it once",
		})
	}
	if issues != nil {
		return said{}, problem.BadRequest("The enterprise that the request is for cannot be read. Correct what "+
			"the issues say.", issues...)
	}
	switch {
	case inHeader == 0:
	case !c.HasPath:
		s.number = inHeader
	case s.number != inHeader: // "own" is another than every number
		return said{}, contradiction("path", "number", problem.Clip(c.Path), "header", call.RepresentedField,
			problem.Clip(c.Header[0]))
	}
	return s, nil
}

// direct reports whether the enterprise is named where the upstream looks.
func (c *Claim) direct(method string) bool {
	if c.place(method) == "body" {
		return c.Body.Direct
	}
	return c.Query.Direct
}

// place says where the upstream looks: in the query if the method has no body of
// its own or this request has nothing in it, else in the body, beside which a
// number in the query may well be overlooked.
func (c *Claim) place(method string) string {
	if !inQuery(method) && c.Body.Content {
		return "body"
	}
	return "query"
}

// inQuery reports whether a method has no body of its own.
func inQuery(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete
}
