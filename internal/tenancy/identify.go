package tenancy

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ebox-gateway/internal/enterprise"
)

// Callers are the caller rules, compiled. They are immutable.
type Callers struct {
	list []*Caller
	// criteria are all the ways to match a rule, the most specific first.
	criteria []criterion
}

// criterion is one way to match one rule: one value of each kind that the rule
// names.
type criterion struct {
	key    criterionKey
	caller *Caller
}

// criterionKey is what a peer is compared with. Two rules with an equal key are a
// tie.
type criterionKey struct {
	certificate certificateKey // zero: none needed
	network     netip.Prefix   // not valid: any address
	listener    string         // empty: any
}

// NewCallers compiles the rules. An empty list is one unnamed caller, everybody,
// who may everything, own included. The list is copied.
//
// Errors name the rule: two rules that cannot be told apart (the same network, or
// the same certificate, on the same listener), a name twice, a default enterprise
// that the rule itself does not allow, a criterion that is empty.
func NewCallers(list []Caller) (*Callers, error) {
	if len(list) == 0 {
		all := everybody()
		return &Callers{list: []*Caller{&all}, criteria: []criterion{{caller: &all}}}, nil
	}
	c := &Callers{}
	names := make(map[string]bool, len(list))
	taken := make(map[criterionKey]*Caller)
	for i := range list {
		caller := list[i]
		caller.Enterprises, caller.Routes = slices.Clone(caller.Enterprises), slices.Clone(caller.Routes)
		caller.numbers = make(map[enterprise.Number]bool, len(caller.Enterprises))
		for _, n := range caller.Enterprises {
			caller.numbers[n] = true
		}
		if err := caller.check(); err != nil {
			return nil, fmt.Errorf("reading caller rule %d (%q): %w", i+1, caller.Name, err)
		}
		if names[caller.Name] {
			return nil, fmt.Errorf("reading caller rule %d (%q): another rule has this name: rename one", i+1, caller.Name)
		}
		names[caller.Name] = true
		keys, err := caller.keys()
		if err != nil {
			return nil, fmt.Errorf("reading caller rule %d (%q): %w", i+1, caller.Name, err)
		}
		for _, key := range keys {
			if other := taken[key]; other != nil && other != &caller {
				return nil, fmt.Errorf("reading caller rule %d (%q): %s is also what rule %q is about, so that neither is the "+
					"more specific: narrow one of them",
					i+1, caller.Name, key, other.Name)
			}
			taken[key] = &caller
			c.criteria = append(c.criteria, criterion{key, &caller})
		}
		c.list = append(c.list, &caller)
	}
	slices.SortStableFunc(c.criteria, func(a, b criterion) int { return b.key.compare(a.key) })
	return c, nil
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
// NewCallers refuses rules that tie for every peer they share. What it cannot see
// is a certificate that carries the DNS names of two rules: such a peer is nobody,
// since either choice could be the wrong one.
func (c *Callers) Identify(p Peer) (*Caller, bool) {
	p.Addr = plain(p.Addr)
	var fingerprint [sha256.Size]byte
	var found *criterion
	for i := range c.criteria {
		at := &c.criteria[i]
		if found != nil && found.key.compare(at.key) != 0 {
			break
		}
		if !at.key.admits(&p, &fingerprint) {
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

// keys are all the ways to match the rule.
func (c *Caller) keys() ([]criterionKey, error) {
	certificates := make([]certificateKey, max(1, len(c.Certificates)))
	for i, match := range c.Certificates {
		key, err := match.key()
		if err != nil {
			return nil, err
		}
		certificates[i] = key
	}
	networks := make([]netip.Prefix, max(1, len(c.Networks)))
	for i, p := range c.Networks {
		networks[i] = plainPrefix(p).Masked()
	}
	listeners := c.Listeners
	if listeners == nil {
		listeners = []string{""}
	}
	var keys []criterionKey
	for _, certificate := range certificates {
		for _, network := range networks {
			for _, listener := range listeners {
				keys = append(keys, criterionKey{certificate, network, listener})
			}
		}
	}
	return keys, nil
}

// compare orders keys by how specific they are. Lengths of IPv4 and IPv6 prefixes
// are compared as they are: no address is in both.
func (k *criterionKey) compare(other criterionKey) int {
	return cmp.Or(
		cmp.Compare(k.certificate.rank(), other.certificate.rank()),
		cmp.Compare(k.network.Bits(), other.network.Bits()), // -1 if not valid
		cmp.Compare(min(1, len(k.listener)), min(1, len(other.listener))),
	)
}

// admits tells whether p meets the key. fingerprint holds the certificate's, once
// it was needed.
func (k *criterionKey) admits(p *Peer, fingerprint *[sha256.Size]byte) bool {
	if k.listener != "" && k.listener != p.Listener {
		return false
	}
	if k.network.IsValid() && !k.network.Contains(p.Addr) {
		return false
	}
	return k.certificate == certificateKey{} || p.Certificate != nil && k.certificate.admits(p.Certificate, fingerprint)
}

// String says what the key matches, for the error about a tie.
func (k criterionKey) String() string {
	var parts []string
	if k.certificate != (certificateKey{}) {
		parts = append(parts, "the client certificate "+k.certificate.String())
	}
	if k.network.IsValid() {
		parts = append(parts, "the network "+k.network.String())
	}
	if k.listener != "" {
		parts = append(parts, "the listener "+k.listener)
	}
	if parts == nil {
		return "everybody"
	}
	return strings.Join(parts, " with ")
}

// certificateKey is a CertificateMatch in comparable form.
type certificateKey struct {
	commonName, dnsName, uri string
	fingerprint              [sha256.Size]byte // zero: not compared
}

func (m CertificateMatch) key() (certificateKey, error) {
	k := certificateKey{commonName: m.CommonName, dnsName: strings.ToLower(m.DNSName), uri: m.URI}
	if m.SHA256 != "" {
		sum, err := hex.DecodeString(strings.ReplaceAll(m.SHA256, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return k, fmt.Errorf("the fingerprint %q is not a SHA-256: write its 64 hexadecimal digits, colons allowed",
				m.SHA256)
		}
		copy(k.fingerprint[:], sum)
	}
	if k == (certificateKey{}) {
		return k, errors.New("one of its client certificates says nothing to recognise it by: name a common name, a DNS " +
			"name, a URI or a SHA-256 fingerprint")
	}
	return k, nil
}

// rank counts each kind of criterion for more than all the weaker ones together.
func (k *certificateKey) rank() int {
	rank := 0
	if k.commonName != "" {
		rank |= 1
	}
	if k.dnsName != "" {
		rank |= 2
	}
	if k.uri != "" {
		rank |= 4
	}
	if k.fingerprint != [sha256.Size]byte{} {
		rank |= 8
	}
	return rank
}

func (k *certificateKey) admits(c *x509.Certificate, fingerprint *[sha256.Size]byte) bool {
	if k.fingerprint != [sha256.Size]byte{} {
		if *fingerprint == [sha256.Size]byte{} {
			*fingerprint = sha256.Sum256(c.Raw)
		}
		if k.fingerprint != *fingerprint {
			return false
		}
	}
	if k.commonName != "" && k.commonName != c.Subject.CommonName {
		return false
	}
	if k.dnsName != "" && !slices.ContainsFunc(c.DNSNames,
		func(name string) bool { return strings.EqualFold(name, k.dnsName) }) {
		return false
	}
	if k.uri == "" {
		return true
	}
	for _, u := range c.URIs {
		if u.String() == k.uri {
			return true
		}
	}
	return false
}

func (k *certificateKey) String() string {
	var parts []string
	for _, p := range [...]struct{ kind, value string }{{"CN", k.commonName}, {"DNS", k.dnsName}, {"URI", k.uri}} {
		if p.value != "" {
			parts = append(parts, p.kind+" "+p.value)
		}
	}
	if k.fingerprint != [sha256.Size]byte{} {
		parts = append(parts, "SHA-256 "+hex.EncodeToString(k.fingerprint[:]))
	}
	return strings.Join(parts, ", ")
}
