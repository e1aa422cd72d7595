package directory

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"ebox-gateway/internal/config"
)

// hostList is the operator's list of the hosts that a registry may name.
type hostList struct {
	patterns  []hostPattern
	written   []string // as in the configuration, for the line to add
	allowHTTP bool
}

// hostPattern is one line of the list: a host, or with wild everything below it.
type hostPattern struct {
	host string
	wild bool
	port string // "" is the scheme's own, "*" any
}

// newHostList takes lines that the configuration has checked and brought into one form.
func newHostList(lines []string, allowHTTP bool) hostList {
	l := hostList{written: lines, allowHTTP: allowHTTP}
	for _, line := range lines {
		var p hostPattern
		p.host, p.wild = strings.CutPrefix(line, "*.")
		if host, port, err := net.SplitHostPort(p.host); err == nil { // an IPv6 address alone is none
			p.host, p.port = host, port
		}
		p.host = strings.Trim(p.host, "[]")
		l.patterns = append(l.patterns, p)
	}
	return l
}

// allows reports whether a clean URL's host and port stand on the list. An address
// has to stand there itself: no wildcard reaches it.
func (l *hostList) allows(u *url.URL) bool {
	host, port := u.Hostname(), u.Port()
	for _, p := range l.patterns {
		if p.wild && !strings.HasSuffix(host, "."+p.host) || !p.wild && host != p.host {
			continue
		}
		if p.port == "*" || p.port == portOf(u) || p.port == "" && (port == "" || l.allowHTTP) {
			return true
		}
	}
	return false
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// refusal says why a clean URL is not believed, for the platform team, or "".
func (l *hostList) refusal(u *url.URL) string {
	if u.Scheme == "http" && !l.allowHTTP {
		return "its URL is plain http (host " + u.Host + "), over which no token is sent; ask the provider for an https URL"
	}
	if l.allows(u) {
		return ""
	}
	line := u.Host
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if addr = addr.Unmap(); addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() {
			return "its host is the address " + addr.String() + ", where no Document Provider can be; ask " +
				"the keepers of the registry"
		}
		if u.Port() == "" {
			line = u.Hostname()
		}
	}
	return fmt.Sprintf("its host %s is not allowed; if you know it to be right, write under registry in "+
		"config.yaml: allowedHosts: [\"%s\"]", u.Host, strings.Join(append(slices.Clip(l.written), line), `", "`))
}

// cleanURL returns the one form in which a base URL is compared, shown and called:
// scheme and host in lower case, host in ASCII without a final dot, no default
// port, no slash at the end. The error says why it can be nobody's base URL.
func cleanURL(u *url.URL) (*url.URL, error) {
	scheme := u.Scheme
	if scheme != "https" && scheme != "http" {
		return nil, errors.New("its URL is not an https URL")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("its URL holds a user, a query or a fragment, which a base URL must not")
	}
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return nil, errors.New("its URL has no valid host")
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return nil, errors.New("its URL has no valid port")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if err := checkBasePath(path); err != nil {
		return nil, err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && (scheme != "https" || port != "443") && (scheme != "http" || port != "80") {
		host += ":" + port
	}
	// Parsed anew, so that Path and RawPath agree with the trimmed text.
	return url.Parse(scheme + "://" + host + path)
}

// checkBasePath refuses what a server could read as another path than the one
// that links and requests are compared with.
func checkBasePath(escaped string) error {
	for segment := range strings.SplitSeq(escaped, "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, "/\\\x00%") {
			return errors.New("its URL's path holds a dot segment or an encoded slash, backslash or percent sign")
		}
	}
	return nil
}

// canonicalHost returns a host in lower case and ASCII (RFC 5891), without a final
// dot, an address in its shortest form.
func canonicalHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return "", errors.New("an address with a zone means another thing on every machine")
		}
		return addr.Unmap().String(), nil
	}
	// Lookup maps full-width dots and letters, so what comes out is checked, not what went in.
	ascii, err := idna.Lookup.ToASCII(strings.ToLower(strings.TrimSuffix(host, ".")))
	if err != nil || strings.HasSuffix(ascii, ".") || !config.IsHostName(ascii) {
		return "", errors.New("no host name, nor an address in its usual form")
	}
	return ascii, nil
}
