package tenancy

import (
	"net/netip"
	"slices"
	"strings"
)

// ClientAddr finds the address of the caller: remote, the peer of the connection,
// unless that is one of the trusted proxies. Then the entries of X-Forwarded-For
// are read from the right, each written by the hop that was trusted before it,
// until one names an address that is no trusted proxy; that is the caller. What
// stands left of it was written by the caller and means nothing.
//
// It fails closed. An entry that is no address (a name, "unknown", an empty entry)
// ends the walk, and the caller is the trusted proxy that passed it on, which a rule
// should not allow more than the callers behind it. The same goes for a proxy that
// sent no X-Forwarded-For. If every entry is a trusted proxy, the leftmost is the
// caller. Without trusted proxies the header is not looked at.
//
// Entries may carry a port. IPv4-mapped addresses count as IPv4, and zones are
// dropped. xForwardedFor holds the fields in the order received; remote may be
// invalid (a Unix socket) and is then never trusted.
func ClientAddr(remote netip.Addr, xForwardedFor []string, trusted []netip.Prefix) netip.Addr {
	hop := plain(remote)
	for i := len(xForwardedFor) - 1; i >= 0; i-- {
		list := xForwardedFor[i]
		for more := true; more && isTrusted(hop, trusted); {
			entry := list
			comma := strings.LastIndexByte(list, ',')
			if more = comma >= 0; more {
				entry, list = list[comma+1:], list[:comma]
			}
			before, ok := parseForwarded(entry)
			if !ok {
				return hop
			}
			hop = before
		}
	}
	return hop
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseForwarded reads an entry: an address, with or without a port, in brackets
// or not.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	if a, err := netip.ParseAddr(entry); err == nil {
		return plain(a), true
	}
	for _, port := range []string{"", ":0"} { // [2001:db8::1] lacks nothing but the port
		if a, err := netip.ParseAddrPort(entry + port); err == nil {
			return plain(a.Addr()), true
		}
	}
	return netip.Addr{}, false
}

// plain gives an address the one form in which addresses are compared.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
