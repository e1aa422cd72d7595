package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func parseText(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("config.yaml", []byte(text), t.TempDir(), environment)
	testkit.Must(t, err)
	return c
}

const office = "oauth: {clients: {office: {clientId: abc, keystore: {file: client.p12}}}}\n"

// Message Registries are run by third parties: a token for one of them carries the
// scope of the call and no more, in the parts that v2 knows.
func TestARegistryTokenOpensNoMoreThanTheCallNeeds(t *testing.T) {
	const ebox = "scope:document:management:consult:ws-eboxrestentreprise:"
	publishing := []string{"/publishMessage", "/linkEboxMessage", "/searchMessageStatus", "/ebox/messages", "/messages"}
	want := []config.ScopeRule{
		{Methods: []string{"POST"}, Paths: publishing, For: config.ForAnother,
			Scopes: []string{ebox + "eboxrepresentativepublication"}},
		{Methods: []string{"POST"}, Paths: publishing, For: config.ForOwn, Scopes: []string{ebox + "publicationsender"}},
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

func route(t testing.TB, c *config.Config, name string) *config.Route {
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
		enterprise     config.Demand
		maxBody        config.Size
		rewrite, cache bool
		methods        int
	}{
		"ebox-providers":  {config.Required, config.Unlimited, true, true, 5},
		"ebox-partition":  {config.Required, config.Unlimited, true, true, 5},
		"ebox-federation": {config.Required, config.Unlimited, true, true, 5},
		"ebox-registry":   {config.None, config.Unlimited, true, true, 1},
		"grant-citizen":   {config.Optional, 1_000_000, true, false, 5},
		"own":             {config.Optional, config.Unlimited, true, false, 5},
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

// Audiences are compared letter by letter.
func TestTheAudienceIsTheTokenURLAsItIsWritten(t *testing.T) {
	c := parseText(t, `environment: custom
oauth: {tokenUrl: "https://Login.example.be:443/token/", clients: {office: {clientId: abc, keystore: {file: a}}}}
routes: [{name: own, path: /own, upstream: "https://own.example.be", scopes: [a]}]
`)
	if want := "https://Login.example.be:443/token/"; c.OAuth.Audience != want || c.OAuth.TokenURL != want {
		t.Errorf("the audience is %s, the token URL %s", c.OAuth.Audience, c.OAuth.TokenURL)
	}
	if lifetime := c.OAuth.Clients["office"].AssertionLifetime; lifetime != time.Minute {
		t.Errorf("assertions live for %v", lifetime)
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
	if rule := route(t, base, "ebox-providers").Cache.Rules[0]; rule.Shared != config.SharedAlways ||
		rule.DefaultTTL != 24*time.Hour || rule.StaleWhileRevalidate != 48*time.Hour || !rule.WhenSilent ||
		rule.Paths[0] != "/referenceData/**" {
		t.Errorf("reference data is kept %+v", rule)
	}
	if cache := route(t, base, "ebox-providers").Cache; cache.Shared != config.SharedNever || cache.DefaultTTL != 0 {
		t.Errorf("messages are kept %+v", cache)
	}
}

func TestAnOwnRouteTakesTheAbsenceAway(t *testing.T) {
	c := parseText(t, "environment: simulation\n"+office+"routes: [{name: grant-citizen, path: /grant/citizen, "+
		`kind: mandates, upstream: "https://mandates.example.be", scopes: [a]}]`)
	if len(c.Absent) != 1 || c.Absent[0].Path != "/ebox/federation" {
		t.Errorf("absent are %v", c.Absent)
	}
}

// A forgotten kind must not turn off the checks of mandates or the care for openings.
func TestTheKindOfARouteIsKnownByNameAndPath(t *testing.T) {
	c, err := loadTestdata(t, "testdata/names.good.yaml")
	testkit.Must(t, err)
	want := map[string]config.Kind{
		"ebox-providers": config.KindEBox, "ebox-registry": config.KindRegistry, "grant-citizen": config.KindMandates,
		"mandates-by-path": config.KindMandates,
		"ebox-by-path":     config.KindEBox, "providers-by-upstream": config.KindEBox, "mine": config.KindPlain,
	}
	for _, r := range c.Routes {
		if r.Kind != want[r.Name] {
			t.Errorf("%s is %s, want %s", r.Name, r.Kind, want[r.Name])
		}
	}
	// A name that is known begins as where it is official, but for the upstream.
	if r := route(t, c, "ebox-providers"); !r.Registry || r.Path != "/ebox/providers/{providerId}" ||
		len(r.Scopes) != 1 || len(r.Rules) == 0 || r.Enterprise != config.Required {
		t.Errorf("%+v", r)
	}
	if r := route(t, c, "grant-citizen"); r.Path != "/grant/citizen" || r.MaxBody != 1e6 ||
		r.Scopes[0] != "scope:ksz-bcss:mandates:citizen:management:-managemandate" || r.Upstream.Host != "127.0.0.1:9001" {
		t.Errorf("%+v", r)
	}
	if len(c.Routes) != len(want) {
		t.Errorf("%d routes", len(c.Routes))
	}
}

// What decides how the rest is read is found behind an alias too.
func TestAnAliasIsReadLikeItsValue(t *testing.T) {
	c := parseText(t, `
oauth:
  clients: {office: {clientId: &environment acceptance, keystore: {file: &name grant-citizen, alias: &kind mandates}}}
environment: *environment
routes:
  - {name: *name, maxBody: 2MB}
  - {name: own, kind: *kind, path: /own, upstream: "https://own.example.be", scopes: []}
`)
	if citizen := route(t, c, "grant-citizen"); citizen.Kind != config.KindMandates || citizen.MaxBody != 2e6 ||
		len(c.Routes) != 6 {
		t.Errorf("%d routes, %+v", len(c.Routes), citizen)
	}
	if own := route(t, c, "own"); own.Kind != config.KindMandates || own.MaxBody != 1e6 {
		t.Errorf("%+v", own)
	}
}
