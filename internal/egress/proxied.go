package egress

import (
	"cmp"
	"net"
	"net/url"
)

// Proxied gives the address of the egress proxy, host:port, that requests to u go
// through; false if u is dialled directly.
func (e *Egress) Proxied(u *url.URL) (string, bool) {
	if e.proxy == nil {
		return "", false
	}
	port := cmp.Or(u.Port(), "443")
	if u.Scheme == "http" {
		port = cmp.Or(u.Port(), "80")
	}
	return e.proxy.address, e.proxy.applies(u.Scheme, net.JoinHostPort(u.Hostname(), port))
}
