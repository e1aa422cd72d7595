package tenancy

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Caller is a caller rule of the configuration. One that did not pass through NewCallers
// represents nobody, unless its Enterprises are nil, which means all.
type Caller struct {
	config.Caller
	numbers map[enterprise.Number]bool // Enterprises, if not nil
}

// mayRepresent reports whether the rule lets the caller act for n.
func (c *Caller) mayRepresent(n enterprise.Number) bool {
	return c.Enterprises == nil || c.numbers[n]
}

// Peer is the other side of a connection.
type Peer struct {
	// Addr is its address, as ClientAddr found it.
	Addr netip.Addr
	// Listener is the name of the listener it came in by.
	Listener string
	// Certificate is its client certificate, nil without one. It must have been
	// verified against the listener's CA: names in an unverified certificate are
	// whatever its author wrote.
	Certificate *x509.Certificate
}

// Callers are the caller rules, ready to recognise peers. They are immutable.
type Callers struct {
	list []*Caller
	// criteria are all the ways to match a rule, the most specific first.
	criteria []criterion
}

// criterion is one way to match one rule.
type criterion struct {
	config.Criterion
	caller *Caller
}

// NewCallers takes rules that the configuration has checked: no name stands twice, each says
// whom it recognises, and no two of them the same peers by the same means. An empty list is
// one unnamed caller, everybody, who may everything, own included.
func NewCallers(list []config.Caller) *Callers {
	if len(list) == 0 {
		list = []config.Caller{{Own: true, May: ebox.All, Class: config.Interactive}}
	}
	c := &Callers{}
	for _, rule := range list {
		caller := &Caller{Caller: rule, numbers: make(map[enterprise.Number]bool, len(rule.Enterprises))}
		for _, n := range rule.Enterprises {
			caller.numbers[n] = true
		}
		c.list = append(c.list, caller)
		for _, by := range rule.Criteria() {
			c.criteria = append(c.criteria, criterion{by, caller})
		}
	}
	slices.SortStableFunc(c.criteria, func(a, b criterion) int { return b.compare(&a) })
	return c
}

// List gives the rules in the order of the configuration. They must not be changed.
func (c *Callers) List() []*Caller { return c.list }

// Identify finds the rule that p falls under; false if there is none.
//
// The most specific match wins. Matches are compared by these, in this order:
//
//  1. The client certificate: a rule that names one is more specific than a rule
//     that names none; a fingerprint is more specific than a URI, that than a DNS
//     name, that than a common name, and several of them than the first alone.
//  2. The network: the longest matching prefix; any prefix, 0.0.0.0/0 too, is more
//     specific than no network.
//  3. The listener: a named one is more specific than none.
//
// The configuration refuses rules that tie for every peer they share. What it cannot
// see is a certificate that carries the DNS names of two rules: such a peer is nobody,
// since either choice could be the wrong one.
func (c *Callers) Identify(p Peer) (*Caller, bool) {
	p.Addr = plain(p.Addr)
	var found *criterion
	for i := range c.criteria {
		at := &c.criteria[i]
		if found != nil && found.compare(at) != 0 {
			break
		}
		if !at.admits(&p) {
			continue
		}
		if found != nil && found.caller != at.caller {
			return nil, false
		}
		found = at
	}
	if found == nil {
		return nil, false
	}
	return found.caller, true
}

// compare orders criteria by how specific they are. Lengths of IPv4 and IPv6 prefixes
// are compared as they are: no address is in both.
func (k *criterion) compare(other *criterion) int {
	return cmp.Or(
		cmp.Compare(rank(&k.Certificate), rank(&other.Certificate)),
		cmp.Compare(k.Network.Bits(), other.Network.Bits()), // -1 if not valid
		cmp.Compare(min(1, len(k.Listener)), min(1, len(other.Listener))),
	)
}

func (k *criterion) admits(p *Peer) bool {
	return (k.Listener == "" || k.Listener == p.Listener) &&
		(!k.Network.IsValid() || k.Network.Contains(p.Addr)) &&
		(k.Certificate == config.CertificateMatch{} || p.Certificate != nil && recognises(&k.Certificate, p.Certificate))
}

// rank counts each part of a certificate for more than all the weaker ones together.
func rank(m *config.CertificateMatch) int {
	rank := 0
	for i, part := range []string{m.CommonName, m.DNSName, m.URI, m.Fingerprint} {
		if part != "" {
			rank |= 1 << i
		}
	}
	return rank
}

// recognises reports whether all parts that are given are the certificate's. A wildcard among
// its DNS names means nothing here.
func recognises(m *config.CertificateMatch, c *x509.Certificate) bool {
	return (m.Fingerprint == "" || m.Fingerprint == fingerprint(c)) &&
		(m.CommonName == "" || m.CommonName == c.Subject.CommonName) &&
		(m.DNSName == "" ||
			slices.ContainsFunc(c.DNSNames, func(name string) bool { return strings.EqualFold(name, m.DNSName) })) &&
		(m.URI == "" || slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == m.URI }))
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}
