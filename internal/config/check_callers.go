package config

import (
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
)

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
		k.criteria(at, c, listeners, certificates)
		k.tie(at, c, taken)
		k.names(at+".routes", c.Routes, k.unknownRoute)
		if !c.Own && c.Enterprises != nil && len(c.Enterprises) == 0 {
			k.fail(at+".enterprises",
				`an empty list allows nothing: write "all", numbers, or own: true beside it for the office's own e-Box alone`)
		}
		k.rate(k.decoder, at+".rate", c.Rate, false)
		switch {
		case c.Class == Batch && !k.given(at+".wait"):
			c.Wait = defaultWait
		case c.Class == Interactive && k.given(at+".wait"):
			k.fail(at+".wait", "only callers of class batch wait: add class: batch, or leave it out")
		}
	}
}

// criteria checks how a caller is recognised.
func (k *check) criteria(at string, c *Caller, listeners map[string]bool, certificates bool) {
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

// tie reports two rules that recognise the same caller by equally specific means: each criterion may
// occur once. taken has the rule of each that occurred.
func (k *check) tie(at string, c *Caller, taken map[Criterion]string) {
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
