package config

import (
	"cmp"
	"fmt"
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
	names, taken := make(map[string]bool), make(map[string]string)
	for i := range k.c.Callers {
		c, at := &k.c.Callers[i], item("callers", i)
		if c.Name != "" {
			if names[c.Name] {
				k.fail(at+".name", "two callers are named %s: give each a name of its own, or make one rule of them", quote(c.Name))
			}
			names[c.Name] = true
		}
		k.criteria(at, c, listeners, certificates)
		k.tie(at, c, taken)
		k.names(at+".routes", c.Routes, k.unknownRoute)
		if !c.Own && k.emptyList(at+".enterprises") {
			k.fail(at+".enterprises",
				`an empty list allows nothing: write "all", numbers, or own: true beside it for the office's own e-Box alone`)
		}
		k.rate(k.decoder, at+".rate", c.Rate, false)
		switch {
		case c.Class == Batch && !k.given(at+".wait"):
			c.Wait = defaultWait
		case c.Class == Interactive && k.given(at+".wait") && !k.wrongClass(at):
			k.fail(at+".wait", "only callers of class batch wait: add class: batch, or leave it out")
		}
	}
}

// criteria checks how a caller is recognised.
func (k *check) criteria(at string, c *Caller, listeners map[string]bool, certificates bool) {
	if !k.given(at+".networks") && !k.given(at+".listeners") && !k.given(at+".clientCertificates") {
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

// tie reports two rules that recognise the same caller by equally specific means: each
// combination of criteria may occur once. taken has the rule of each that occurred.
func (k *check) tie(at string, c *Caller, taken map[string]string) {
	if len(c.Networks)+len(c.Listeners)+len(c.ClientCertificates) == 0 {
		return // reported: it has no criteria
	}
	for _, m := range criteriaOf(at+".clientCertificates", "the certificate ", c.ClientCertificates) {
		for _, l := range criteriaOf(at+".listeners", "the listener ", c.Listeners) {
			for _, n := range criteriaOf(at+".networks", "the network ", c.Networks) {
				key := m.text + "\x00" + l.text + "\x00" + n.text
				other, tied := taken[key]
				if !tied {
					taken[key] = c.Name
					continue
				}
				if other == c.Name {
					continue // reported: a list of this rule repeats itself
				}
				// The first that is given tells best where to look.
				where := cmp.Or(n, l, m)
				k.fail(where.at, "a tie: %s is recognised by the rule %s as well, and neither is more specific", where.text,
					quote(other))
			}
		}
	}
}

// criterion is one thing by which a caller is recognised, where the file has it and in words.
type criterion struct{ at, text string }

// criteriaOf are those of one list; of an empty one the zero criterion, which is any caller.
func criteriaOf[T any](at, what string, list []T) []criterion {
	if len(list) == 0 {
		return make([]criterion, 1)
	}
	criteria := make([]criterion, len(list))
	for i, one := range list {
		criteria[i] = criterion{item(at, i), fmt.Sprintf("%s%v", what, one)}
	}
	return criteria
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

// wrongClass tells a class that is given and was reported already.
func (k *check) wrongClass(at string) bool {
	n := k.at(at + ".class")
	return n != nil && n.Value != string(Interactive)
}
