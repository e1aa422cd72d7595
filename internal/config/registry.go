package config

import (
	"cmp"
	"net/url"
	"strings"
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
	// environments, none in custom.
	// Danger: Every host here receives tokens.
	AllowedHosts []string `yaml:"allowedHosts" config:"hostpattern"`
	// AllowHTTP takes http URLs of providers as well. For a lab and nothing
	// else. Default false.
	// Danger: Whoever listens on the way gets tokens and documents.
	AllowHTTP bool `yaml:"allowHttp"`
	// AllowPrivateNetworks lets the registry and its providers resolve to
	// private addresses. Default false.
	// Danger: A registry that was tampered with could lead calls into the company's network.
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

func (g *Registry) check(k *check) {
	k.target("registry.url", g.URL, g.AllowHTTP, "registry.allowHttp", false)
	k.complain("registry.client", k.unknownClient(g.Client))
	for i, h := range g.AllowedHosts {
		host, _, _ := strings.Cut(h, ":")
		k.belongs(item("registry.allowedHosts", i), host, false)
	}
	ids := make(map[string]bool)
	for i := range g.Providers {
		p, at := &g.Providers[i], item("registry.providers", i)
		p.Name = cmp.Or(p.Name, p.ID)
		if p.ID != "" && ids[p.ID] {
			k.fail(at+".id", "the provider %s is given twice", quote(p.ID))
		}
		ids[p.ID] = true
		k.target(at+".url", p.URL, g.AllowHTTP, "registry.allowHttp", false)
	}
	names := make(map[string]string)
	for _, f := range []struct{ key, name string }{
		{"id", g.Fields.ID}, {"name", g.Fields.Name}, {"url", g.Fields.URL},
		{"activationDate", g.Fields.ActivationDate}, {"deactivationDate", g.Fields.DeactivationDate},
	} {
		if other, taken := names[f.name]; taken && f.name != "" {
			k.fail("registry.fields."+f.key, "%s is the member for %s already", quote(f.name), other)
		}
		names[f.name] = f.key
	}
	for i := range k.c.Routes {
		r := &k.c.Routes[i]
		if at := k.routeAt[r.Name]; r.Registry && g.URL == nil && !k.given("registry", "url", "providers") {
			k.fail(join(at, "upstream"), "the route %s goes to the registry's providers and there is no registry: add "+
				"registry.url or registry.providers", r.Name)
		}
	}
}

// Inbox is the e-Box over all Document Providers: /ebox and /ebox/messages without a
// provider in the path.
type Inbox struct {
	// Timeout is how long the providers are waited for, all together. What has come by then is
	// answered, and the others are named in the answer. A caller should be ready to wait a
	// second longer. Changes (PATCH) are bound by the route's timeouts alone.
	Timeout time.Duration `yaml:"timeout" above:"0s" default:"10s"`
}
