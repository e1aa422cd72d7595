package tenancy_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net/netip"
	"net/url"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/tenancy"
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
	rules := []config.Caller{
		{Name: "everybody"},
		{Name: "listener", Listeners: []string{"internal", "second"}},
		{Name: "all of IPv4", Networks: prefixes("0.0.0.0/0")},
		{Name: "office", Networks: prefixes("10.0.0.0/8", "2001:db8::/32")},
		{Name: "office by listener", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"internal"}},
		{Name: "hr", Networks: prefixes("10.1.0.0/16", "192.0.2.0/24")},
		{Name: "named", ClientCertificates: []config.CertificateMatch{{CommonName: "batch.example"},
			{DNSName: "batch2.example"}}},
		{Name: "named in the office", ClientCertificates: []config.CertificateMatch{{CommonName: "batch.example"}},
			Networks: prefixes("10.0.0.0/8")},
		{Name: "workload", ClientCertificates: []config.CertificateMatch{{URI: "spiffe://example/payroll"}}},
		{Name: "pinned", ClientCertificates: []config.CertificateMatch{{Fingerprint: fingerprintOf("pinned")}}},
		{Name: "pinned at home", ClientCertificates: []config.CertificateMatch{{Fingerprint: fingerprintOf("home")}},
			Networks: prefixes("127.0.0.0/8")},
	}
	callers := tenancy.NewCallers(rules)
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
		"IPv6":                                   {"2001:db8::1", "other", nil, "office"},
		"a v4-mapped peer":                       {"::ffff:10.1.0.1", "other", nil, "hr"},
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
		"a DNS name is not a common name": {"2001:db9::1", "other", certificate("x", "batch2.example", nil), "everybody"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := callers.Identify(tenancy.Peer{Addr: netip.MustParseAddr(c.addr), Listener: c.listener,
				Certificate: c.certificate})
			if !ok || got.Name != c.want {
				t.Fatalf("got %v, %v; want %s", got, ok, c.want)
			}
		})
	}
	if got, _ := callers.Identify(tenancy.Peer{Listener: "internal"}); got.Name != "listener" {
		t.Fatalf("a peer without an address is %s", got.Name)
	}
}

func TestWhoMatchesNoRuleIsNobody(t *testing.T) {
	callers := tenancy.NewCallers([]config.Caller{
		{Name: "hr", Networks: prefixes("10.0.0.0/8"), Listeners: []string{"internal"}},
		{Name: "a", ClientCertificates: []config.CertificateMatch{{DNSName: "a.example"}}},
		{Name: "b", ClientCertificates: []config.CertificateMatch{{DNSName: "b.example"}}},
	})
	for name, p := range map[string]tenancy.Peer{
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
	callers := tenancy.NewCallers(nil)
	got, ok := callers.Identify(tenancy.Peer{})
	if !ok || got.Name != "" || !got.Own || got.May != ebox.All || got.Enterprises != nil ||
		!eboxRoute.In(got.Routes) || got.Class != config.Interactive || callers.List()[0] != got {
		t.Fatalf("%+v, %v", got, ok)
	}
}
