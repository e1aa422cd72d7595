package tenancy

import (
	"net/http"
	"net/netip"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// BenchmarkResolve is what every request on an e-Box route pays here: finding its
// rule, its number and its enterprise among 100,000.
func BenchmarkResolve(b *testing.B) {
	list := enterprises(100_000)
	r := NewResolver(config.Tenancy{Enterprises: list, DefaultClient: "payroll"}, clock)
	callers := NewCallers([]config.Caller{
		{Name: "hr", Networks: prefixes("10.1.0.0/16"), May: ebox.All},
		{Name: "batch", Networks: prefixes("10.2.0.0/16"), May: ebox.All},
		{Name: "portal", Listeners: []string{"internal"}, May: ebox.All},
	})
	number := list[77_777].Number.String()
	peer := Peer{Addr: netip.MustParseAddr("10.2.3.4"), Listener: "internal"}
	resolve := func(b *testing.B, claim func() Claim) {
		b.ReportAllocs()
		for b.Loop() {
			c, _ := callers.Identify(peer)
			if t, err := r.Resolve(c, eboxRoute, ebox.List, "GET", claim()); err != nil || t.Number == 0 {
				b.Fatal(err)
			}
		}
	}
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Accept-Encoding": {"gzip"}, RepresentedHeader: {number}}
	b.Run("header", func(b *testing.B) { resolve(b, func() Claim { return Claim{Header: HeaderValues(h)} }) })
	path := enterprisesPath + number + "/ebox/providers/nsso/ebox/messages"
	b.Run("path", func(b *testing.B) {
		resolve(b, func() Claim {
			segment, _, found, _ := CutPath(path)
			return Claim{Path: segment, HasPath: found}
		})
	})
}

// The header's value and the slice around it are all that resolving allocates.
func TestResolvingAllocatesLittle(t *testing.T) {
	r := resolver(config.Listed)
	c := caller(t, config.Caller{May: ebox.All, Enterprises: []enterprise.Number{bakery}, Routes: []string{"ebox"}})
	claim := inHeader("0206.731.645")
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Resolve(c, eboxRoute, ebox.List, "GET", claim) }); n > 2 {
		t.Fatalf("%v allocations", n)
	}
}
