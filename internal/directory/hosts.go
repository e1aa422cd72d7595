package directory

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/config"
)

// hostList is the operator's list of the hosts that a registry may name.
type hostList struct {
	lines     []string // as the configuration has checked them and brought them into one form
	allowHTTP bool
}

// allows reports whether a clean URL's host and port stand on the list. A line is a host or, with
// "*." before it, everything below it; its port is the scheme's own if it has none, and any if it
// is "*". An address has to stand there itself: no wildcard reaches it.
func (l *hostList) allows(u *url.URL) bool {
	return slices.ContainsFunc(l.lines, func(line string) bool {
		host, port, err := net.SplitHostPort(line)
		if err != nil { // there is none, nor has an IPv6 address alone
			host = strings.Trim(line, "[]")
		}
		domain, wild := strings.CutPrefix(host, "*")
		if wild && !strings.HasSuffix(u.Hostname(), domain) || !wild && host != u.Hostname() {
			return false
		}
		return port == "*" || port == portOf(u) || port == "" && (u.Port() == "" || l.allowHTTP)
	})
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

// refusal says why a clean URL is not used, for the platform team, or "".
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
		"config.yaml: allowedHosts: [\"%s\"]", u.Host, strings.Join(append(slices.Clip(l.lines), line), `", "`))
}

// cleanURL reads a base URL in the one form in which it is compared, shown and called: scheme and
// host in lower case, no final dot, no default port, an address in its shortest form, no slash at
// the end. The error says why it can be nobody's base URL.
func cleanURL(link string) (*url.URL, error) {
	u, err := config.BaseURL(link)
	if err != nil {
		return nil, fmt.Errorf("its URL %w", err)
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		host = addr.Unmap().String()
	} else if !config.IsHostName(host) || strings.HasSuffix(host, ".") {
		return nil, errors.New("its URL has no valid host")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && portOf(&url.URL{Scheme: u.Scheme}) != port {
		host += ":" + port
	}
	u.Host = host
	return u, nil
}
