package tenancy

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"ebox-gateway/internal/problem"
)

// NamedInQuery reads what a raw query, without the question mark, says of the
// represented enterprise. Names are compared after percent-decoding; a dotted or
// bracketed name counts if one of its segments does.
//
// The error is a *problem.Problem, 400: a query that does not parse (broken
// escapes, ";", what is not UTF-8, the name of the represented enterprise encoded
// twice), or a parameter that means the represented enterprise more than
// once, since upstream and gateway might each believe another one.
func NamedInQuery(rawQuery string) (Named, error) {
	var n Named
	var seen [meansCreate + 1]bool
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" {
			continue
		}
		if strings.IndexByte(pair, ';') >= 0 {
			return Named{}, brokenQuery("write a semicolon as %3B: it parts parameters for some servers and not for others")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(rawName)
		value, valueErr := url.QueryUnescape(rawValue)
		if nameErr != nil || valueErr != nil {
			return Named{}, brokenQuery("a percent sign must be followed by two hexadecimal digits")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return Named{}, brokenQuery("write it in UTF-8: what other bytes stand for is every server's own guess")
		}
		if again, err := url.QueryUnescape(name); err == nil && again != name {
			if m, _ := meaningOf(again); m == meansNumber || m == meansEnterprise {
				return Named{}, brokenQuery("encode the name of the represented enterprise once: some servers decode it twice")
			}
		}
		m, whole := meaningOf(name)
		if m != meansNumber && m != meansEnterprise {
			continue
		}
		if whole && seen[m] {
			return Named{}, problem.BadRequest("The query names the represented enterprise more than once. Name it once.",
				problem.Issue{Type: problem.IssueInvalidInput, In: "query", Name: clip(name), Detail: "the parameter is repeated"})
		}
		seen[m] = seen[m] || whole
		text, ok := n.note(value)
		if !ok {
			return Named{}, tooManyNumbers("query")
		}
		n.Blank = n.Blank || whole && !text
		if text && (name == representedNumber || name == representedName) {
			n.Direct = true
		}
	}
	return n, nil
}

func brokenQuery(detail string) error {
	return problem.BadRequest("The query cannot be read. Correct it and send the request again.",
		problem.Issue{Type: problem.IssueInvalidInput, In: "query", Detail: detail})
}
