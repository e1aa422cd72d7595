package call

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"ebox-gateway/internal/problem"
)

// Limits on what is sent on, in bytes. They are far above what the APIs use and
// below what common servers refuse.
const (
	maxPath  = 8 << 10
	maxQuery = 16 << 10
)

// CheckPath refuses with a *problem.Problem (400) a path that an upstream could
// read differently than the gateway does, which compares it to routes and tells
// from it whether a call opens a document. Refused are dot segments, plain, encoded
// or with a matrix parameter ("..;x"), encoded slashes and backslashes, encoded
// control characters, what is still encoded after decoding once, escapes that are
// not UTF-8 (some servers take %c0%ae for a dot), bytes outside the pchar of RFC
// 3986, and more than 8 KiB. Empty segments pass: clients whose base URL ends in a
// slash make them, and the gateway ignores them as servers do.
//
// escaped is empty or begins with a slash.
func CheckPath(escaped string) error {
	if escaped == "" {
		return nil
	}
	if escaped[0] != '/' {
		return badPath("The path does not begin with a slash.")
	}
	if len(escaped) > maxPath {
		return badPath("The path is longer than 8 KiB.")
	}
	for segment := range strings.SplitSeq(escaped[1:], "/") {
		if fault := checkSegment(segment); fault != "" {
			return badPath(fault)
		}
	}
	return nil
}

func badPath(fault string) error {
	return problem.BadRequest("The path cannot be sent on to the upstream. "+fault, problem.Issue{
		Type: problem.IssueInvalidInput, In: "path", Name: "path",
		Detail: fault + " Send the path as the API describes it, with each part encoded once.",
	})
}

// checkSegment returns what is wrong with a segment, or nothing.
func checkSegment(s string) string {
	for i := range len(s) {
		if !pchar[s[i]] && s[i] != '%' {
			return "It holds a character that must be encoded."
		}
	}
	decoded, err := url.PathUnescape(s)
	name, _, _ := strings.Cut(decoded, ";")
	switch {
	case err != nil:
		return "It holds a \"%\" without two hexadecimal digits."
	case strings.ContainsAny(decoded, `/\`):
		return "It holds an encoded slash or backslash."
	case strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "It holds an encoded control character."
	case encoded(decoded):
		return "It is encoded twice."
	case name == "." || name == "..":
		return "It holds a dot segment."
	case !utf8.ValidString(decoded):
		return "It holds escapes that are not UTF-8."
	}
	return ""
}

// encoded reports whether s holds an escape.
func encoded(s string) bool {
	for i := range len(s) - 2 {
		if s[i] == '%' && ishex(s[i+1]) && ishex(s[i+2]) {
			return true
		}
	}
	return false
}

// CheckQuery refuses with a *problem.Problem (400) a query that url.ParseQuery
// would not read whole: a ";" (two servers may split it differently), a broken
// escape, a byte that cannot stand in a request line, more than maxParams
// parameters or 16 KiB. What it accepts can be forwarded byte for byte and means
// the same to everybody who parses it.
func CheckQuery(raw string, maxParams int) error {
	switch _, err := url.QueryUnescape(raw[:min(len(raw), maxQuery)]); {
	case len(raw) > maxQuery:
		return badQuery("The query is longer than 16 KiB.")
	case err != nil:
		return badQuery("It holds a \"%\" without two hexadecimal digits.")
	case strings.Contains(raw, ";"):
		return badQuery("It holds a \";\", which must be encoded as %3B.")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		return badQuery("It holds a character that must be encoded.")
	case strings.Count(raw, "&") >= maxParams:
		return badQuery(fmt.Sprintf("It has more than %d parameters.", maxParams))
	}
	return nil
}

func badQuery(fault string) error {
	return problem.BadRequest("The query cannot be sent on to the upstream. "+fault, problem.Issue{
		Type: problem.IssueInvalidInput, In: "query", Name: "query", Detail: fault,
	})
}

func ishex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// pchar is the pchar of RFC 3986, section 3.3, without the escapes.
var pchar = asciiSet("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@")

func asciiSet(chars string) (set [256]bool) {
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return set
}
