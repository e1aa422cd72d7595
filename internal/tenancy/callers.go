package tenancy

import (
	"crypto/x509"
	"net/netip"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Caller is one caller rule: who it is about, and what they may.
//
// A rule matches a peer that meets each kind of criterion it names (networks,
// listeners, certificates) in at least one of the listed values; a rule that names
// none matches everybody. What it allows is read through NewCallers alone: a
// Caller that did not pass through it represents nobody unless Enterprises is nil.
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

	represents numberSet // Enterprises, if not nil
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

// Callers are the caller rules.
type Callers struct {
	list     []*Caller
	criteria []criterion
}

// List gives the rules in the order of the configuration.
func (c *Callers) List() []*Caller { return c.list }

type criterion struct{}

// NewCallers compiles the rules. An empty list is one unnamed caller, everybody,
// who may everything, own included. The list is copied. A tie is an error.
func NewCallers(list []Caller) (*Callers, error) { return &Callers{}, nil }

// Identify finds the most specific rule that p falls under; false if there is none.
func (c *Callers) Identify(p Peer) (*Caller, bool) { return nil, false }
