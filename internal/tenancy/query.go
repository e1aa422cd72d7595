package tenancy

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// NamedInQuery reads what a raw query, without the question mark, says of the
// represented enterprise. Names are compared after percent-decoding; a dotted or
// bracketed name counts if one of its segments does.
//
// The error is a *problem.Problem, 400: a query that does not parse (broken
// escapes, ";", what is not UTF-8, the represented enterprise encoded twice, its name
// or its value, or hidden in another value), or a parameter that means the represented enterprise more than
// once, since upstream and gateway might each take another one.
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
		m, whole := meaningOf(name)
		if m.represents() && strings.IndexByte(value, '%') >= 0 || hides(name) || hides(value) {
			return Named{}, brokenQuery("encode the represented enterprise once: some servers decode it twice")
		}
		if !m.represents() {
			continue
		}
		if whole && seen[m] {
			return Named{}, problem.BadRequest("The query names the represented enterprise more than once. Name it once.",
				problem.Issue{
					Type: problem.IssueInvalidInput, In: "query", Name: problem.Clip(name), Detail: "the parameter is repeated",
				})
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

// hides reports whether a name or value, decoded once, holds the name of the represented
// enterprise for whoever decodes it again, and so on to the end, or takes it apart as a
// query of its own.
func hides(s string) bool {
	const deep = 8 // a value that is longer encoded than that is nobody's
	for range deep {
		pairs := strings.FieldsFunc(s, func(r rune) bool { return r == '&' || r == ';' || r == '?' || r == '#' })
		if len(pairs) > 1 || strings.IndexByte(s, '=') >= 0 {
			for _, pair := range pairs {
				name, _, _ := strings.Cut(pair, "=")
				if m, _ := meaningOf(name); m.represents() {
					return true
				}
			}
		}
		decoded := ebox.Unescape(s)
		if decoded == s {
			return false
		}
		s = decoded
		if m, _ := meaningOf(s); m.represents() {
			return true
		}
	}
	return true
}

func brokenQuery(detail string) error {
	return problem.BadRequest("The query cannot be read. Correct it and send the request again.",
		problem.Issue{Type: problem.IssueInvalidInput, In: "query", Detail: detail})
}
