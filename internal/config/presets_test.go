package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parseText(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("config.yaml", []byte(text), t.TempDir(), environment)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const office = "oauth: {clients: {office: {clientId: abc, keystore: {file: client.p12}}}}\n"

// Each environment has the URLs that are public, and no others.
func TestEnvironmentsFillInWhatOfficiallyExists(t *testing.T) {
	type routes map[string]string // path to upstream and scope
	const (
		ebox       = "scope:document:management:consult:ws-eboxrestentreprise:"
		federation = "scope:documentmanagement:ebox:enterprise:federation-rest:"
		mandates   = " scope:ksz-bcss:mandates:citizen:management:-managemandate"
	)
	all := func(host string) routes {
		return routes{
			"/ebox/providers/{providerId}": "registry " + ebox + "documentconsumer",
			"/ebox/registry": host + "/REST/ebox/enterprise/federation/documentProviderRegistry/v1 " +
				federation + "registry",
			"/ebox/partition":  host + "/REST/ebox/enterprise/partition/v1 " + ebox + "documentconsumer",
			"/ebox/federation": host + "/REST/ebox/enterprise/federation/v1 " + federation + "preference",
			"/grant/citizen":   host + "/REST/grant/citizen/v1" + mandates,
		}
	}
	simulation := all("https://services-sim.socialsecurity.be")
	delete(simulation, "/ebox/federation")
	delete(simulation, "/grant/citizen")
	for environment, want := range map[string]struct {
		extra, token, registry string
		routes                 routes
		absent                 []string
	}{
		"production": {
			token:    "https://services.socialsecurity.be/REST/oauth/v5/token",
			registry: "https://services.socialsecurity.be/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries",
			routes:   all("https://services.socialsecurity.be"),
		},
		"acceptance": {
			token:    "https://services-acpt.socialsecurity.be/REST/oauth/v5/token",
			registry: "https://services-acpt.socialsecurity.be/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries",
			routes:   all("https://services-acpt.socialsecurity.be"),
		},
		"simulation": {
			token:    "https://services.socialsecurity.be/REST/oauth/v5/token",
			registry: "https://services-sim.socialsecurity.be/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries",
			routes:   simulation,
			absent:   []string{"/ebox/federation", "/grant/citizen"},
		},
		"integration": {
			extra: "https://login-int.example.be/token", token: "https://login-int.example.be/token",
			routes: routes{"/grant/citizen": "https://services-int.socialsecurity.be/REST/grant/citizen/v1" + mandates},
			absent: []string{"/ebox"},
		},
		"test": {
			extra: "https://login-test.example.be/token", token: "https://login-test.example.be/token",
			routes: routes{"/grant/citizen": "https://services-test.socialsecurity.be/REST/grant/citizen/v1" + mandates},
			absent: []string{"/ebox"},
		},
		"custom": {routes: routes{}},
	} {
		t.Run(environment, func(t *testing.T) {
			text := "environment: " + environment + "\n" + office
			if want.extra != "" {
				text = strings.Replace(text, "oauth: {", "oauth: {tokenUrl: \""+want.extra+"\", ", 1)
			}
			c := parseText(t, text)
			if c.OAuth.TokenURL != want.token || c.OAuth.Audience != want.token {
				t.Errorf("token endpoint %s, audience %s", c.OAuth.TokenURL, c.OAuth.Audience)
			}
			registry := ""
			if c.Registry.URL != nil {
				registry = c.Registry.URL.String()
			}
			if registry != want.registry {
				t.Errorf("registry %q", registry)
			}
			got := routes{}
			for _, r := range c.Routes {
				upstream := "registry"
				if !r.Registry {
					upstream = r.Upstream.String()
				}
				got[r.Path] = upstream + " " + strings.Join(r.Scopes, " ")
			}
			if diff := cmp.Diff(want.routes, got); diff != "" {
				t.Errorf("routes (-want +got)\n%s", diff)
			}
			var absent []string
			for _, a := range c.Absent {
				absent = append(absent, a.Path)
			}
			if diff := cmp.Diff(want.absent, absent); diff != "" {
				t.Errorf("absent (-want +got)\n%s", diff)
			}
		})
	}
}

// Message Registries are run by third parties: a token for one of them carries the
// scope of the call and no more, in the parts that v2 knows.
func TestARegistryTokenOpensNoMoreThanTheCallNeeds(t *testing.T) {
	const ebox = "scope:document:management:consult:ws-eboxrestentreprise:"
	publishing := []string{"/publishMessage", "/linkEboxMessage", "/searchMessageStatus", "/ebox/messages", "/messages"}
	want := []ScopeRule{
		{Methods: []string{"POST"}, Paths: publishing, For: ForAnother,
			Scopes: []string{ebox + "eboxrepresentativepublication"}},
		{Methods: []string{"POST"}, Paths: publishing, For: ForOwn, Scopes: []string{ebox + "publicationsender"}},
		{Methods: []string{"GET"}, Paths: []string{"/ebox"}, APIVersions: []string{"2"},
			Scopes: []string{ebox + "summaryownebox"}},
		{Paths: []string{"/ebox/messages/**"}, APIVersions: []string{"2"}, Scopes: []string{ebox + "messagesfull"}},
		{Methods: []string{"GET"}, Paths: []string{"/referenceData/**"}, APIVersions: []string{"2"},
			Scopes: []string{ebox + "referencedata"}},
	}
	for _, environment := range []string{"production", "acceptance", "simulation"} {
		c := parseText(t, "environment: "+environment+"\n"+office)
		if diff := cmp.Diff(want, route(t, c, "ebox-providers").Rules); diff != "" {
			t.Errorf("%s (-want +got)\n%s", environment, diff)
		}
		for _, r := range c.Routes {
			if len(r.Scopes) != 1 {
				t.Errorf("%s asks for %v", r.Name, r.Scopes)
			}
		}
	}
}

func route(t testing.TB, c *Config, name string) *Route {
	t.Helper()
	for i := range c.Routes {
		if c.Routes[i].Name == name {
			return &c.Routes[i]
		}
	}
	t.Fatalf("no route %s", name)
	return nil
}

func TestDefaultsByKindOfRoute(t *testing.T) {
	c := parseText(t, "environment: production\n"+office+
		`routes: [{name: own, path: /own, upstream: "https://own.example.be/", scopes: []}]`)
	for name, want := range map[string]struct {
		enterprise     Demand
		maxBody        Size
		rewrite, cache bool
		methods        int
	}{
		"ebox-providers":  {Required, Unlimited, true, true, 5},
		"ebox-partition":  {Required, Unlimited, true, true, 5},
		"ebox-federation": {Required, Unlimited, true, true, 5},
		"ebox-registry":   {None, Unlimited, true, true, 1},
		"grant-citizen":   {Optional, 1_000_000, true, false, 5},
		"own":             {Optional, Unlimited, true, false, 5},
	} {
		r := route(t, c, name)
		if r.Enterprise != want.enterprise || r.MaxBody != want.maxBody || r.RewriteLinks != want.rewrite ||
			r.Cache.Enabled != want.cache || len(r.Methods) != want.methods {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if u := route(t, c, "own").Upstream.String(); u != "https://own.example.be" {
		t.Errorf("the upstream is %s", u)
	}
}

func TestARouteOfTheEnvironmentChangesOnlyWhatTheFileSays(t *testing.T) {
	base := parseText(t, "environment: production\n"+office)
	c := parseText(t, "environment: production\n"+office+
		"routes: [{name: ebox-providers, timeouts: {header: 5s}, cache: {enabled: false}}, {name: ebox-partition, "+
		"upstream: {registry: true}, path: \"/ebox/partition/{providerId}\"}]")
	want := *route(t, base, "ebox-providers")
	want.Timeouts.Header = 5 * time.Second
	want.Cache.Enabled = false
	if diff := cmp.Diff(&want, route(t, c, "ebox-providers")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(c.Routes) != len(base.Routes) || c.Routes[0].Name != "ebox-providers" {
		t.Error("the routes changed their places")
	}
	if r := route(t, c, "ebox-partition"); !r.Registry || r.Upstream != nil {
		t.Errorf("the upstream is %v", r.Upstream)
	}
	if rule := route(t, base, "ebox-providers").Cache.Rules[0]; rule.Shared != SharedAlways ||
		rule.DefaultTTL != 24*time.Hour || rule.StaleWhileRevalidate != 48*time.Hour || !rule.WhenSilent ||
		rule.Paths[0] != "/referenceData/**" {
		t.Errorf("reference data is kept %+v", rule)
	}
	if cache := route(t, base, "ebox-providers").Cache; cache.Shared != SharedNever || cache.DefaultTTL != 0 {
		t.Errorf("messages are kept %+v", cache)
	}
}

func TestAnOwnRouteTakesTheAbsenceAway(t *testing.T) {
	c := parseText(t, "environment: simulation\n"+office+
		`routes: [{name: grant-citizen, path: /grant/citizen, kind: mandates, upstream: "https://mandates.example.be", scopes: [a]}]`)
	for _, a := range c.Absent {
		if a.Path == "/grant/citizen" {
			t.Error("still absent")
		}
	}
	if len(c.Absent) != 1 {
		t.Errorf("absent are %v", c.Absent)
	}
}
