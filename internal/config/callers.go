package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Caller is a rule about those who match it. A rule that names networks,
// listeners and certificates needs one of each; the most specific rule wins.
type Caller struct {
	// Name is what the logs and the evidence call it.
	Name string `yaml:"name" config:"name" jsonschema:"required"`
	// Networks recognise it by address, 10.1.0.0/16 or a single address.
	Networks []netip.Prefix `yaml:"networks" config:",some"`
	// Listeners recognise it by the listener it comes in on.
	Listeners []string `yaml:"listeners" config:",some"`
	// ClientCertificates recognise it by its client certificate; any one of
	// the list is enough.
	ClientCertificates []CertificateMatch `yaml:"clientCertificates" config:",some"`
	// Enterprises are those it may represent: "all" (nil) or a list of numbers.
	// Default all.
	Enterprises []enterprise.Number `yaml:"enterprises" config:"all"`
	// Routes are those it may call, by name, or "ebox" for all e-Box routes.
	// Default all.
	Routes []string `yaml:"routes" config:",some"`
	// Own lets it act in the office's own name (/enterprises/own/…, and
	// mandates without a represented enterprise). Default false.
	// Danger: The caller reads the office's own e-Box, and makes citizen mandates in its name.
	Own bool `yaml:"own"`
	// DefaultEnterprise is represented when a request names none.
	DefaultEnterprise enterprise.Number `yaml:"defaultEnterprise"`
	// May are the actions allowed: list, open, change, reply, publish, mandates. Without open,
	// no document can be marked read.
	May ebox.Actions `yaml:"may" default:"all"`
	// Rate bounds its calls. Default none.
	Rate *Rate `yaml:"rate"`
	// Concurrency is how many calls it has under way at most, over all upstreams and from
	// the request's header to the answer's last byte. Default 0: no limit.
	Concurrency int `yaml:"concurrency" least:"1"`
	// Class is interactive, or batch: paced rather than refused, and leaving part of every
	// upstream to the others.
	Class Class `yaml:"class" default:"interactive"`
	// Wait is how long a call of class batch is paced at most. Default 30s.
	Wait time.Duration `yaml:"wait"`
	// Partial says whether a federated list with a provider missing is an
	// answer (true) or a 503 (false). Default true.
	Partial *bool `yaml:"partial"`
}

// CertificateMatch recognises a client certificate. What is given must all
// match.
type CertificateMatch struct {
	// CommonName is the CN of the subject.
	CommonName string `yaml:"commonName"`
	// DNSName is a DNS name among the subject's alternative names, in any case.
	DNSName string `yaml:"dnsName"`
	// URI is a URI among the subject's alternative names, as SPIFFE uses.
	URI string `yaml:"uri"`
	// Fingerprint is the SHA-256 of the certificate in hex; colons may part
	// the bytes. After Load: 64 lower-case digits.
	Fingerprint string `yaml:"fingerprint" config:"fingerprint"`
}

// String gives the four parts for a message.
func (m CertificateMatch) String() string {
	return fmt.Sprintf("%q", []string{m.CommonName, m.DNSName, m.URI, m.Fingerprint})
}

// Criterion is one way to recognise a caller: one value of each kind that its rule names. What is
// zero may be anything.
type Criterion struct {
	Certificate CertificateMatch
	Network     netip.Prefix
	Listener    string
}

// Criteria are all the ways to recognise the caller.
func (c *Caller) Criteria() (all []Criterion) {
	for _, certificate := range orAny(c.ClientCertificates) {
		for _, network := range orAny(c.Networks) {
			for _, listener := range orAny(c.Listeners) {
				all = append(all, Criterion{certificate, network, listener})
			}
		}
	}
	return all
}

// orAny gives the zero value in place of an empty list.
func orAny[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// defaultWait is how long a call of class batch is paced at most.
const defaultWait = 30 * time.Second

func (k *check) callers() {
	listeners, certificates := make(map[string]bool), false
	for _, l := range k.c.Server.Listen {
		listeners[l.Name] = true
		certificates = certificates || l.TLS != nil && l.TLS.ClientAuth != ClientAuthNone
	}
	names, taken := make(map[string]bool), make(map[Criterion]string)
	for i := range k.c.Callers {
		c, at := &k.c.Callers[i], item("callers", i)
		if names[c.Name] && c.Name != "" {
			k.fail(at+".name", "two callers are named %s: give each a name of its own, or make one rule of them", quote(c.Name))
		}
		names[c.Name] = true
		c.checkCriteria(k, at, listeners, certificates)
		c.checkTies(k, at, taken)
		k.names(at+".routes", c.Routes, k.unknownRoute)
		if !c.Own && c.Enterprises != nil && len(c.Enterprises) == 0 {
			k.fail(at+".enterprises",
				`an empty list allows nothing: write "all", numbers, or own: true beside it for the office's own e-Box alone`)
		}
		c.Rate.check(k, k.decoder, at+".rate", false)
		switch {
		case c.Class == Batch && !k.given(at+".wait"):
			c.Wait = defaultWait
		case c.Class == Interactive && k.given(at+".wait"):
			k.fail(at+".wait", "only callers of class batch wait: add class: batch, or leave it out")
		}
	}
}

// checkCriteria checks how a caller is recognised.
func (c *Caller) checkCriteria(k *check, at string, listeners map[string]bool, certificates bool) {
	if !k.given(at, "networks", "listeners", "clientCertificates") {
		k.fail(at, "nothing to recognise this caller by: add networks, listeners or clientCertificates (networks: "+
			"[0.0.0.0/0, \"::/0\"] is everybody)")
	}
	k.names(at+".listeners", c.Listeners, func(name string) string {
		return unknownName("listener", name, listeners, "server.listen")
	})
	if len(c.ClientCertificates) > 0 && !certificates {
		k.fail(at+".clientCertificates", "no listener asks for client certificates: add tls: {clientCaFile} "+
			"to one of server.listen")
	}
	for i := range c.ClientCertificates {
		m, path := &c.ClientCertificates[i], item(at+".clientCertificates", i)
		if *m == (CertificateMatch{}) && k.given(path) && len(k.at(path).Content) == 0 {
			k.fail(path, "nothing to match: add commonName, dnsName, uri or fingerprint")
		}
		m.DNSName = strings.ToLower(m.DNSName)
	}
}

// checkTies reports two rules that recognise the same caller by equally specific means: each criterion may
// occur once. taken has the rule of each that occurred.
func (c *Caller) checkTies(k *check, at string, taken map[Criterion]string) {
	for _, by := range c.Criteria() {
		other, tied := taken[by]
		if !tied {
			taken[by] = c.Name
		}
		// Reported: a list of this rule repeats itself, or it recognises nobody.
		if !tied || other == c.Name || by == (Criterion{}) {
			continue
		}
		// The first that is given tells best where to look.
		what, list, i := "the network "+by.Network.String(), "networks", slices.Index(c.Networks, by.Network)
		if i < 0 {
			what, list, i = "the listener "+by.Listener, "listeners", slices.Index(c.Listeners, by.Listener)
		}
		if i < 0 {
			what, list = "the certificate "+by.Certificate.String(), "clientCertificates"
			i = slices.Index(c.ClientCertificates, by.Certificate)
		}
		k.fail(item(at+"."+list, i), "a tie: %s is recognised by the rule %s as well, and neither is more specific", what,
			quote(other))
	}
}

// represented checks the callers' enterprises against those that are listed. It
// runs when the enterprise files have been read.
func (k *check) represented() {
	for i := range k.c.Callers {
		c, at := &k.c.Callers[i], item("callers", i)
		if c.DefaultEnterprise != 0 && c.Enterprises != nil && !slices.Contains(c.Enterprises, c.DefaultEnterprise) {
			k.fail(at+".defaultEnterprise", "%s is not among this caller's enterprises", c.DefaultEnterprise)
		}
		if k.c.Tenancy.Mode != Listed || k.listed == nil {
			continue
		}
		represented := func(at string, n enterprise.Number) {
			if _, listed := k.listed[n]; n != 0 && !listed {
				k.fail(at, "%s is not listed: add it to tenancy.enterprises or one of the files", n)
			}
		}
		represented(at+".defaultEnterprise", c.DefaultEnterprise)
		for j, n := range c.Enterprises {
			represented(item(at+".enterprises", j), n)
		}
	}
}
