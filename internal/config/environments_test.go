package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each environment has the URLs that are public, and no others.
func TestEnvironmentsFillInWhatOfficiallyExists(t *testing.T) {
	type routes map[string]string // path to upstream and scope
	const (
		ebox       = "scope:document:management:consult:ws-eboxrestentreprise:"
		federation = "scope:documentmanagement:ebox:enterprise:federation-rest:"
		list       = "/REST/ebox/enterprise/federation/documentProviderRegistry/v1/messageRegistries"
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
			registry: "https://services.socialsecurity.be" + list,
			routes:   all("https://services.socialsecurity.be"),
		},
		"acceptance": {
			token:    "https://services-acpt.socialsecurity.be/REST/oauth/v5/token",
			registry: "https://services-acpt.socialsecurity.be" + list,
			routes:   all("https://services-acpt.socialsecurity.be"),
		},
		"simulation": {
			token:    "https://services.socialsecurity.be/REST/oauth/v5/token",
			registry: "https://services-sim.socialsecurity.be" + list,
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
