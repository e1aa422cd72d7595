// Package links turns links into an upstream into links that lead back through the
// gateway, in header fields and in JSON, byte by byte and without parsing the whole.
package links

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"ebox-gateway/internal/jsonscan"
)

// Base is where links into an upstream lead for one caller.
type Base struct {
	// Origin is the gateway as this caller reaches it: "http://host[:port]".
	Origin string
	// Prefix is the path that stands for the upstream's base, escaped, without a
	// trailing slash: "/enterprises/0206731645/ebox/providers/nsso".
	Prefix string
	// Elsewhere, unless nil, is asked about absolute URLs that do not lead into the
	// upstream. It gives the URL by which this caller follows those that it knows.
	Elsewhere func(link string) (url string, ok bool)
}

// Forms is what is known in advance about links into an upstream.
type Forms struct {
	host  string // as plainHost writes it
	port  string // as plainPort writes it
	path  string // escaped, without a trailing slash
	https bool
	exact []byte // the base as it is mostly written
}

// NewForms prepares for links below a base URL, whose escaped path without a trailing slash
// is path.
func NewForms(base *url.URL, path string) Forms {
	host, port := splitPort(base.Host)
	f := Forms{host: plainHost(host), port: plainPort(port), path: path, https: base.Scheme == "https"}
	f.exact = []byte(base.Scheme + "://" + strings.ToLower(base.Host) + path)
	return f
}

// plainPort gives a port as it is compared: without leading zeros, and empty for those of
// both schemes. The upstreams' own guides print http for what is only served over https,
// and servers behind a proxy that ends TLS write http://host:443.
func plainPort(port string) string {
	for len(port) > 1 && port[0] == '0' {
		port = port[1:]
	}
	if port == "80" || port == "443" {
		return ""
	}
	return port
}

// plainHost gives a host as it is compared: in lower case, without the root's dot, and
// in ASCII (RFC 5891). IPv6 stays in brackets.
func plainHost(host string) string {
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func splitPort(hostport string) (host, port string) {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.IndexByte(hostport[i:], ']') >= 0 {
		return hostport, ""
	}
	return hostport[:i], hostport[i+1:]
}

// Map turns links into an upstream into links that one caller can follow.
type Map struct {
	forms *Forms
	base  Base
}

// NewMap makes the map of one upstream for one caller.
func NewMap(forms *Forms, base Base) Map { return Map{forms: forms, base: base} }

// appendLink appends to dst what the link becomes, and reports whether it leads into
// the upstream at all; if not, dst is as it was. The link is the inside of a JSON
// string if inJSON, and then may hold escapes. What the base does not cover is
// copied. An absolute URL stays one, and so does an absolute path.
func (m *Map) appendLink(dst, link []byte, inJSON bool) ([]byte, bool) {
	if !mayBeLink(link) {
		return dst, false
	}
	if inJSON && bytes.IndexByte(link, '\\') >= 0 {
		text := jsonscan.Text(slices.Concat(quote, link, quote))
		plain, ok := m.appendLink(nil, []byte(text), false)
		if !ok || strings.ContainsRune(text, utf8.RuneError) { // an escape that stands for nothing
			return dst, false
		}
		quoted := jsonscan.Encoded(string(plain))
		return append(dst, quoted[1:len(quoted)-1]...), true
	}
	// The common cases cost one comparison.
	if rest, ok := bytes.CutPrefix(link, m.forms.exact); ok && underBase(rest) {
		return m.append(dst, true, rest), true
	}
	rest, scheme := link, false
	if i := bytes.IndexByte(link, ':'); i > 0 && link[0] != '/' {
		name := string(link[:i])
		scheme = strings.EqualFold(name, "https") || strings.EqualFold(name, "http")
		rest = link[i+1:]
	}
	behind, absolute := bytes.CutPrefix(rest, []byte("//"))
	switch {
	case scheme && !absolute, link[0] != '/' && !scheme:
		return dst, false
	case absolute:
		end := bytes.IndexAny(behind, "/?#")
		if end < 0 {
			end = len(behind)
		}
		rest = behind[end:]
		absolute = m.forms.at(string(behind[:end]))
		if !absolute {
			return m.appendElsewhere(dst, link, scheme)
		}
	}
	if below, ok := bytes.CutPrefix(rest, []byte(m.forms.path)); ok && underBase(below) {
		return m.append(dst, absolute, below), true
	}
	return m.appendElsewhere(dst, link, scheme)
}

var quote = []byte(`"`)

// appendElsewhere appends what Elsewhere makes of a URL, if that has its scheme and leads to where
// Elsewhere has a path.
func (m *Map) appendElsewhere(dst, link []byte, scheme bool) ([]byte, bool) {
	if !scheme || m.base.Elsewhere == nil {
		return dst, false
	}
	url, ok := m.base.Elsewhere(string(link))
	if !ok || strings.ContainsAny(url, `"\`) { // neither stands in a URL, and both would end a JSON string
		return dst, false
	}
	return append(dst, url...), true
}

func (m *Map) append(dst []byte, absolute bool, rest []byte) []byte {
	start := len(dst)
	if absolute {
		dst = append(dst, m.base.Origin...)
	}
	dst = append(dst, m.base.Prefix...)
	dst = append(dst, rest...)
	if len(dst) == start { // the root, where the gateway's prefix is the root too
		dst = append(dst, '/')
	}
	return dst
}

// underBase reports whether what follows the base begins at a path boundary and has
// no dot segments, with which it could lead out of the base again.
func underBase(rest []byte) bool {
	if end := bytes.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	if len(rest) == 0 {
		return true
	}
	if rest[0] != '/' {
		return false
	}
	if bytes.IndexByte(rest, '.') < 0 && bytes.IndexByte(rest, '%') < 0 {
		return true
	}
	for segment := range bytes.FieldsFuncSeq(rest, func(r rune) bool { return r == '/' || r == '\\' }) {
		plain := strings.ReplaceAll(strings.ToLower(string(segment)), "%2e", ".")
		if plain == "." || plain == ".." {
			return false
		}
	}
	return true
}

// Under gives the escaped path below the base, with its query, of an absolute URL; false
// if it leads elsewhere.
func (f *Forms) Under(u *url.URL) (path, query string, ok bool) {
	path, ok = f.Below(u.Host, u.EscapedPath())
	return path, u.RawQuery, ok && (u.Scheme == "https") == f.https
}

// Below gives what an escaped path at an authority, host[:port], has behind the base: empty
// or with its slash. It is false if the path does not lie below the base. The scheme does
// not matter, and the path must have no dot segments.
func (f *Forms) Below(authority, path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, f.path)
	if !ok || rest != "" && rest[0] != '/' || !f.at(authority) {
		return "", false
	}
	return rest, true
}

// at reports whether an authority is the upstream's, however it is spelt.
func (f *Forms) at(authority string) bool {
	host, port := splitPort(authority)
	return plainPort(port) == f.port && plainHost(host) == f.host
}

// Header rewrites a field whose value is one link: Location, Content-Location.
func (m *Map) Header(values []string) []string {
	for i, v := range values {
		if link, ok := m.appendLink(nil, []byte(v), false); ok {
			values = replace(values, i, string(link))
		}
	}
	return values
}

// target is the target of a link in a Link field. An angle bracket within a quoted parameter is none.
var target = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|<[^>]*>`)

// LinkHeader rewrites the targets of Link fields (RFC 8288, section 3), all that
// stand in one value.
func (m *Map) LinkHeader(values []string) []string {
	for i, v := range values {
		rewritten := target.ReplaceAllStringFunc(v, func(part string) string {
			if part[0] == '<' {
				if link, ok := m.appendLink(nil, []byte(part[1:len(part)-1]), false); ok {
					return "<" + string(link) + ">"
				}
			}
			return part
		})
		if rewritten != v {
			values = replace(values, i, rewritten)
		}
	}
	return values
}

// replace gives a copy of values with one of them changed: the slice may belong to
// an answer in the cache.
func replace(values []string, i int, v string) []string {
	copied := slices.Clone(values)
	copied[i] = v
	return copied
}
