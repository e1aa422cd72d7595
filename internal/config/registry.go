package config

import (
	"net/url"
	"time"
)

// Registry is where the list of Document Providers comes from, and which of
// them are called.
type Registry struct {
	// URL is the list itself. Default: the environment's, if it has one.
	URL *url.URL `yaml:"url"`
	// Client is the OAuth client. Default: tenancy.defaultClient.
	Client string `yaml:"client"`
	// Scopes of the token for it. Default: the registry's official scope.
	Scopes []string `yaml:"scopes" config:"scope"`
	// Refresh is how often the list is fetched. Connecting for that may take 3s,
	// the answer's header and each pause in its body 15s.
	Refresh time.Duration `yaml:"refresh" above:"0s" default:"5m"`
	// AllowedHosts are the hosts that providers may be on: "host",
	// "*.domain" (not the domain itself), either with ":port" or, for any port,
	// ":*". A provider elsewhere gets no token. Default "*.socialsecurity.be" in the official
	// environments, none in custom. Each entry is trusted with tokens.
	AllowedHosts []string `yaml:"allowedHosts" config:"hostpattern"`
	// AllowHTTP takes http URLs of providers as well. For a lab and nothing
	// else. Default false.
	AllowHTTP bool `yaml:"allowHttp"`
	// AllowPrivateNetworks lets the registry and its providers resolve to
	// private addresses. Default false.
	AllowPrivateNetworks bool `yaml:"allowPrivateNetworks"`
	// Fields are the names of the list's members. Default: those of the
	// federation's API 1.3. Where the list has neither its id nor its URL under these, the
	// gateway takes what leaves no doubt: the one https URL, the one id. Its status says so
	// until the right names stand here.
	Fields Fields `yaml:"fields"`
	// Providers are fixed here and join those of the list; one with the same id
	// takes its place.
	Providers []StaticProvider `yaml:"providers"`
}

// Fields are the names that the registry gives to what the gateway needs.
type Fields struct {
	// ID is the member with a provider's id.
	ID string `yaml:"id" default:"messageProviderId"`
	// Name is the member with its name, for people.
	Name string `yaml:"name" default:"messageProviderName"`
	// Description is the member with what it says of itself.
	Description string `yaml:"description" default:"messageProviderDescription"`
	// URL is the member with the base URL of its Message Registry.
	URL string `yaml:"url" default:"messageProviderUrl"`
	// ActivationDate is the member with its first day.
	ActivationDate string `yaml:"activationDate" default:"messageProviderActivationDate"`
	// DeactivationDate is the member with the day from which it is called no more.
	DeactivationDate string `yaml:"deactivationDate" default:"messageProviderDeactivationDate"`
	// Maintenance is the member with its announced maintenance.
	Maintenance string `yaml:"maintenance" default:"messageProviderPlannedMaintenance"`
	// MaintenanceStart is the member within maintenance with its beginning.
	MaintenanceStart string `yaml:"maintenanceStart" default:"startDate"`
	// MaintenanceEnd is the member within maintenance with its end.
	MaintenanceEnd string `yaml:"maintenanceEnd" default:"endDate"`
	// Contact is the member with whom to ask.
	Contact string `yaml:"contact" default:"messageProviderTechnicalContact"`
	// APIVersion is the member with the version that it serves.
	APIVersion string `yaml:"apiVersion" default:"apiSupportedVersion"`
}

// OfficialFields are the names in the federation's API 1.3.
func OfficialFields() Fields { return withDefaults[Fields]() }

// StaticProvider is a Document Provider that the configuration itself names.
type StaticProvider struct {
	// ID is its segment in /ebox/providers/{providerId}.
	ID string `yaml:"id" jsonschema:"required" config:"name"`
	// Name is for people. Default: the id.
	Name string `yaml:"name"`
	// URL is the base URL of its Message Registry. Its host is allowed by
	// being written here.
	URL *url.URL `yaml:"url" jsonschema:"required"`
	// APIVersion is what it serves, as in "3" or "2.1".
	APIVersion string `yaml:"apiVersion" config:"version" default:"3"`
}

// Egress is how the gateway leaves the company network.
type Egress struct {
	// Proxy is the URL of an HTTP proxy, http://user:password@proxy:3128.
	// Default none. Through a proxy, the host allow-list alone decides where
	// tokens go: the gateway does not see the resolved addresses.
	Proxy Secret `yaml:"proxy" config:",blank"`
	// NoProxy are hosts reached without it: names, .suffixes, networks, "*".
	NoProxy []string `yaml:"noProxy" config:"destination"`
	// CAFile holds, in PEM, certificate authorities trusted besides the
	// system's.
	CAFile string `yaml:"caFile" config:"file,blank"`
}

// ProxyURL is the proxy with its credentials, or nil. It must not be printed.
func (e Egress) ProxyURL() *url.URL {
	if e.Proxy == "" {
		return nil
	}
	u, err := url.Parse(e.Proxy.Reveal())
	if err != nil { // checked by Load
		return nil
	}
	return u
}

// Inbox is the e-Box over all Document Providers: /ebox and /ebox/messages without a
// provider in the path.
type Inbox struct {
	// Timeout is how long the providers are waited for, all together. What has come by then is
	// answered, and the others are named in the answer. A caller should be ready to wait a
	// second longer. Changes (PATCH) are bound by the route's timeouts alone.
	Timeout time.Duration `yaml:"timeout" above:"0s" default:"10s"`
}
