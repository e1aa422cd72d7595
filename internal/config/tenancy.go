package config

import (
	"fmt"
	"net/netip"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Tenancy says which enterprises may be represented, and through which client.
type Tenancy struct {
	// Mode is listed (only the enterprises below and in the files) or any (every valid number;
	// whether there is a mandate is left to the upstream).
	Mode Mode `yaml:"mode" default:"listed"`
	// DefaultClient is the client of every enterprise that names none, of calls
	// in the office's own name and of the registry. Default: the only client.
	DefaultClient string `yaml:"defaultClient"`
	// Enterprises are listed here, or in enterpriseFiles; after Load those of
	// the files are among them.
	Enterprises []Enterprise `yaml:"enterprises"`
	// EnterpriseFiles are YAML files (a list like enterprises) or CSV files
	// (number,name,client,routes,from,until,suspended; "," or ";").
	EnterpriseFiles []string `yaml:"enterpriseFiles" config:"file"`
	// SuspendedFiles list numbers, one a line, that get 403 whatever else says.
	SuspendedFiles []string `yaml:"suspendedFiles" config:"file"`

	// Suspended are the numbers of the suspended files.
	Suspended []enterprise.Number `yaml:"-"`
}

// Enterprise is one enterprise that may be represented.
type Enterprise struct {
	// Number is the CBE number in any written form.
	Number enterprise.Number `yaml:"number" jsonschema:"required"`
	// Name is for people.
	Name string `yaml:"name"`
	// Client is the OAuth client for it. Default: tenancy.defaultClient.
	Client string `yaml:"client"`
	// Routes may be called for it, by name, or "ebox" for all e-Box routes.
	// Default all.
	Routes []string `yaml:"routes" config:",some"`
	// From is the first day, 2026-01-31, in Brussels; as an instant, its start.
	// Default: always.
	From time.Time `yaml:"from" config:"firstday"`
	// Until is the last day, inclusive; as an instant, the start of the day
	// after. Default: for ever.
	Until time.Time `yaml:"until" config:"lastday"`
	// Suspended answers 403 without forgetting the rest. Default false.
	Suspended bool `yaml:"suspended"`
	// Rate bounds the calls for this enterprise. Default none.
	Rate *Rate `yaml:"rate"`
}

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
