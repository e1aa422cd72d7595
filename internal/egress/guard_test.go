package egress_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

func TestAddressesThatAnUpstreamMayHave(t *testing.T) {
	const (
		never   = "never"
		private = "with AllowPrivate"
		always  = "always"
	)
	// What is allowed goes to the proxy, so that no such address is dialled.
	p := &egressProxy{answer: "HTTP/1.1 502 No\r\n\r\n"}
	e := mustNew(t, egress.Options{Egress: config.Egress{Proxy: config.Secret("http://" + raw(t, p.serve))}})
	for name, c := range map[string]struct{ address, allowed string }{
		"public IPv4":                        {"193.191.245.244", always},
		"public IPv6":                        {"2a01:690:35::1", always},
		"public IPv4, IPv4-mapped":           {"::ffff:193.191.245.244", always},
		"public behind NAT64":                {"64:ff9b::193.191.245.244", always},
		"loopback":                           {"127.0.0.1", private},
		"loopback IPv6":                      {"::1", private},
		"loopback, IPv4-mapped":              {"::ffff:127.0.0.1", private},
		"loopback behind NAT64":              {"64:ff9b::7f00:1", private},
		"RFC 1918, 10/8":                     {"10.1.2.3", private},
		"RFC 1918, 172.16/12":                {"172.31.255.255", private},
		"RFC 1918, IPv4-mapped":              {"::ffff:10.1.2.3", private},
		"just above 172.16/12":               {"172.32.0.1", always},
		"RFC 1918, 192.168/16":               {"192.168.1.1", private},
		"carrier-grade NAT":                  {"100.64.0.1", private},
		"unique local IPv6":                  {"fd12:3456::1", private},
		"link-local":                         {"169.254.1.1", never},
		"link-local IPv6":                    {"fe80::1", never},
		"link-local IPv6 with a zone":        {"fe80::1%eth0", never},
		"metadata":                           {"169.254.169.254", never},
		"metadata behind NAT64":              {"64:ff9b::a9fe:a9fe", never},
		"metadata in shared space":           {"100.100.100.200", never},
		"metadata on a public address":       {"168.63.129.16", never},
		"metadata on a unique local address": {"fd00:ec2::254", never},
		"metadata in 192.0.0.0/24":           {"192.0.0.192", never},
		"unspecified":                        {"0.0.0.0", never},
		"this network":                       {"0.1.2.3", never},
		"reserved":                           {"240.0.0.1", never},
		"multicast":                          {"224.0.0.251", never},
		"multicast IPv6":                     {"ff02::1", never},
		"documentation":                      {"192.0.2.1", never},
		"6to4 around a private address":      {"2002:0a00:0001::1", never},
		"Teredo":                             {"2001:0:4136:e378::1", never},
		"IPv4-compatible":                    {"::7f00:1", never},
		"local-use NAT64":                    {"64:ff9b:1::7f00:1", never},
		"site-local, deprecated":             {"fec0::1", never},
		"discard-only":                       {"100::1", never},
	} {
		t.Run(name, func(t *testing.T) {
			link := "https://" + net.JoinHostPort(url.PathEscape(c.address), "9") + "/" // nobody listens there on loopback
			for g, want := range map[egress.Guard]bool{{}: c.allowed == always, {AllowPrivate: true}: c.allowed != never} {
				_, err := get(t, transport(t, e, patient, g), link)
				f := egress.Classify(err)
				got := f.Kind == problem.ProxyDestinationUnavail && f.Proxy || f.Kind == problem.ProxyConnectionRefused
				if got != want || !want && f.Kind != problem.ProxyIPProhibited {
					t.Errorf("%+v: %+v, want it allowed %s: %v", g, f, c.allowed, err)
				}
			}
		})
	}
}

func TestHostsThatTheOperatorNamed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	dns := &names{addresses: map[string][]netip.Addr{"inside.example.": {loopback}}}
	for name, c := range map[string]struct {
		host, dial string
		allowed    bool
	}{
		"none named, an address":                       {"", "127.0.0.1", false},
		"none named, a name that resolves to one":      {"", "inside.example", false},
		"the address itself":                           {"127.0.0.1", "127.0.0.1", true},
		"the name in another case, with a final dot":   {"Inside.Example.", "inside.example", true},
		"the name with its port":                       {"inside.example:" + port, "inside.example", true},
		"the name with another port":                   {"inside.example:1", "inside.example", false},
		"the address, but another name for it dialled": {"127.0.0.1", "inside.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			tr := transport(t, mustNew(t, egress.Options{Resolver: dns.resolver(t)}), patient, egress.Guard{Host: c.host})
			answer, err := get(t, tr, "http://"+net.JoinHostPort(c.dial, port)+"/")
			if err == nil {
				answer.Body.Close()
			}
			if (err == nil) != c.allowed {
				t.Fatalf("allowed %v, want %v (%v)", err == nil, c.allowed, err)
			}
			if f := egress.Classify(err); !c.allowed && (f.Kind != problem.ProxyIPProhibited || f.Sent || f.Timeout) {
				t.Fatalf("classified %+v: %v", f, err)
			}
		})
	}
}

// A name with a forbidden address beside an allowed one is reached on the latter
// and on no other.
func TestEveryResolvedAddressIsChecked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	dns := &names{addresses: map[string][]netip.Addr{"mixed.example.": {netip.MustParseAddr("169.254.169.254"), loopback}}}
	tr := transport(t, mustNew(t, egress.Options{Resolver: dns.resolver(t)}), patient, egress.Guard{AllowPrivate: true})
	answer, err := get(t, tr, "http://mixed.example:"+port+"/")
	testkit.Must(t, err)
	answer.Body.Close()

	dns.addresses["mixed.example."] = []netip.Addr{netip.MustParseAddr("169.254.169.254")}
	tr.CloseIdleConnections()
	if _, err = get(t, tr, "http://mixed.example:"+port+"/"); egress.Classify(err).Kind != problem.ProxyIPProhibited {
		t.Fatalf("after the name moved: %v", err)
	}
	if !strings.Contains(err.Error(), "link-local") {
		t.Errorf("the error does not say why: %v", err)
	}
}
