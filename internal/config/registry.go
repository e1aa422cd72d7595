package config

import (
	"net/url"
	"time"
)

// Registry is where the list of Document Providers comes from, and which of
// them are believed.
type Registry struct {
	// URL is the list itself. Default: the environment's, if it has one.
	URL *url.URL `yaml:"url"`
	// Client is the OAuth client. Default: tenancy.defaultClient.
	Client string `yaml:"client"`
	// Scopes of the token for it. Default: the registry's official scope.
	Scopes []string `yaml:"scopes" config:"scope"`
	// Refresh is how often the list is fetched. Connecting for that may take 3s,
	// the answer's header and each pause in its body 15s. Default 5m.
	Refresh time.Duration `yaml:"refresh" above:"0s"`
	// AllowedHosts are the hosts that providers may be on: "host",
	// "*.domain" (not the domain itself), either with ":port" or, for any port,
	// ":*". A provider elsewhere gets no token. Default "*.socialsecurity.be" in the official
	// environments, none in custom. Each entry is trusted with tokens.
	AllowedHosts []string `yaml:"allowedHosts" config:"hostpattern"`
	// AllowHTTP believes http URLs of providers as well. For a lab and nothing
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
	// ID defaults to messageProviderId.
	ID string `yaml:"id"`
	// Name defaults to messageProviderName.
	Name string `yaml:"name"`
	// Description defaults to messageProviderDescription.
	Description string `yaml:"description"`
	// URL defaults to messageProviderUrl.
	URL string `yaml:"url"`
	// ActivationDate defaults to messageProviderActivationDate.
	ActivationDate string `yaml:"activationDate"`
	// DeactivationDate defaults to messageProviderDeactivationDate.
	DeactivationDate string `yaml:"deactivationDate"`
	// Maintenance defaults to messageProviderPlannedMaintenance.
	Maintenance string `yaml:"maintenance"`
	// MaintenanceStart, within it, defaults to startDate.
	MaintenanceStart string `yaml:"maintenanceStart"`
	// MaintenanceEnd, within it, defaults to endDate.
	MaintenanceEnd string `yaml:"maintenanceEnd"`
	// Contact defaults to messageProviderTechnicalContact.
	Contact string `yaml:"contact"`
	// APIVersion defaults to apiSupportedVersion.
	APIVersion string `yaml:"apiVersion"`
}

// OfficialFields are the names in the federation's API 1.3.
func OfficialFields() Fields {
	return Fields{
		ID:               "messageProviderId",
		Name:             "messageProviderName",
		Description:      "messageProviderDescription",
		URL:              "messageProviderUrl",
		ActivationDate:   "messageProviderActivationDate",
		DeactivationDate: "messageProviderDeactivationDate",
		Maintenance:      "messageProviderPlannedMaintenance",
		MaintenanceStart: "startDate",
		MaintenanceEnd:   "endDate",
		Contact:          "messageProviderTechnicalContact",
		APIVersion:       "apiSupportedVersion",
	}
}

// StaticProvider is a Document Provider that the configuration itself names.
type StaticProvider struct {
	// ID is its segment in /ebox/providers/{providerId}.
	ID string `yaml:"id" jsonschema:"required" config:"name"`
	// Name is for people. Default: the id.
	Name string `yaml:"name"`
	// URL is the base URL of its Message Registry. Its host is allowed by
	// being written here.
	URL *url.URL `yaml:"url" jsonschema:"required"`
	// APIVersion is what it serves, as in "3" or "2.1". Default "3".
	APIVersion string `yaml:"apiVersion" config:"version"`
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
