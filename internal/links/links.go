// Package links turns links into an upstream into links that lead back through the
// gateway, in header fields and in JSON, byte by byte and without parsing the whole.
package links

import (
	"bytes"
	"net/url"
	"strings"

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
	exact string // the base as it is mostly written
}

// NewForms prepares for links below a base URL, whose escaped path without a trailing slash
// is path.
func NewForms(base *url.URL, path string) Forms {
	host, port := splitPort(base.Host)
	f := Forms{host: plainHost(host), port: plainPort(port), path: path, https: base.Scheme == "https"}
	f.exact = base.Scheme + "://" + strings.ToLower(base.Host) + path
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
// string if inJSON, and then may hold escapes; what the base does not cover is
// copied as it stands, and new slashes are escaped the way the link escaped its
// own. An absolute URL stays one, and so does an absolute path.
func (m *Map) appendLink(dst, link []byte, inJSON bool) ([]byte, bool) {
	if len(link) == 0 {
		return dst, false
	}
	switch link[0] {
	case 'h', 'H', '/', '\\':
	default:
		return dst, false
	}
	// The common cases cost one comparison.
	if exact := m.forms.exact; len(link) >= len(exact) && string(link[:len(exact)]) == exact {
		if rest := link[len(exact):]; underBase(rest, inJSON) {
			return m.append(dst, true, "/", rest), true
		}
	}
	if path := m.forms.path; path != "" && len(link) > 1 && link[1] != '/' && len(link) >= len(path) &&
		string(link[:len(path)]) == path {
		if rest := link[len(path):]; underBase(rest, inJSON) {
			return m.append(dst, false, "/", rest), true
		}
	}
	s := scanner{b: link, inJSON: inJSON}
	scheme := s.skip("https:") || s.skip("http:")
	slash := s.slash()
	absolute := s.skip("//")
	if scheme && !absolute {
		return dst, false
	}
	if !absolute || m.authority(&s) {
		if s.skipExactly(m.forms.path) {
			if rest := link[s.i:]; underBase(rest, inJSON) {
				return m.append(dst, absolute, slash, rest), true
			}
		}
	}
	if scheme && m.base.Elsewhere != nil {
		return m.appendElsewhere(dst, link, slash, inJSON)
	}
	return dst, false
}

// appendElsewhere appends what a URL becomes that Elsewhere knows.
func (m *Map) appendElsewhere(dst, link []byte, slash string, inJSON bool) ([]byte, bool) {
	text := string(link)
	if inJSON && strings.IndexByte(text, '\\') >= 0 {
		text = jsonscan.Text([]byte(`"` + text + `"`))
	}
	url, ok := m.base.Elsewhere(text)
	if !ok || strings.ContainsAny(url, `"\`) { // neither stands in a URL, and both would end a JSON string
		return dst, false
	}
	return appendSlashes(dst, url, slash), true
}

// authority consumes host and port and compares them. Any scheme will do.
func (m *Map) authority(s *scanner) bool {
	if !s.skip(m.forms.host) && !m.otherSpelling(s) {
		return false
	}
	if c, _ := s.peek(); c == '.' { // the root's
		s.next()
	}
	var digits [8]byte
	port := digits[:0]
	if c, _ := s.peek(); c == ':' {
		s.next()
		for len(port) < len(digits) {
			c, _ := s.peek()
			if c < '0' || c > '9' {
				break
			}
			port = append(port, c)
			s.next()
		}
	}
	if len(port) > 0 && plainPort(string(port)) != m.forms.port || len(port) == 0 && m.forms.port != "" {
		return false
	}
	c, more := s.peek()
	return !more || c == '/' || c == '?' || c == '#'
}

// otherSpelling consumes the host if it is the upstream's, written in Unicode.
func (m *Map) otherSpelling(s *scanner) bool {
	if !strings.Contains(m.forms.host, "xn--") {
		return false
	}
	end := *s
	for {
		c, more := end.peek()
		if !more || c == ':' || c == '/' || c == '?' || c == '#' || c == '@' {
			break
		}
		end.next()
	}
	host := string(s.b[s.i:end.i])
	if s.inJSON && strings.IndexByte(host, '\\') >= 0 {
		host = jsonscan.Text([]byte(`"` + host + `"`))
	}
	if plainHost(host) != m.forms.host {
		return false
	}
	s.i = end.i
	return true
}

func (m *Map) append(dst []byte, absolute bool, slash string, rest []byte) []byte {
	start := len(dst)
	if absolute {
		dst = appendSlashes(dst, m.base.Origin, slash)
	}
	dst = appendSlashes(dst, m.base.Prefix, slash)
	dst = append(dst, rest...)
	if len(dst) == start { // the root, where the gateway's prefix is the root too
		dst = append(dst, slash...)
	}
	return dst
}

func appendSlashes(dst []byte, s, slash string) []byte {
	if slash == "/" {
		return append(dst, s...)
	}
	for i := range len(s) {
		if s[i] == '/' {
			dst = append(dst, slash...)
		} else {
			dst = append(dst, s[i])
		}
	}
	return dst
}

// underBase reports whether what follows the base begins at a path boundary and has
// no dot segments, with which it could lead out of the base again.
func underBase(rest []byte, inJSON bool) bool {
	if len(rest) == 0 {
		return true
	}
	s := scanner{b: rest, inJSON: inJSON}
	switch c, _ := s.peek(); c {
	case '?', '#':
		return true
	case '/':
	default:
		return false
	}
	if bytes.IndexByte(rest, '.') < 0 && bytes.IndexByte(rest, '%') < 0 && bytes.IndexByte(rest, '\\') < 0 {
		return true
	}
	for dots, others := 0, 0; ; {
		c, more := s.peek()
		switch {
		case !more || c == '/' || c == '\\' || c == '?' || c == '#':
			if others == 0 && (dots == 1 || dots == 2) {
				return false
			}
			if c != '/' && c != '\\' { // the path ends
				return true
			}
			dots, others = 0, 0
			s.next()
		case c == '.':
			dots++
			s.next()
		case s.skip("%2e"):
			dots++
		default:
			others++
			s.next()
		}
	}
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
	host, port := splitPort(authority)
	rest, ok = strings.CutPrefix(path, f.path)
	if !ok || rest != "" && rest[0] != '/' || plainPort(port) != f.port || plainHost(host) != f.host {
		return "", false
	}
	return rest, true
}

// scanner reads a link byte by byte; in a JSON string, an escape is one byte.
type scanner struct {
	b      []byte
	i      int
	inJSON bool
}

// peek gives the next byte, decoded, without consuming it; a character beyond
// ASCII that is escaped gives 0xff. More is false at the end.
func (s *scanner) peek() (c byte, more bool) {
	c, width := s.decode()
	return c, width > 0
}

func (s *scanner) next() {
	_, width := s.decode()
	s.i += width
}

func (s *scanner) decode() (c byte, width int) {
	if s.i >= len(s.b) {
		return 0, 0
	}
	c = s.b[s.i]
	if c != '\\' || !s.inJSON || s.i+1 >= len(s.b) {
		return c, 1
	}
	switch e := s.b[s.i+1]; e {
	case 'u':
		if s.i+6 > len(s.b) {
			return 0xff, 2
		}
		v := 0
		for _, d := range s.b[s.i+2 : s.i+6] {
			if !ishex(d) {
				return 0xff, 2
			}
			v = v<<4 | int(unhex(d))
		}
		if v > 0x7f {
			v = 0xff
		}
		return byte(v), 6
	case 'b', 'f', 'n', 'r', 't':
		return ' ', 2 // a control character; none can stand in a link
	default:
		return e, 2 // \/ \" \\
	}
}

// skip consumes text if it comes next, letters in either case. Text is in lower
// case.
func (s *scanner) skip(text string) bool { return s.match(text, true) }

// skipExactly consumes text if it comes next.
func (s *scanner) skipExactly(text string) bool { return s.match(text, false) }

func (s *scanner) match(text string, fold bool) bool {
	start := s.i
	for i := range len(text) {
		c, width := s.decode()
		if fold && 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if width == 0 || c != text[i] {
			s.i = start
			return false
		}
		s.i += width
	}
	return true
}

// slash gives the next slash as it is written here.
func (s *scanner) slash() string {
	if c, width := s.decode(); c == '/' && width > 1 {
		return string(s.b[s.i : s.i+width])
	}
	return "/"
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

// LinkHeader rewrites the targets of Link fields (RFC 8288, section 3), all that
// stand in one value. An angle bracket within a quoted parameter is no target.
func (m *Map) LinkHeader(values []string) []string {
	for i, v := range values {
		var out []byte
		done, quoted := 0, false
		for j := 0; j < len(v); j++ {
			switch {
			case quoted && v[j] == '\\':
				j++
			case v[j] == '"':
				quoted = !quoted
			case !quoted && v[j] == '<':
				end := strings.IndexByte(v[j:], '>')
				if end < 0 {
					j = len(v)
					break
				}
				target := []byte(v[j+1 : j+end])
				mark := len(out)
				out = append(out, v[done:j+1]...)
				var ok bool
				if out, ok = m.appendLink(out, target, false); ok {
					done = j + end
				} else {
					out = out[:mark]
				}
				j += end
			}
		}
		if done > 0 {
			values = replace(values, i, string(append(out, v[done:]...)))
		}
	}
	return values
}

// replace gives a copy of values with one of them changed: the slice may belong to
// an answer in the cache.
func replace(values []string, i int, v string) []string {
	copied := append([]string(nil), values...)
	copied[i] = v
	return copied
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
