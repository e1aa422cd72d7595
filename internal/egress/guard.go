package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"code.dny.dev/ssrf"
	"golang.org/x/net/idna"
)

// errProhibited marks an address that no upstream may have.
var errProhibited = errors.New("no upstream may be there")

// guard is a Guard in the form that the dialer uses.
type guard struct {
	addresses *ssrf.Guardian
	host      string // canonical; empty for none
	port      string // of host; empty for any
}

func newGuard(g Guard) *guard {
	options := []ssrf.Option{ssrf.WithAnyPort()}
	if g.AllowPrivate {
		options = append(options, ssrf.WithAllowedV4Prefixes(private4...), ssrf.WithAllowedV6Prefixes(private6...))
	}
	host, port, err := net.SplitHostPort(g.Host)
	if err != nil { // there is no port
		host = g.Host
	}
	return &guard{addresses: ssrf.New(options...), host: canonical(host), port: port}
}

var (
	// private4 and private6 are what AllowPrivate opens.
	private4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	}
	private6 = []netip.Prefix{netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("::1/128")}

	// metadata are the services, inside otherwise usable ranges, where clouds hand
	// credentials to whoever asks from the machine. Link-local ones (169.254.169.254
	// and its like) are refused with their range.
	metadata = []netip.Addr{
		netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud, in RFC 6598 space
		netip.MustParseAddr("168.63.129.16"),   // Azure, a public address
		netip.MustParseAddr("fd00:ec2::254"),   // AWS, a unique local address
		netip.MustParseAddr("fd20:ce::254"),    // Google Cloud, likewise
	}

	// nat64 is the well-known prefix of RFC 6052: behind it stands an IPv4 address, in
	// the last four bytes. In a network without IPv4 every upstream is there.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// exempts reports whether the operator named the host that is dialled himself.
func (g *guard) exempts(host, port string) bool {
	return g.host != "" && g.host == canonical(host) && (g.port == "" || g.port == port)
}

// check refuses an address that no upstream may have. It runs once per connection
// that is dialled, not per request.
func (g *guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	inner := addr
	if nat64.Contains(addr) {
		bytes := addr.As16()
		inner = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if slices.Contains(metadata, inner) {
		return fmt.Errorf("%s: %w: it is a metadata service", addr, errProhibited)
	}
	switch {
	case g.addresses.SafeAddr(inner) == nil:
		return nil
	case isPrivate(inner):
		return fmt.Errorf("%s: %w: it is private; if it is right, set allowPrivateNetworks or name the host in the "+
			"configuration", addr, errProhibited)
	}
	return fmt.Errorf("%s: %w: it is link-local, multicast or reserved", addr, errProhibited)
}

func isPrivate(addr netip.Addr) bool {
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	return slices.ContainsFunc(private4, within) || slices.ContainsFunc(private6, within)
}

// canonical is the form in which hosts are compared: ASCII, lower case, without a
// final dot or brackets.
func canonical(host string) string {
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return strings.ToLower(host)
}
