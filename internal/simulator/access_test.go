package simulator

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
)

func TestATokenIsAskedForAndChecked(t *testing.T) {
	l := newLab(t)
	url := l.RegistryURL() + "/messageRegistries"
	valid := l.token(ScopeRegistry)
	is(t, l.as(valid, 0)("GET", url, ""), 200, "", "a valid token")
	for _, c := range []struct {
		name, problem string
		headers       []string
	}{
		{"none", "noAccessToken", nil},
		{"another scheme", "noAccessToken", []string{"Authorization", "Basic YTpi"}},
		{"two of them", "noAccessToken", []string{"Authorization", "Bearer " + valid, "Authorization", "Bearer " + valid}},
		{"an unknown one", "invalidAccessToken", []string{"Authorization", "Bearer nonsense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.send("GET", url, "", c.headers...)
			if r.status != 401 || !strings.HasSuffix(typeOf(t, r), ":"+c.problem) ||
				!strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
				t.Fatalf("%d %s %q", r.status, r.body, r.header.Get("WWW-Authenticate"))
			}
		})
	}
	l.now.advance(5 * time.Minute)
	if r := l.as(valid, 0)("GET", url, ""); r.status != 401 || !strings.HasSuffix(typeOf(t, r), ":expiredAccessToken") {
		t.Errorf("after its lifetime: %d %s", r.status, r.body)
	}
	l.setTokenLifetime(30 * time.Second)
	short := l.token(ScopeRegistry)
	l.now.advance(29 * time.Second)
	is(t, l.as(short, 0)("GET", url, ""), 200, "", "before the end of a shorter lifetime")
	if n := l.RevokeTokens(); n != 2 {
		t.Errorf("revoked %d tokens", n)
	}
	if r := l.as(short, 0)("GET", url, ""); !strings.HasSuffix(typeOf(t, r), ":invalidAccessToken") {
		t.Errorf("after revocation: %s", r.body)
	}
}

func typeOf(t *testing.T, r reply) string {
	t.Helper()
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	return decode[struct{ Type string }](t, r).Type
}

func TestATokenOpensItsOwnAPIAlone(t *testing.T) {
	l := newLab(t)
	registry, old := l.RegistryURL()+"/messageRegistries", l.OldRegistryURL()+"/messageProviders"
	nsso, regional := l.ProviderURL("nsso"), l.ProviderURL("regional")
	partitions, mandates := l.PartitionURL()+"/ebox/"+office.String()+"/routingRules", l.GrantURL()+"/mandates"
	for _, c := range []struct {
		name, url, scopes string // scopes are parted by blanks
		want              int
	}{
		{"registry", registry, ScopeRegistry, 200},
		{"older registry", old, ScopeRegistry, 200},
		{"older registry with the preference scope", old, ScopePreference, 403},
		{"registry with a scope of the e-Box besides", registry, ScopeRegistry + " " + ScopeDocumentConsumer, 403},
		{"registry with every scope of the client", registry, "", 403},
		{"version 3 messages", nsso + "/ebox/messages", ScopeDocumentConsumer, 200},
		{"version 3 messages with a version 2 scope", nsso + "/ebox/messages", ScopeMessagesFull, 403},
		{"version 3 messages with the sender's scope alone", nsso + "/ebox/messages", ScopePublicationSender, 403},
		{"version 3 messages with the grant scope besides", nsso + "/ebox/messages",
			ScopeDocumentConsumer + " " + ScopeCitizenMandates, 403},
		{"version 2 summary", regional + "/ebox", ScopeSummaryOwnEbox, 200},
		{"version 2 messages", regional + "/ebox/messages", ScopeMessagesFull, 200},
		{"version 2 messages with the summary scope", regional + "/ebox/messages", ScopeSummaryOwnEbox, 403},
		{"version 2 reference data", regional + "/referenceData/messageTypes", ScopeReferenceData, 200},
		{"version 2 messages with a version 3 scope", regional + "/ebox/messages", ScopeDocumentConsumer, 403},
		{"sent messages with the reader's scope", nsso + "/ebox/sentMessages", ScopeDocumentConsumer, 403},
		{"partitions", partitions, ScopeDocumentConsumer, 200},
		{"citizen mandates", mandates, ScopeCitizenMandates, 200},
		{"citizen mandates with an e-Box scope", mandates, ScopeDocumentConsumer, 403},
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
	search := l.FederationURL() + "/eboxPreferences/search"
	is(t, l.as(l.token(ScopePreference), 0)("POST", search, ""), 415, "", "preferences")
	is(t, l.as(l.token(ScopeRegistry), 0)("POST", search, ""), 403, "missingScope", "preferences for the registry's scope")
}

func TestTheRepresentedEnterpriseNeedsAMandate(t *testing.T) {
	l := newLab(t)
	token := l.token(ScopeDocumentConsumer)
	url := l.ProviderURL("nsso") + "/ebox/messages"
	for _, c := range []struct {
		name    string
		headers []string
		want    int
		says    string
	}{
		{"with a mandate", []string{onBehalfOf, "0206731645"}, 200, "0206731645"},
		{"another with a mandate", []string{onBehalfOf, "0212148896"}, 200, "0212148896"},
		{"no header is the client's own e-Box", nil, 200, office.String()},
		{"the client's own number", []string{onBehalfOf, office.String()}, 200, office.String()},
		{"an ended mandate", []string{onBehalfOf, "0474028805"}, 403, "has ended"},
		{"no mandate", []string{onBehalfOf, "0800002352"}, 403, "no mandate"},
		{"with dots", []string{onBehalfOf, "0206.731.645"}, 400, "ten digits"},
		{"nine digits", []string{onBehalfOf, "206731645"}, 400, "ten digits"},
		{"with BE", []string{onBehalfOf, "BE0206731645"}, 400, "ten digits"},
		{"a wrong check digit", []string{onBehalfOf, "0206731646"}, 400, "ten digits"},
		{"empty", []string{onBehalfOf, ""}, 400, "ten digits"},
		{"twice", []string{onBehalfOf, "0206731645", onBehalfOf, "0206731645"}, 400, "once"},
		{"an alias counts for nothing", []string{"On_Behalf_Of_Enterprise_Number", "0206731645"}, 200, office.String()},
	} {
		headers := append([]string{"Authorization", "Bearer " + token}, c.headers...)
		is(t, l.send("GET", url, "", headers...), c.want, c.says, c.name)
	}
}

func TestMandatesCanChange(t *testing.T) {
	l := newLab(t)
	const stranger enterprise.Number = 800002352
	get := l.as(l.token(ScopeDocumentConsumer), stranger)
	url := l.ProviderURL("nsso") + "/ebox"
	for _, c := range []struct {
		name    string
		mandate mandate
		want    int
	}{
		{"not validated", mandate{Unvalidated: true}, 403},
		{"terms of use not accepted", mandate{TermsRefused: true}, 403},
		{"not begun", mandate{From: l.now.Now().Add(time.Hour)}, 403},
		{"a new mandate", mandate{}, 200},
		{"that of the office has ended, not that of all", mandate{Representative: office, Until: l.now.Now()}, 403},
	} {
		c.mandate.Enterprise, c.mandate.Kind = stranger, mandateEbox
		l.setMandate(c.mandate)
		is(t, get("GET", url, ""), c.want, "", c.name)
	}
	l.removeMandates(stranger, "")
	is(t, get("GET", url, ""), 403, "no mandate", "removed")
	if n := len(l.mandateList()); n != 6 {
		t.Errorf("%d mandates are left", n)
	}
}
