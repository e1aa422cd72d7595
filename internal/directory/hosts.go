package directory

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/config"
)

// allowed reports whether the host and port of a provider's URL stand on the operator's list. A line is a
// host or, with "*." before it, everything below it; its port is the scheme's own if it has none, and any
// if it is "*". An address has to stand there itself: no wildcard reaches it.
func allowed(u *url.URL, r *config.Registry) bool {
	return slices.ContainsFunc(r.AllowedHosts, func(line string) bool {
		host, port, err := net.SplitHostPort(line)
		if err != nil { // there is none
			host = line
		}
		domain, wild := strings.CutPrefix(host, "*")
		if wild && !strings.HasSuffix(u.Hostname(), domain) || !wild && host != u.Hostname() {
			return false
		}
		return port == "*" || port == portOf(u) || port == "" && (u.Port() == "" || r.AllowHTTP)
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

// refusal says why a provider's URL is not used, for the platform team, or "".
func refusal(u *url.URL, r *config.Registry) string {
	if u.Scheme == "http" && !r.AllowHTTP {
		return "its URL is plain http (host " + u.Host + "), over which no token is sent; ask the provider for an https URL"
	}
	if allowed(u, r) {
		return ""
	}
	line := u.Host
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr.Zone() != "" {
			return "its host is the address " + addr.String() + ", where no Document Provider can be; ask " +
				"the keepers of the registry"
		}
		if u.Port() == "" {
			line = u.Hostname()
		}
	}
	return fmt.Sprintf("its host %s is not allowed; if you know it to be right, write under registry in "+
		"config.yaml: allowedHosts: [\"%s\"]", u.Host, strings.Join(append(slices.Clip(r.AllowedHosts), line), `", "`))
}
