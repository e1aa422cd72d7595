package tenancy_test

import (
	"net/netip"
	"testing"

	"ebox-gateway/internal/tenancy"
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
		"with a port":                          {"10.0.0.1", []string{"192.0.2.1:4711"}, trusted, "192.0.2.1"},
		"IPv6 in brackets with a port":         {"fd00::1", []string{"[2001:db8::1]:4711"}, trusted, "2001:db8::1"},
		"a v4-mapped peer is its IPv4 address": {"::ffff:10.0.0.1", []string{"::ffff:192.0.2.1"}, trusted, "192.0.2.1"},
		"::/0 trusts no IPv4 proxy":            {"10.0.0.1", []string{"192.0.2.1"}, prefixes("::/0"), "10.0.0.1"},
		"zones are dropped":                    {"fd00::1%eth0", []string{"fe80::1%eth1"}, trusted, "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tenancy.ClientAddr(netip.MustParseAddr(c.remote), c.forwarded, c.trusted)
			if got != netip.MustParseAddr(c.want) {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
	if got := tenancy.ClientAddr(netip.Addr{}, []string{"192.0.2.1"}, prefixes("0.0.0.0/0", "::/0")); got.IsValid() {
		t.Fatalf("the header of a peer without an address counted: %s", got)
	}
}

// What stands left of an address that is no trusted proxy was written by the caller.
func FuzzClientAddr(f *testing.F) {
	for _, right := range []string{"192.0.2.1", "192.0.2.1, 10.0.0.2", "unknown,10.0.0.2", ",",
		"[2001:db8::1]:1, 10.9.9.9", "::ffff:10.1.1.1%x"} {
		f.Add("10.0.0.1", "127.0.0.1", right)
	}
	f.Add("192.0.2.7", "127.0.0.1", "10.0.0.2")
	trusted := prefixes("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, peer, left, right string) {
		remote, err := netip.ParseAddr(peer)
		if err != nil {
			return
		}
		got := tenancy.ClientAddr(remote, []string{right}, trusted)
		if got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%s is not in plain form", got)
		}
		whole := tenancy.ClientAddr(remote, []string{left + "," + right}, trusted)
		if !trusted[0].Contains(got) && whole != got {
			t.Fatalf("%s stands left of the untrusted %s in %q, %q", whole, got, left, right)
		}
	})
}
