package config

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// parseURL reads a base URL; a slash at its end is dropped.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("is no URL: https://host/path is expected")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("has a user name in it: credentials do not belong in this URL")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, errors.New("has a query or a fragment: a base URL without them is expected")
	case !isHost(u.Hostname()):
		return nil, errors.New("has no valid host: letters, digits, \".\" and \"-\" are expected, " +
			"internationalised names as xn--…")
	case !validPort(u.Host, u.Port()):
		return nil, errors.New("has no valid port: 1 to 65535 is expected")
	}
	escaped := u.EscapedPath()
	if strings.ContainsAny(escaped, `\;`) || strings.Contains(escaped, "//") || strings.Contains(escaped, "%") {
		return nil, errors.New("has an empty segment, an escape or a character in its path that a base URL cannot have")
	}
	for _, segment := range strings.Split(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, errors.New("has dot segments in its path: write the path they lead to")
		}
	}
	u.Host = strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}

func validPort(hostport, port string) bool {
	if port == "" {
		return !strings.HasSuffix(hostport, ":")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// isHost tells a name of letters, digits, dots and hyphens, or an IP literal.
func isHost(h string) bool {
	_, err := netip.ParseAddr(h)
	return err == nil || len(h) <= 253 && hostName.MatchString(h)
}

// hostName are labels of up to 63 characters, which neither begin nor end with a hyphen.
var hostName = regexp.MustCompile(`^` + hostLabel + `(\.` + hostLabel + `)*\.?$`)

const hostLabel = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// parsePattern reads a pattern of paths: segments, of which "*" is any one, and "/**" at the
// end for everything below.
func parsePattern(s string) (string, error) {
	stars := strings.TrimSuffix(s, "/**")
	bad := s != "/**" && (!cleanPath(s) || strings.ContainsAny(s, "{}") || strings.Contains(stars, "**"))
	for segment := range strings.SplitSeq(stars, "/") {
		bad = bad || len(segment) > 1 && strings.Contains(segment, "*")
	}
	if bad {
		return "", errors.New("is no pattern: /segments are expected, where * is one whole segment and /** at the end " +
			"everything below")
	}
	return s, nil
}

// cleanPath tells a path without empty, dot or escaped segments.
func cleanPath(p string) bool {
	return pathPattern.MatchString(p) && p != "/" && path.Clean(p) == p
}

var pathPattern = regexp.MustCompile(`^/[A-Za-z0-9/._~{}*-]*$`)

func parseHostPattern(s string) (string, error) {
	const form = `is no host: write the name alone, as in registry.example.be, *.example.be or host.example.be:8443`
	host, port := strings.ToLower(s), ""
	if rest, ok := strings.CutPrefix(host, "["); ok { // an IPv6 literal
		literal, after, closed := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(literal)
		if !closed || err != nil || addr.Is4() || addr.Zone() != "" || (after != "" && after[0] != ':') ||
			(after != "" && !validPort(host, after[1:])) {
			return "", errors.New(form)
		}
		return host, nil
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Count(host, ":") == 1 {
		host, port = host[:i], host[i:]
		if port != ":*" && (port == ":" || !validPort(port, port[1:])) {
			return "", errors.New(form)
		}
	}
	if host == "*" {
		return "", errors.New(`would let every host in: name the hosts, or a domain as in *.example.be`)
	}
	name, wild := strings.CutPrefix(host, "*.")
	addr, err := netip.ParseAddr(name)
	if !isHost(name) || addr.Zone() != "" || err == nil && wild || err != nil && numericEnd.MatchString(name) {
		return "", errors.New(form)
	}
	return strings.TrimSuffix(host, ".") + port, nil
}

// numericEnd are names that some resolvers read as an IPv4 address: 127.1, 0x7f.1, 2130706433.
var numericEnd = regexp.MustCompile(`(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)

// parseDestination reads what is reached without the proxy. It refuses what the rules of curl
// and Go would ignore in silence or misread.
func parseDestination(s string) (string, error) {
	_, err := netip.ParsePrefix(s)
	if strings.Contains(s, "/") && err != nil || strings.ContainsAny(s, ", \t@?#") ||
		strings.Contains(strings.TrimPrefix(s, "*"), "*") {
		return "", errors.New(`is no destination: write "example.be", ".example.be", "10.0.0.0/8", an address or "*"`)
	}
	return s, nil
}

func parseOrigin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || !isHost(u.Hostname()) ||
		!validPort(u.Host, u.Port()) ||
		u.Path != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") {
		return "", errors.New(
			`is no origin: write scheme, host and port alone, as in https://app.example.be; "*" is not allowed`)
	}
	host := strings.ToLower(u.Host)
	// Browsers leave the default port out.
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host, nil
}
