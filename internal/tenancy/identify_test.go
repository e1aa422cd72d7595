package tenancy

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

func certificate(raw, commonName string, dns []string, uris ...string) *x509.Certificate {
	c := &x509.Certificate{Raw: []byte(raw), Subject: pkix.Name{CommonName: commonName}, DNSNames: dns}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

func fingerprintOf(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(sum[:])
}

func TestTheMostSpecificRuleWins(t *testing.T) {
	rules := []Caller{
		{Name: "everybody"},
		{Name: "listener", Listeners: []string{"internal", "second"}},
		{Name: "all of IPv4", Networks: prefixes("0.0.0.0/0")},
		{Name: "office", Networks: prefixes("10.0.0.0/8", "2001:db8::/32")},
		{Name: "office by listener", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"internal"}},
		{Name: "hr", Networks: prefixes("10.1.0.0/16", "192.0.2.0/24")},
		{Name: "mapped", Networks: prefixes("::ffff:172.16.0.0/108")},
		{Name: "named", Certificates: []CertificateMatch{{CommonName: "batch.example"}, {DNSName: "batch2.example"}}},
		{Name: "named in the office", Certificates: []CertificateMatch{{CommonName: "batch.example"}},
			Networks: prefixes("10.0.0.0/8")},
		{Name: "workload", Certificates: []CertificateMatch{{URI: "spiffe://example/payroll"}}},
		{Name: "pinned", Certificates: []CertificateMatch{{SHA256: strings.ToUpper(fingerprintOf("pinned"))}}},
		{Name: "pinned at home", Certificates: []CertificateMatch{{SHA256: fingerprintOf("home")}},
			Networks: prefixes("127.0.0.0/8")},
	}
	callers, err := NewCallers(rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		addr, listener string
		certificate    *x509.Certificate
		want           string
	}{
		"no criterion matches":                   {"2001:db9::1", "other", nil, "everybody"},
		"the listener alone":                     {"2001:db9::1", "second", nil, "listener"},
		"any prefix before the listener":         {"198.51.100.1", "internal", nil, "all of IPv4"},
		"a longer prefix":                        {"10.2.0.1", "other", nil, "office"},
		"the same prefix and the listener":       {"10.2.0.1", "internal", nil, "office by listener"},
		"the longest prefix before the listener": {"10.1.0.1", "internal", nil, "hr"},
		"another prefix of the same rule":        {"192.0.2.200", "other", nil, "hr"},
		"IPv6":                                   {"2001:db8::1", "other", nil, "office"},
		"IPv6 with a zone":                       {"2001:db8::1%eth0", "other", nil, "office"},
		"a v4-mapped peer":                       {"::ffff:10.1.0.1", "other", nil, "hr"},
		"a v4-mapped network":                    {"172.17.0.1", "other", nil, "mapped"},
		"a certificate before the longest prefix": {
			"192.0.2.1", "internal", certificate("x", "batch.example", nil), "named"},
		"a certificate in its network": {
			"10.1.0.1", "internal", certificate("x", "batch.example", nil), "named in the office"},
		"a DNS name, whatever its case": {
			"192.0.2.1", "other", certificate("x", "", []string{"a.example", "Batch2.Example"}), "named"},
		"a URI before a common name": {
			"10.1.0.1", "other", certificate("x", "batch.example", nil, "spiffe://example/payroll"), "workload"},
		"a fingerprint before everything": {
			"10.1.0.1", "internal", certificate("pinned", "batch.example", nil, "spiffe://example/payroll"), "pinned"},
		"a fingerprint outside its network": {"10.1.0.1", "other", certificate("home", "", nil), "hr"},
		"a fingerprint inside its network":  {"127.0.0.9", "other", certificate("home", "", nil), "pinned at home"},
		"a common name in another case is another": {
			"2001:db9::1", "other", certificate("x", "Batch.Example", nil), "everybody"},
		"a DNS name is not a common name":  {"2001:db9::1", "other", certificate("x", "batch2.example", nil), "everybody"},
		"a certificate that no rule names": {"10.1.0.1", "other", certificate("x", "stranger", nil), "hr"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := callers.Identify(Peer{Addr: netip.MustParseAddr(c.addr), Listener: c.listener,
				Certificate: c.certificate})
			if !ok || got.Name != c.want {
				t.Fatalf("got %v, %v; want %s", got, ok, c.want)
			}
		})
	}
	if got, _ := callers.Identify(Peer{Listener: "internal"}); got.Name != "listener" {
		t.Fatalf("a peer without an address is %s", got.Name)
	}
}

func TestWhoMatchesNoRuleIsNobody(t *testing.T) {
	callers, err := NewCallers([]Caller{
		{Name: "hr", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"internal"}},
		{Name: "a", Certificates: []CertificateMatch{{DNSName: "a.example"}}},
		{Name: "b", Certificates: []CertificateMatch{{DNSName: "b.example"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Peer{
		"the network without the listener": {Addr: netip.MustParseAddr("10.0.0.1"), Listener: "other"},
		"the listener without the network": {Addr: netip.MustParseAddr("11.0.0.1"), Listener: "internal"},
		"a certificate with the names of two": {
			Addr: netip.MustParseAddr("10.0.0.1"), Listener: "internal", Certificate: certificate("x", "",
				[]string{"a.example", "b.example"})},
		"nothing known": {},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := callers.Identify(p); ok || got != nil {
				t.Fatalf("identified as %s", got.Name)
			}
		})
	}
}

func TestWithoutRulesEverybodyMayEverything(t *testing.T) {
	for name, list := range map[string][]Caller{"nil": nil, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			callers, err := NewCallers(list)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := callers.Identify(Peer{})
			if !ok || got.Name != "" || !got.Own || got.May != ebox.All || !got.mayRepresent(dairy) ||
				!eboxRoute.in(got.Routes) || got.Class != ClassInteractive {
				t.Fatalf("%+v, %v", got, ok)
			}
			if len(callers.List()) != 1 || callers.List()[0] != got {
				t.Fatal("it is not in the list")
			}
		})
	}
}

func TestCallerRulesThatAreRefused(t *testing.T) {
	internal := []string{"internal"}
	for name, c := range map[string]struct {
		list []Caller
		want string
	}{
		"the same network": {
			[]Caller{{Name: "a", Networks: prefixes("10.0.0.0/8")},
				{Name: "b", Networks: prefixes("10.9.0.0/16", "10.0.0.0/8")}},
			`"b"): the network 10.0.0.0/8 is also what rule "a" is about`},
		"the same network, host bits": {
			[]Caller{{Name: "a", Networks: prefixes("10.0.0.0/8")}, {Name: "b", Networks: prefixes("10.1.2.3/8")}},
			"10.0.0.0/8"},
		"the same network, v4-mapped": {
			[]Caller{{Name: "a", Networks: prefixes("10.0.0.0/8")}, {Name: "b", Networks: prefixes("::ffff:10.0.0.0/104")}},
			"10.0.0.0/8"},
		"the same listener": {
			[]Caller{{Name: "a", Listeners: internal}, {Name: "b", Listeners: internal}}, "the listener internal"},
		"the same network and listener": {
			[]Caller{{Name: "a", Listeners: internal, Networks: prefixes("10.0.0.0/8")}, {Name: "b", Listeners: internal,
				Networks: prefixes("10.0.0.0/8")}}, "the network 10.0.0.0/8 with the listener internal"},
		"the same certificate": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{DNSName: "A.example"}}},
				{Name: "b", Certificates: []CertificateMatch{{DNSName: "a.EXAMPLE"}}}}, "the client certificate DNS a.example"},
		"the same fingerprint": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{SHA256: strings.Repeat("ab:", 31) + "ab"}}},
				{Name: "b", Certificates: []CertificateMatch{{SHA256: strings.Repeat("AB", 32)}}}}, "SHA-256 abab"},
		"everybody twice": {[]Caller{{Name: "a"}, {Name: "b"}}, "everybody"},
		"the same name": {
			[]Caller{{Name: "a", Listeners: internal}, {Name: "a"}}, "another rule has this name"},
		"no name":                 {[]Caller{{}}, "it has no name"},
		"no network in the list":  {[]Caller{{Name: "a", Networks: []netip.Prefix{}}}, "list of networks is empty"},
		"no listener in the list": {[]Caller{{Name: "a", Listeners: []string{}}}, "list of listeners is empty"},
		"no certificate in the list": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{}}}, "list of client certificates is empty"},
		"a listener without a name": {[]Caller{{Name: "a", Listeners: []string{""}}}, "no name"},
		"a network that is none":    {[]Caller{{Name: "a", Networks: []netip.Prefix{{}}}}, "not valid"},
		"a certificate without criteria": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{}}}}, "says nothing to recognise it by"},
		"a short fingerprint": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{SHA256: "abab"}}}}, "not a SHA-256"},
		"a long fingerprint": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{SHA256: strings.Repeat("ab", 33)}}}}, "not a SHA-256"},
		"a fingerprint in no hexadecimal": {
			[]Caller{{Name: "a", Certificates: []CertificateMatch{{SHA256: strings.Repeat("xy", 32)}}}}, "not a SHA-256"},
		"a default that is not allowed": {[]Caller{{Name: "a", Enterprises: []enterprise.Number{bakery}, Default: dairy}},
			"default enterprise 0800002352"},
		"an enterprise without a number": {[]Caller{{Name: "a", Enterprises: []enterprise.Number{0}}}, "no number"},
		"a class of its own":             {[]Caller{{Name: "a", Class: "bulk"}}, `"bulk"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewCallers(c.list)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestRulesThatOnlyLookLikeTies(t *testing.T) {
	for name, list := range map[string][]Caller{
		"one network, two listeners": {{Name: "a", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"x"}}, {
			Name: "b", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"y"}}},
		"equal lengths of different networks": {{Name: "a", Networks: prefixes("10.0.0.0/8")}, {
			Name: "b", Networks: prefixes("11.0.0.0/8", "a00::/8")}},
		"one rule that repeats itself": {{Name: "a", Networks: prefixes("10.0.0.0/8", "10.0.0.0/8")}},
		"one certificate, two networks": {
			{Name: "a", Certificates: []CertificateMatch{{CommonName: "c"}}, Networks: prefixes("10.0.0.0/8")}, {
				Name: "b", Certificates: []CertificateMatch{{CommonName: "c"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewCallers(list); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCallersDoNotFollowTheirInput(t *testing.T) {
	list := []Caller{{Name: "a", Enterprises: []enterprise.Number{bakery}}}
	callers, err := NewCallers(list)
	if err != nil {
		t.Fatal(err)
	}
	list[0].Own, list[0].Enterprises[0] = true, dairy
	if got := callers.List()[0]; got.Own || !got.mayRepresent(bakery) || got.mayRepresent(dairy) {
		t.Fatalf("the rule changed: %+v", got)
	}
}

func TestARuleThatWasNotCompiledRepresentsNobody(t *testing.T) {
	c := &Caller{Name: "a", Enterprises: []enterprise.Number{bakery}, May: ebox.All}
	if _, err := resolver(t, Any).Resolve(c, eboxRoute, ebox.List, "GET", inHeader("0206731645")); status(t, err) != 403 {
		t.Fatalf("%v", err)
	}
}
