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
	for rest := escaped; rest != ""; {
		segment := rest[1:] // rest begins with the slash
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment, rest = segment[:i], segment[i:]
		} else {
			rest = ""
		}
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
	var (
		name    = 0 // decoded bytes before a matrix parameter
		dots    = 0 // how many of them are dots
		matrix  = false
		percent = 0     // decoded bytes since a decoded "%" that may begin an escape
		high    = false // bytes beyond ASCII were decoded
	)
	for i := 0; i < len(s); i++ {
		c, encoded := s[i], false
		switch {
		case c == '%':
			if i+2 >= len(s) || !ishex(s[i+1]) || !ishex(s[i+2]) {
				return "It holds a \"%\" without two hexadecimal digits."
			}
			c, encoded = unhex(s[i+1])<<4|unhex(s[i+2]), true
			i += 2
			switch {
			case c == '/' || c == '\\':
				return "It holds an encoded slash or backslash."
			case c < ' ' || c == 0x7f:
				return "It holds an encoded control character."
			case c >= utf8.RuneSelf:
				high = true
			}
		case !pchar[c]:
			return "It holds a character that must be encoded."
		}
		switch {
		case percent > 0 && !ishex(c):
			percent = 0
		case percent == 2:
			return "It is encoded twice."
		case percent == 1:
			percent = 2
		}
		if c == '%' && encoded {
			percent = 1
		}
		if c == ';' {
			matrix = true
		}
		if !matrix {
			name++
			if c == '.' {
				dots++
			}
		}
	}
	switch {
	case dots == name && (dots == 1 || dots == 2):
		return "It holds a dot segment."
	case high && !decodesToUTF8(s):
		return "It holds escapes that are not UTF-8."
	}
	return ""
}

// decodesToUTF8 is asked for the rare segment with escapes beyond ASCII.
func decodesToUTF8(s string) bool {
	decoded, err := url.PathUnescape(s)
	return err == nil && utf8.ValidString(decoded)
}

// CheckQuery refuses with a *problem.Problem (400) a query that url.ParseQuery
// would not read whole: a ";" (two servers may split it differently), a broken
// escape, a byte that cannot stand in a request line, more than maxParams
// parameters or 16 KiB. What it accepts can be forwarded byte for byte and means
// the same to everybody who parses it.
func CheckQuery(raw string, maxParams int) error {
	if raw == "" {
		return nil
	}
	if len(raw) > maxQuery {
		return badQuery("The query is longer than 16 KiB.")
	}
	params := 1
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '%':
			if i+2 >= len(raw) || !ishex(raw[i+1]) || !ishex(raw[i+2]) {
				return badQuery("It holds a \"%\" without two hexadecimal digits.")
			}
			i += 2
		case c == '&':
			params++
		case c == ';':
			return badQuery("It holds a \";\", which must be encoded as %3B.")
		case c <= ' ' || c == 0x7f || c == '#':
			return badQuery("It holds a character that must be encoded.")
		}
	}
	if params > maxParams {
		return badQuery(fmt.Sprintf("It has more than %d parameters.", maxParams))
	}
	return nil
}

func badQuery(fault string) error {
	return problem.BadRequest("The query cannot be sent on to the upstream. "+fault, problem.Issue{
		Type: problem.IssueInvalidInput, In: "query", Name: "query", Detail: fault,
	})
}

// Join appends path, which CheckPath accepts, to the base URL and sets the query.
// The result's EscapedPath is the escaped base path, without a trailing slash,
// followed by path, byte for byte, so it cannot leave the base. It fails with a
// *problem.Problem (400) for a path that CheckPath refuses, or that a base without
// a path of its own would turn into a host ("//host/…").
func Join(base *url.URL, path, rawQuery string) (*url.URL, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	u := join(base, strings.TrimRight(base.EscapedPath(), "/"), path)
	if u == nil {
		return nil, errDoubleSlash
	}
	u.RawQuery = rawQuery
	return u, nil
}

var errDoubleSlash = badPath("It begins with two slashes.")

// join is Join on the request path: the base path was escaped and trimmed once,
// the path checked before. It returns nil for a path that would become a host.
func join(base *url.URL, basePath, path string) *url.URL {
	if basePath == "" && strings.HasPrefix(path, "//") {
		return nil
	}
	raw := basePath + path
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Path: raw, RawPath: raw}
	if strings.IndexByte(raw, '%') >= 0 {
		decoded, err := url.PathUnescape(raw)
		if err != nil { // CheckPath let no such path pass
			return nil
		}
		u.Path = decoded
	}
	return u
}

func ishex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}

// pchar is the pchar of RFC 3986, section 3.3, without the escapes.
var pchar = asciiSet("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@")

func asciiSet(chars string) (set [256]bool) {
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return set
}
