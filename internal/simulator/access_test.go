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
	if r := l.as(valid, 0)("GET", url, ""); r.status != 200 {
		t.Fatalf("a valid token: %d %s", r.status, r.body)
	}
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
	l.SetTokenLifetime(30 * time.Second)
	short := l.token(ScopeRegistry)
	l.now.advance(29 * time.Second)
	if r := l.as(short, 0)("GET", url, ""); r.status != 200 {
		t.Errorf("before the end of a shorter lifetime: %d", r.status)
	}
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
	nsso, regional := l.ProviderURL("nsso"), l.ProviderURL("regional")
	for _, c := range []struct {
		name, method, url string
		scopes            []string
		want              int
	}{
		{"registry", "GET", l.RegistryURL() + "/messageRegistries", []string{ScopeRegistry}, 200},
		{"older registry", "GET", l.OldRegistryURL() + "/messageProviders", []string{ScopeRegistry}, 200},
		{"older registry with the preference scope", "GET", l.OldRegistryURL() + "/messageProviders",
			[]string{ScopePreference}, 403},
		{"registry with a scope of the e-Box besides", "GET", l.RegistryURL() + "/messageRegistries",
			[]string{ScopeRegistry, ScopeDocumentConsumer}, 403},
		{"registry with every scope of the client", "GET", l.RegistryURL() + "/messageRegistries", nil, 403},
		{"version 3 messages", "GET", nsso + "/ebox/messages", []string{ScopeDocumentConsumer}, 200},
		{"version 3 messages with a version 2 scope", "GET", nsso + "/ebox/messages", []string{ScopeMessagesFull}, 403},
		{"version 3 messages with the sender's scope alone", "GET", nsso + "/ebox/messages",
			[]string{ScopePublicationSender}, 403},
		{"version 3 messages with the grant scope besides", "GET", nsso + "/ebox/messages", []string{ScopeDocumentConsumer,
			ScopeCitizenMandates}, 403},
		{"version 2 summary", "GET", regional + "/ebox", []string{ScopeSummaryOwnEbox}, 200},
		{"version 2 messages", "GET", regional + "/ebox/messages", []string{ScopeMessagesFull}, 200},
		{"version 2 messages with the summary scope", "GET", regional + "/ebox/messages", []string{ScopeSummaryOwnEbox}, 403},
		{"version 2 reference data", "GET", regional + "/referenceData/messageTypes", []string{ScopeReferenceData}, 200},
		{"version 2 messages with a version 3 scope", "GET", regional + "/ebox/messages",
			[]string{ScopeDocumentConsumer}, 403},
		{"partitions", "GET", l.PartitionURL() + "/ebox/" + office.String(), []string{ScopeDocumentConsumer}, 200},
		{"preferences", "POST", l.FederationURL() + "/eboxPreferences/search", []string{ScopePreference}, 415},
		{"preferences with the registry scope", "POST", l.FederationURL() + "/eboxPreferences/search",
			[]string{ScopeRegistry}, 403},
		{"sent messages with the reader's scope", "GET", nsso + "/ebox/sentMessages", []string{ScopeDocumentConsumer}, 403},
		{"citizen mandates", "GET", l.GrantURL() + "/mandates", []string{ScopeCitizenMandates}, 200},
		{"citizen mandates with an e-Box scope", "GET", l.GrantURL() + "/mandates", []string{ScopeDocumentConsumer}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.as(l.token(c.scopes...), 0)(c.method, c.url, "")
			if r.status != c.want {
				t.Fatalf("%d %s, want %d", r.status, r.body, c.want)
			}
			if c.want == 403 && (!strings.Contains(string(r.body), "missingScope") ||
				!strings.Contains(r.header.Get("WWW-Authenticate"), `scope="scope:`)) {
				t.Errorf("no missingScope in %s, or no scope in %v", r.body, r.header)
			}
		})
	}
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
		t.Run(c.name, func(t *testing.T) {
			r := l.send("GET", url, "", append([]string{"Authorization", "Bearer " + token}, c.headers...)...)
			if r.status != c.want || !strings.Contains(string(r.body), c.says) {
				t.Fatalf("%d %.300s, want %d and %q", r.status, r.body, c.want, c.says)
			}
		})
	}
}

func TestMandatesCanChange(t *testing.T) {
	l := newLab(t)
	const stranger enterprise.Number = 800002352
	get := l.as(l.token(ScopeDocumentConsumer), stranger)
	url := l.ProviderURL("nsso") + "/ebox"
	status := func(m Mandate) int {
		m.Enterprise, m.Kind = stranger, MandateEbox
		l.SetMandate(m)
		return get("GET", url, "").status
	}
	if got := status(Mandate{}); got != 200 {
		t.Errorf("a new mandate: %d", got)
	}
	if got := status(Mandate{Unvalidated: true}); got != 403 {
		t.Errorf("not validated: %d", got)
	}
	if got := status(Mandate{TermsRefused: true}); got != 403 {
		t.Errorf("terms of use not accepted: %d", got)
	}
	if got := status(Mandate{From: l.now.Now().Add(time.Hour)}); got != 403 {
		t.Errorf("not begun: %d", got)
	}
	status(Mandate{})
	l.SetMandate(Mandate{Enterprise: stranger, Representative: office, Kind: MandateEbox, Until: l.now.Now()})
	if got := get("GET", url, "").status; got != 403 {
		t.Errorf("this office's own mandate has ended, that of the others counted: %d", got)
	}
	l.RemoveMandates(stranger, "")
	if got := get("GET", url, "").status; got != 403 || len(l.Mandates()) != 6 {
		t.Errorf("removed: %d", got)
	}
}
