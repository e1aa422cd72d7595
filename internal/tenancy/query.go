package tenancy

import (
	"net/url"
	"slices"
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
// escapes, ";", what is not UTF-8), one in which a server that decodes it twice, or a value of it as a query, finds
// the represented enterprise otherwise, or a parameter that means the represented enterprise more than once, since
// upstream and gateway might each take another one.
func NamedInQuery(rawQuery string) (Named, error) {
	decoded, err := url.QueryUnescape(rawQuery)
	switch {
	case strings.IndexByte(rawQuery, ';') >= 0:
		return Named{}, brokenQuery("write a semicolon as %3B: it parts parameters for some servers and not for others")
	case err != nil:
		return Named{}, brokenQuery("a percent sign must be followed by two hexadecimal digits")
	case !utf8.ValidString(decoded):
		return Named{}, brokenQuery("write it in UTF-8: what other bytes stand for is every server's own guess")
	}
	found := represented(rawQuery, "&")
	if isReadOtherwise(rawQuery, found) {
		return Named{}, brokenQuery("encode the represented enterprise once: some servers decode it twice")
	}
	var n Named
	var seen [meansCreate + 1]bool
	for _, p := range found {
		if p.whole && seen[p.meaning] {
			return Named{}, problem.BadRequest("The query names the represented enterprise more than once. Name it once.",
				problem.Issue{
					Type: problem.IssueInvalidInput, In: "query", Name: problem.Clip(p.name), Detail: "the parameter is repeated",
				})
		}
		seen[p.meaning] = seen[p.meaning] || p.whole
		text := n.note(p.value)
		n.Blank = n.Blank || p.whole && !text
		n.Direct = n.Direct || text && (p.name == representedNumber || p.name == representedName)
	}
	return n, nil
}

// parameter is one that means the represented enterprise, by its whole name or by a segment of it.
type parameter struct {
	name, value string
	meaning     meaning
	whole       bool
}

// represented gives the parameters that mean the represented enterprise, decoded once, for a server that parts them at
// any of the signs.
func represented(query, signs string) (list []parameter) {
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return strings.ContainsRune(signs, r) }) {
		pair = strings.ReplaceAll(pair, "+", " ")
		name, value, _ := strings.Cut(pair, "=")
		name, value = ebox.Unescape(name), ebox.Unescape(value)
		if m, whole := meaningOf(name); m.represents() {
			list = append(list, parameter{name, value, m, whole})
		}
	}
	return list
}

// isReadOtherwise reports whether a server that takes a value for a query of its own, or decodes the query once more
// than it is encoded, and so on to the end, finds other parameters than these.
func isReadOtherwise(query string, found []parameter) bool {
	hasEscape := func(p parameter) bool { return strings.IndexByte(p.value, '%') >= 0 }
	if slices.ContainsFunc(found, hasEscape) { // there are other kinds of escapes than that of URLs, such as %u0030
		return true
	}
	const deep = 8 // what is encoded more often than that is nobody's
	for range deep {
		if !slices.Equal(represented(query, "&;?#"), found) {
			return true
		}
		decoded := ebox.Unescape(query)
		if decoded == query {
			return false
		}
		query = decoded
	}
	return true
}

func brokenQuery(detail string) error {
	return problem.BadRequest("The query cannot be read. Correct it and send the request again.",
		problem.Issue{Type: problem.IssueInvalidInput, In: "query", Detail: detail})
}
