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
