package simulator_test

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/simulator"
)

func TestATokenIsAskedForAndChecked(t *testing.T) {
	l := newLab(t)
	url := l.RegistryURL() + "/messageRegistries"
	valid := l.token(simulator.ScopeRegistry)
	refused := func(name, kind string, headers ...string) {
		t.Helper()
		r := l.send("GET", url, "", headers...)
		is(t, r, 401, `"urn:problem-type:belgif:`+kind+`"`, name)
		if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %v", name, r.header)
		}
	}
	is(t, l.as(valid, 0)("GET", url, ""), 200, "", "a valid token")
	refused("none", "noAccessToken")
	refused("another scheme", "noAccessToken", "Authorization", "Basic YTpi")
	refused("two of them", "noAccessToken", "Authorization", "Bearer "+valid, "Authorization", "Bearer "+valid)
	refused("an unknown one", "invalidAccessToken", "Authorization", "Bearer nonsense")
	l.advance(5 * time.Minute)
	refused("after its lifetime", "expiredAccessToken", "Authorization", "Bearer "+valid)
	l.control("POST", "/token-lifetime", `{"lifetime":"30s"}`)
	short := l.token(simulator.ScopeRegistry)
	l.advance(29 * time.Second)
	is(t, l.as(short, 0)("GET", url, ""), 200, "", "before the end of a shorter lifetime")
	if n := l.RevokeTokens(); n != 2 {
		t.Errorf("revoked %d tokens", n)
	}
	refused("after revocation", "invalidAccessToken", "Authorization", "Bearer "+short)
}

func TestATokenOpensItsOwnAPIAlone(t *testing.T) {
	l := newLab(t)
	registry, old := l.RegistryURL()+"/messageRegistries", l.OldRegistryURL()+"/messageProviders"
	nsso, regional := l.ProviderURL("nsso"), l.ProviderURL("regional")
	for _, c := range []struct {
		name, url, scopes string // scopes are parted by blanks
		want              int
	}{
		{"registry", registry, simulator.ScopeRegistry, 200},
		{"older registry", old, simulator.ScopeRegistry, 200},
		{"older registry with the preference scope", old, simulator.ScopePreference, 403},
		{"registry with every scope of the client", registry, "", 403},
		{"version 3 messages", nsso + "/ebox/messages", simulator.ScopeDocumentConsumer, 200},
		{"version 3 messages with a version 2 scope", nsso + "/ebox/messages", simulator.ScopeMessagesFull, 403},
		{"version 3 messages with the sender's scope alone", nsso + "/ebox/messages", simulator.ScopePublicationSender, 403},
		{"version 3 messages with the grant scope besides", nsso + "/ebox/messages",
			simulator.ScopeDocumentConsumer + " " + simulator.ScopeCitizenMandates, 403},
		{"version 2 summary", regional + "/ebox", simulator.ScopeSummaryOwnEbox, 200},
		{"version 2 messages with the summary scope", regional + "/ebox/messages", simulator.ScopeSummaryOwnEbox, 403},
		{"version 2 reference data", regional + "/referenceData/messageTypes", simulator.ScopeReferenceData, 200},
		{"version 2 messages with a version 3 scope", regional + "/ebox/messages", simulator.ScopeDocumentConsumer, 403},
		{"citizen mandates with an e-Box scope", l.GrantURL() + "/mandates", simulator.ScopeDocumentConsumer, 403},
	} {
		says := ""
		if c.want == 403 {
			says = "missingScope"
		}
		r := l.as(l.token(strings.Fields(c.scopes)...), 0)("GET", c.url, "")
		is(t, r, c.want, says, c.name)
		if c.want == 403 && !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="scope:`) {
			t.Errorf("%s: no scope in %v", c.name, r.header)
		}
	}
}

func TestTheRepresentedEnterpriseNeedsAMandate(t *testing.T) {
	l := newLab(t)
	token, url := l.token(simulator.ScopeDocumentConsumer), l.ProviderURL("nsso")+"/ebox/messages"
	for _, c := range []struct {
		name    string
		headers []string
		want    int
		says    string
	}{
		{"with a mandate", []string{onBehalfOf, "0206731645"}, 200, "0206731645"},
		{"no header is the client's own e-Box", nil, 200, office.String()},
		{"the client's own number", []string{onBehalfOf, office.String()}, 200, office.String()},
		{"an ended mandate", []string{onBehalfOf, "0474028805"}, 403, "has ended"},
		{"no mandate", []string{onBehalfOf, "0800002352"}, 403, "no mandate"},
		{"with dots", []string{onBehalfOf, "0206.731.645"}, 400, "ten digits"},
		{"a wrong check digit", []string{onBehalfOf, "0206731646"}, 400, "ten digits"},
		{"empty", []string{onBehalfOf, ""}, 400, "ten digits"},
		{"twice", []string{onBehalfOf, "0206731645", onBehalfOf, "0206731645"}, 400, "once"},
		{"an alias counts for nothing", []string{"On_Behalf_Of_Enterprise_Number", "0206731645"}, 200, office.String()},
	} {
		headers := append([]string{"Authorization", "Bearer " + token}, c.headers...)
		is(t, l.send("GET", url, "", headers...), c.want, c.says, c.name)
	}
	const stranger enterprise.Number = 800002352
	get := l.as(token, stranger)
	day := func(days int) string { return l.now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	for _, c := range []struct {
		name, mandate string
		want          int
	}{
		{"not begun", `"from":"` + day(1) + `"`, 403},
		{"a new mandate", `"from":"` + day(0) + `","until":"` + day(1) + `"`, 200},
		{"that of the office has ended, not that of all",
			`"representative":"` + office.String() + `","until":"` + day(0) + `"`, 403},
	} {
		l.control("PUT", "/mandates", `{"enterprise":"0800002352","kind":"e-box",`+c.mandate+`}`)
		is(t, get("GET", url, ""), c.want, "", c.name)
	}
	l.control("DELETE", "/mandates", `{"enterprise":"0800002352"}`)
	is(t, get("GET", url, ""), 403, "no mandate", "removed")
}
