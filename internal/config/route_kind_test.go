package config

import (
	"testing"
)

// A forgotten kind must not turn off the checks of mandates or the care for openings.
func TestTheKindOfARouteIsKnownByNameAndPath(t *testing.T) {
	c, err := loadTestdata(t, "testdata/names.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Kind{
		"ebox-providers": KindEBox, "ebox-registry": KindRegistry, "grant-citizen": KindMandates,
		"mandates-by-path": KindMandates,
		"ebox-by-path":     KindEBox, "providers-by-upstream": KindEBox, "mine": KindPlain,
	}
	for _, r := range c.Routes {
		if r.Kind != want[r.Name] {
			t.Errorf("%s is %s, want %s", r.Name, r.Kind, want[r.Name])
		}
	}
	// A name that is known begins as where it is official, but for the upstream.
	if r := route(t, c, "ebox-providers"); !r.Registry || r.Path != "/ebox/providers/{providerId}" ||
		len(r.Scopes) != 1 || len(r.Rules) == 0 || r.Enterprise != Required {
		t.Errorf("%+v", r)
	}
	if r := route(t, c, "grant-citizen"); r.Path != "/grant/citizen" || r.MaxBody != 1e6 ||
		r.Scopes[0] != scopeMandates || r.Upstream.Host != "127.0.0.1:9001" {
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
	if citizen := route(t, c, "grant-citizen"); citizen.Kind != KindMandates || citizen.MaxBody != 2e6 || len(c.Routes) != 6 {
		t.Errorf("%d routes, %+v", len(c.Routes), citizen)
	}
	if own := route(t, c, "own"); own.Kind != KindMandates || own.MaxBody != 1e6 {
		t.Errorf("%+v", own)
	}
}
