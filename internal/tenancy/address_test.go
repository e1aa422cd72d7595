package tenancy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddr(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "fd00::/8")
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"no trusted proxies: the header means nothing": {"10.0.0.1", []string{"192.0.2.1"}, nil, "10.0.0.1"},
		"a stranger's header means nothing":            {"192.0.2.9", []string{"10.1.1.1"}, trusted, "192.0.2.9"},
		"a trusted proxy names the caller":             {"10.0.0.1", []string{"192.0.2.1"}, trusted, "192.0.2.1"},
		"what the caller wrote is left of it": {
			"10.0.0.1", []string{"127.0.0.1, 192.0.2.1, 10.0.0.2"}, trusted, "192.0.2.1"},
		"several fields are one list": {
			"10.0.0.1", []string{"127.0.0.1", "192.0.2.1", "10.0.0.2"}, trusted, "192.0.2.1"},
		"all are trusted: the leftmost": {"10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, trusted, "10.0.0.3"},
		"no header: the proxy itself":   {"10.0.0.1", nil, trusted, "10.0.0.1"},
		"garbage: the proxy that passed it on": {
			"10.0.0.1", []string{"192.0.2.1, nonsense, 10.0.0.2"}, trusted, "10.0.0.2"},
		"empty entry: the proxy":               {"10.0.0.1", []string{"192.0.2.1,"}, trusted, "10.0.0.1"},
		"leading zeros are garbage":            {"10.0.0.1", []string{"192.0.02.1"}, trusted, "10.0.0.1"},
		"with a port":                          {"10.0.0.1", []string{"192.0.2.1:4711"}, trusted, "192.0.2.1"},
		"IPv6":                                 {"fd00::1", []string{"2001:db8::1"}, trusted, "2001:db8::1"},
		"IPv6 in brackets with a port":         {"fd00::1", []string{"[2001:db8::1]:4711"}, trusted, "2001:db8::1"},
		"a v4-mapped peer is its IPv4 address": {"::ffff:10.0.0.1", []string{"::ffff:192.0.2.1"}, trusted, "192.0.2.1"},
		"::/0 trusts no IPv4 proxy":            {"10.0.0.1", []string{"192.0.2.1"}, prefixes("::/0"), "10.0.0.1"},
		"zones are dropped":                    {"fd00::1%eth0", []string{"fe80::1%eth1"}, trusted, "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ClientAddr(netip.MustParseAddr(c.remote), c.forwarded, c.trusted)
			if got != netip.MustParseAddr(c.want) {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
	if got := ClientAddr(netip.Addr{}, []string{"192.0.2.1"}, prefixes("0.0.0.0/0", "::/0")); got.IsValid() {
		t.Fatalf("the header of a peer without an address counted: %s", got)
	}
}

// Whatever the header says, the answer is the peer, or an address that a chain of
// trusted hops vouches for.
func FuzzClientAddr(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "192.0.2.1, 10.0.0.2", "unknown,10.0.0.2", ",", "[2001:db8::1]:1, 10.9.9.9",
		"::ffff:10.1.1.1%x"} {
		f.Add("10.0.0.1", seed)
	}
	f.Add("192.0.2.7", "10.0.0.2")
	trusted := prefixes("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		remote, err := netip.ParseAddr(peer)
		if err != nil {
			return
		}
		got := ClientAddr(remote, []string{forwarded}, trusted)
		if got != plain(got) {
			t.Fatalf("%s is not in plain form", got)
		}
		if got == plain(remote) {
			return
		}
		if !isTrusted(plain(remote), trusted) {
			t.Fatalf("the header of the stranger %s counted: %s", remote, got)
		}
		entries := strings.Split(forwarded, ",")
		for i := len(entries) - 1; i >= 0; i-- {
			a, ok := parseForwarded(entries[i])
			if !ok {
				t.Fatalf("%s stands left of garbage in %q", got, forwarded)
			}
			if a == got {
				return
			}
			if !isTrusted(a, trusted) {
				t.Fatalf("%s stands left of the untrusted %s in %q", got, a, forwarded)
			}
		}
		t.Fatalf("%s is not in %q", got, forwarded)
	})
}
