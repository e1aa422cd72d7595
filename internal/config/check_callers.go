package config

import (
	"encoding/hex"
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
			if !isName(c.Name) {
				k.fail(at+".name", "%s is no name: use letters, digits, \"-\", \"_\" and \".\", up to 64", quote(c.Name))
			}
			if names[c.Name] {
				k.fail(at+".name", "two callers are named %s: give each a name of its own, or make one rule of them", quote(c.Name))
			}
			names[c.Name] = true
		}
		k.criteria(at, c, listeners, certificates)
		k.tie(at, c, taken)
		k.routeNames(at+".routes", c.Routes)
		k.numbers(at+".enterprises", c.Enterprises)
		if !c.Own && k.emptyList(at+".enterprises") {
			k.fail(at+".enterprises",
				`an empty list allows nothing: write "all", numbers, or own: true beside it for the office's own e-Box alone`)
		}
		if k.emptyList(at + ".may") {
			k.fail(at+".may", "an empty list allows nothing: leave the key out for all of %s", strings.Join(actionWords(), ", "))
		}
		k.rate(at+".rate", c.Rate, k.rateStore(), false)
		if c.Concurrency < 0 || c.Concurrency == 0 && k.given(at+".concurrency") {
			k.fail(at+".concurrency", "has to be at least 1; without the key there is no limit")
		}
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
	for _, key := range []string{"networks", "listeners", "clientCertificates"} {
		if k.emptyList(at + "." + key) {
			k.fail(at+"."+key, "an empty list recognises nobody: leave the key out if it does not matter")
		}
	}
	for i, name := range c.Listeners {
		if message := unknownName("listener", name, listeners, "server.listen"); name != "" && message != "" {
			k.fail(item(at+".listeners", i), "%s", message)
		}
	}
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
		if m.Fingerprint == "" {
			continue
		}
		plain := strings.ToLower(strings.ReplaceAll(m.Fingerprint, ":", ""))
		if raw, err := hex.DecodeString(plain); err != nil || len(raw) != 32 {
			k.fail(path+".fingerprint", "%s is no SHA-256 fingerprint: 64 hexadecimal digits are expected, colons allowed",
				quote(m.Fingerprint))
		}
		m.Fingerprint = plain
	}
}

// tie reports two rules that recognise the same caller by equally specific
// means. Each combination of criteria may occur once.
func (k *check) tie(at string, c *Caller, taken map[string]string) {
	type criterion struct{ at, text string }
	any := []criterion{{at, "anything"}}
	networks, listeners, certificates := any, any, any
	if len(c.Networks) > 0 {
		networks = nil
		for i, n := range c.Networks {
			if n.IsValid() {
				networks = append(networks, criterion{item(at+".networks", i), "the network " + n.String()})
			}
		}
	}
	if len(c.Listeners) > 0 {
		listeners = nil
		for i, l := range c.Listeners {
			listeners = append(listeners, criterion{item(at+".listeners", i), "the listener " + l})
		}
	}
	if len(c.ClientCertificates) > 0 {
		certificates = nil
		for i, m := range c.ClientCertificates {
			certificates = append(certificates, criterion{item(at+".clientCertificates", i),
				fmt.Sprintf("the certificate %q", []string{m.CommonName, m.DNSName, m.URI, m.Fingerprint})})
		}
	}
	if len(any)+len(c.Networks)+len(c.Listeners)+len(c.ClientCertificates) == 1 {
		return // reported: it has no criteria
	}
	for _, n := range networks {
		for _, l := range listeners {
			for _, m := range certificates {
				key := n.text + "\x00" + l.text + "\x00" + m.text
				other, tied := taken[key]
				if !tied {
					taken[key] = c.Name
					continue
				}
				where := m
				for _, better := range []criterion{l, n} {
					if better.text != "anything" {
						where = better
					}
				}
				if other == c.Name {
					k.fail(where.at, "%s is given twice in this rule", where.text)
				} else {
					k.fail(where.at, "a tie: %s is recognised by the rule %s as well, and neither is more specific",
						where.text, quote(other))
				}
			}
		}
	}
}

func (k *check) numbers(at string, list []enterprise.Number) {
	seen := make(map[enterprise.Number]bool, len(list))
	for i, n := range list {
		if n != 0 && seen[n] {
			k.fail(item(at, i), "%s is given twice", n)
		}
		seen[n] = true
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
		const missing = "%s is not listed: add it to tenancy.enterprises or one of the files"
		if c.DefaultEnterprise != 0 && !k.listed[c.DefaultEnterprise] {
			k.fail(at+".defaultEnterprise", missing, c.DefaultEnterprise)
		}
		for j, n := range c.Enterprises {
			if n != 0 && !k.listed[n] {
				k.fail(item(at+".enterprises", j), missing, n)
			}
		}
	}
}

// wrongClass tells a class that is given and was reported already.
func (k *check) wrongClass(at string) bool {
	n := k.at(at + ".class")
	return n != nil && n.Value != string(Interactive)
}
