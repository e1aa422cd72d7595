package config

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// The scopes of the federation and of grant/citizen, as their guides print them.
const (
	scopeEBox       = "scope:document:management:consult:ws-eboxrestentreprise:"
	scopeFederation = "scope:documentmanagement:ebox:enterprise:federation-rest:"

	scopeConsumer      = scopeEBox + "documentconsumer" // Message Registry v3
	scopeSummary       = scopeEBox + "summaryownebox"   // and its parts in v2
	scopeMessages      = scopeEBox + "messagesfull"
	scopeReferenceData = scopeEBox + "referencedata"
	scopePublication   = scopeEBox + "publicationsender" // for oneself
	// To publish for an enterprise that one represents. The page that names this scope
	// spells it in two ways.
	scopeRepresentativePublication = scopeEBox + "eboxrepresentativepublication"
	scopeRepresentativeElsewhere   = "scope:document:management:ws-eboxrestentreprise:eboxrepresentativepublication"

	scopeRegistry   = scopeFederation + "registry"
	scopePreference = scopeFederation + "preference"
	scopeMandates   = "scope:ksz-bcss:mandates:citizen:management:-managemandate"
)

// PublicationScopes are the two spellings of the scope to publish for a represented
// enterprise, the one that the routes of the environments ask for first.
func PublicationScopes() [2]string {
	return [...]string{scopeRepresentativePublication, scopeRepresentativeElsewhere}
}

// Names of the routes that environments fill in.
const (
	routeProviders  = "ebox-providers"
	routeRegistry   = "ebox-registry"
	routePartition  = "ebox-partition"
	routeFederation = "ebox-federation"
	routeMandates   = "grant-citizen"
)

// groupEBox, in a list of routes, stands for all routes of the e-Box.
const groupEBox = "ebox"

// In reports whether a rule with these names of routes is about the route; nil names every route.
func (r *Route) In(names []string) bool {
	return names == nil || slices.Contains(names, r.Name) ||
		(r.Kind == KindEBox || r.Kind == KindRegistry) && slices.Contains(names, groupEBox)
}

// services is the host of the platform's APIs in one environment.
func services(suffix string) string { return "services" + suffix + officialDomain }

const officialDomain = ".socialsecurity.be"

const (
	tokenPath      = "/REST/oauth/v5/token"
	registryPath   = "/REST/ebox/enterprise/federation/documentProviderRegistry/v1"
	registryList   = "/messageRegistries"
	partitionPath  = "/REST/ebox/enterprise/partition/v1"
	federationPath = "/REST/ebox/enterprise/federation/v1"
	mandatesPath   = "/REST/grant/citizen/v1"
)

// preset is what officially exists in one environment.
type preset struct {
	tokenHost  string // "" where no token endpoint is public
	host       string // of the APIs; "" in custom
	ebox       bool   // registry, providers and partition
	federation bool
	mandates   bool
	absent     []AbsentAPI
}

func presetOf(e Environment) preset {
	const noEBox = "This environment has no public e-Box API; use production, acceptance or simulation, or name the " +
		"routes in the configuration."
	switch e {
	case Production:
		return preset{tokenHost: services(""), host: services(""), ebox: true, federation: true, mandates: true}
	case Acceptance:
		return preset{tokenHost: services("-acpt"), host: services("-acpt"), ebox: true, federation: true, mandates: true}
	case Simulation:
		return preset{tokenHost: services(""), host: services("-sim"), ebox: true, absent: []AbsentAPI{
			{"/ebox/federation", "The simulation environment has no Federation API; it exists in acceptance and production."},
			{"/grant/citizen", "The simulation environment has no REST/grant/citizen; it exists in acceptance, " +
				"integration, test and production."},
		}}
	case Integration:
		return preset{host: services("-int"), mandates: true, absent: []AbsentAPI{{"/ebox", noEBox}}}
	case Test:
		return preset{host: services("-test"), mandates: true, absent: []AbsentAPI{{"/ebox", noEBox}}}
	}
	return preset{}
}

// apply fills in what exists. The routes come in the order of the contract.
func (p preset) apply(c *Config) {
	c.Absent = p.absent
	if p.tokenHost != "" {
		c.OAuth.TokenURL = official(p.tokenHost, tokenPath).String()
	}
	c.Registry.Scopes = []string{scopeRegistry}
	if p.host == "" {
		return
	}
	c.Registry.AllowedHosts = []string{"*" + officialDomain}
	if p.ebox {
		c.Registry.URL = official(p.host, registryPath+registryList)
		// No scope is published for the Partition API. It is read by the consumer of the
		// e-Box, so it gets the consumer's scope; a configuration that has another
		// overrides it.
		partition := p.route(routePartition, partitionRoute, KindEBox, partitionPath, scopeConsumer)
		partition.EnterpriseIn = partitionPaths
		c.Routes = append(c.Routes, providersRoute(), p.route(routeRegistry, "/ebox/registry", KindRegistry, registryPath,
			scopeRegistry), partition)
	}
	if p.federation {
		r := p.route(routeFederation, "/ebox/federation", KindEBox, federationPath, scopePreference)
		// The older registry stands below the same base, with a scope of its own.
		r.Rules = []ScopeRule{{Paths: []string{"/messageProviders/**"}, Scopes: []string{scopeRegistry}}}
		c.Routes = append(c.Routes, r)
	}
	if p.mandates {
		c.Routes = append(c.Routes, p.route(routeMandates, "/grant/citizen", KindMandates, mandatesPath, scopeMandates))
	}
}

// officialRoutes are all that some environment has, by name and without their upstreams: how a
// route of that name begins where the environment does not have it. A rule about one that this
// environment lacks is idle, not wrong, so that one file of enterprises serves several.
func officialRoutes() map[string]Route {
	p := preset{host: "nowhere", ebox: true, federation: true, mandates: true}
	var c Config
	p.apply(&c)
	routes := make(map[string]Route)
	for _, r := range c.Routes {
		r.Upstream = nil
		routes[r.Name] = r
	}
	return routes
}

func official(host, path string) *url.URL {
	return &url.URL{Scheme: "https", Host: host, Path: path}
}

func (p preset) route(name, path string, kind Kind, upstream, scope string) Route {
	r := newRoute(kind)
	r.Name, r.Path, r.Upstream, r.Scopes = name, path, official(p.host, upstream), []string{scope}
	return r
}

// providersRoute is the way to every Message Registry of the federation. They
// are run by third parties, so each call carries the one scope it needs.
func providersRoute() Route {
	r := newRoute(KindEBox)
	r.Name, r.Path, r.Registry = routeProviders, "/ebox/providers/"+providerSegment, true
	r.Scopes = []string{scopeConsumer}
	publishing := []string{"/publishMessage", "/linkEboxMessage", "/searchMessageStatus", "/ebox/messages", "/messages"}
	r.Rules = []ScopeRule{
		{Methods: []string{"POST"}, Paths: publishing, For: ForAnother, Scopes: []string{scopeRepresentativePublication}},
		{Methods: []string{"POST"}, Paths: publishing, For: ForOwn, Scopes: []string{scopePublication}},
		{Methods: []string{"GET"}, Paths: []string{"/ebox"}, APIVersions: []string{"2"}, Scopes: []string{scopeSummary}},
		{Paths: []string{"/ebox/messages/**"}, APIVersions: []string{"2"}, Scopes: []string{scopeMessages}},
		{Methods: []string{"GET"}, Paths: []string{"/referenceData/**"}, APIVersions: []string{"2"},
			Scopes: []string{scopeReferenceData}},
	}
	// The federation's advice: reference data is the same for everybody, shown
	// with every message and changes rarely. A provider that says nothing has it kept
	// for a day, and for two more while a new one is fetched in the background.
	data := CacheRule{Paths: []string{"/referenceData/**"}, CachePolicy: r.Cache.CachePolicy}
	data.DefaultTTL, data.Shared = 24*time.Hour, SharedAlways
	data.StaleWhileRevalidate, data.WhenSilent = 48*time.Hour, true
	r.Cache.Rules = []CacheRule{data}
	return r
}

// environmentsOf gives the environments that a host officially belongs to; nil if
// it is no host of the platform. The token endpoint of production is the
// simulation's as well; its APIs are not.
func environmentsOf(host string, tokenEndpoint bool) (owners []Environment) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, word := range Environment.words("") {
		p := presetOf(Environment(word))
		if p.host != "" && host == p.host || tokenEndpoint && p.tokenHost != "" && host == p.tokenHost {
			owners = append(owners, Environment(word))
		}
	}
	return owners
}
