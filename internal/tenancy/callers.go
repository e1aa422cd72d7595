package tenancy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Caller is one caller rule: who it is about, and what they may.
//
// A rule matches a peer that meets each kind of criterion it names (networks,
// listeners, certificates) in at least one of the listed values; a rule that names
// none matches everybody. A Caller that did not pass through NewCallers represents
// nobody, unless its Enterprises are nil.
type Caller struct {
	// Name is unique among the rules; it stands in logs and metrics.
	Name string

	// Networks, Listeners and Certificates say who the rule is about.
	Networks     []netip.Prefix
	Listeners    []string
	Certificates []CertificateMatch

	// Enterprises are those it may represent; nil is all that the table or the
	// mode allow, empty none.
	Enterprises []enterprise.Number
	// Routes are names or groups of routes; nil is all, empty none.
	Routes []string
	// Own allows acting as the client itself.
	Own bool
	// Default is the enterprise of requests that name none; 0 is no default.
	Default enterprise.Number
	// May is what the caller may do; the zero set is nothing.
	May ebox.Actions

	// Class is "interactive" or "batch", and Partial whether the federated inbox
	// may answer in part, nil if the rule does not say. Both are only carried here.
	Class   string
	Partial *bool

	numbers map[enterprise.Number]bool // Enterprises, if not nil
}

// CertificateMatch recognises a client certificate by all the fields that are
// given; at least one must be.
type CertificateMatch struct {
	// CommonName is compared with the subject's, byte for byte.
	CommonName string
	// DNSName is compared with the DNS names, without regard to case; wildcards
	// mean nothing here. URI is compared with the URIs, byte for byte.
	DNSName, URI string
	// SHA256 is the fingerprint of the certificate in hexadecimal, in either
	// case, with or without colons.
	SHA256 string
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

// mayRepresent tells whether the rule lets the caller act for n.
func (c *Caller) mayRepresent(n enterprise.Number) bool {
	return c.Enterprises == nil || c.numbers[n]
}

// everybody is the caller of a gateway without caller rules.
func everybody() Caller {
	return Caller{Own: true, May: ebox.All, Class: ClassInteractive}
}

// Classes of callers.
const (
	ClassInteractive = "interactive"
	ClassBatch       = "batch"
)

// check finds what is wrong with a rule by itself.
func (c *Caller) check() error {
	switch {
	case c.Name == "":
		return errors.New("it has no name: give it one, it stands in logs and metrics")
	case c.Networks != nil && len(c.Networks) == 0:
		return errors.New("its list of networks is empty: name one, or leave the list out to match every address")
	case c.Listeners != nil && len(c.Listeners) == 0:
		return errors.New("its list of listeners is empty: name one, or leave the list out to match every listener")
	case c.Certificates != nil && len(c.Certificates) == 0:
		return errors.New("its list of client certificates is empty: name one, or leave the list out to need none")
	case slices.Contains(c.Listeners, ""):
		return errors.New("one of its listeners has no name")
	case slices.Contains(c.Enterprises, 0):
		return errors.New("one of its enterprises has no number")
	case c.Default != 0 && !c.mayRepresent(c.Default):
		return fmt.Errorf("its default enterprise %s is not among its enterprises: add it there", c.Default)
	}
	switch c.Class {
	case "", ClassInteractive, ClassBatch:
	default:
		return fmt.Errorf("its class is %q: use %s or %s", c.Class, ClassInteractive, ClassBatch)
	}
	for _, p := range c.Networks {
		if !p.IsValid() {
			return errors.New("one of its networks is not valid: write it as 10.1.0.0/16 or 2001:db8::/32")
		}
	}
	return nil
}
