package status

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/resilience"
)

func TestAListenersCertificateIsWatched(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		31 * 24 * time.Hour: "",
		29 * 24 * time.Hour: severityNotice,
		6 * 24 * time.Hour:  severityDegraded,
		-time.Minute:        severityFailing,
	} {
		if got := expiring("listener a", now.Add(left), now); got.Severity != want || (got.Text == "") != (want == "") {
			t.Errorf("%s before the end: %+v", left, got)
		}
	}
}

var night = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

func TestACircuitThatIsOpenForOneEnterpriseAloneIsANotice(t *testing.T) {
	for text, state := range map[string]resilience.State{
		"": {Circuit: "closed"},
		"its circuit is open for enterprise 0206731645 alone: their calls failed, others' were answered": {
			Circuit: "closed", OpenFor: []string{"0206731645"}},
		"its circuit is open for enterprise 0206731645 and 2 more alone: their calls failed, others' were answered": {
			Circuit: "closed", OpenFor: []string{"0206731645", "0474028805", "own"}},
		// A provider that nobody calls must not keep a monitor alarmed.
		"it had been failing, and too few have called since 02:50:00 UTC to know whether it still does: the next calls " +
			"find out": {Circuit: "half-open", UntriedSince: night.Add(-10 * time.Minute)},
	} {
		u := operate.Upstream{Name: "provider nsso", State: state}
		list := causesOfUpstream(u, night)
		if text == "" && len(list) == 0 {
			continue
		}
		if len(list) != 1 || list[0].Text != text || list[0].Severity != severityNotice || list[0].Part != u.Name {
			t.Errorf("%+v", list)
		}
	}
}

// invalid_client is what an expired certificate leads to: the certificate is what somebody
// has to see to.
func TestAnExpiredCertificateIsTheCauseOfARefusedToken(t *testing.T) {
	refused := []authn.TokenStatus{{Error: &authn.FailureStatus{Code: "invalid_client",
		Text: "fetching token for payroll: the Authorization Server refuses with invalid_client (status 401) " +
			"for scope \"a\"",
		Until: night.Add(90 * time.Second)}}}
	for name, c := range map[string]struct {
		client            authn.ClientStatus
		severity, runbook string
		text              []string
	}{
		"expired": {
			authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyExpired, NotAfter: night.Add(-time.Hour)}, Tokens: refused},
			severityFailing, "eboxcertificateexpires", []string{"its certificate expired on 2026-11-28",
				"answers invalid_client", "next try 03:01:30 UTC"},
		},
		"good": {
			authn.ClientStatus{Name: "payroll", Key: &authn.KeyStatus{State: authn.KeyUsable}, Tokens: refused},
			severityFailing, "eboxtokenrefused", []string{"the Authorization Server refuses with invalid_client (status 401); " +
				"next try 03:01:30 UTC"},
		},
		"expired, and the token still good": {
			authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyExpired, NotAfter: night.Add(-time.Hour)},
				Tokens: []authn.TokenStatus{{Hash: "ab"}}},
			severityDegraded, "eboxcertificateexpires", []string{"expired on 2026-11-28, 02:00 UTC"},
		},
		"expired, and the token still good cannot be renewed": {
			authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyExpired, NotAfter: night.Add(-time.Hour)},
				Tokens: []authn.TokenStatus{{Hash: "ab", Error: refused[0].Error}}},
			severityDegraded, "eboxcertificateexpires", []string{"expired on 2026-11-28", "answers invalid_client"},
		},
		"good, and the token still good cannot be renewed": {
			authn.ClientStatus{Name: "payroll", Key: &authn.KeyStatus{State: authn.KeyUsable},
				Tokens: []authn.TokenStatus{{Hash: "ab", Expires: night.Add(time.Minute), Error: refused[0].Error}}},
			severityDegraded, "eboxtokenrefused", []string{"refuses with invalid_client",
				"calls fail once the token in use ends, 03:01:00 UTC", "next try 03:01:30 UTC"},
		},
		"good, and a provider refuses each": {
			authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyUsable}, Tokens: []authn.TokenStatus{{Hash: "ab",
				RefusedBy: map[string]time.Time{"provider nsso": night.Add(40 * time.Second)}}}},
			severityFailing, "eboxtokenrefused", []string{"provider nsso refuses its token (401)", "03:00:40 UTC"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			list := causesOfClient(c.client, night)
			if len(list) != 1 || list[0].Severity != c.severity || list[0].Runbook != runbook(c.runbook) ||
				list[0].Remedy == "" {
				t.Fatalf("%+v", list)
			}
			for _, part := range c.text {
				if !strings.Contains(list[0].Text, part) || strings.Contains(list[0].Text, "payroll") {
					t.Errorf("no %q in %q", part, list[0].Text)
				}
			}
		})
	}
}

// The alert fires while the tokens in use are good: whoever follows it has to find the cause.
func TestAnAuthorizationServerThatIsGoneIsNamedBeforeCallsFail(t *testing.T) {
	for since, want := range map[time.Duration]int{4 * time.Second: 0, 6 * time.Second: 1} {
		list := causesOfClient(authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyUsable}, Tokens: []authn.TokenStatus{{
			Hash: "ab", Expires: night.Add(time.Minute),
			Error: &authn.FailureStatus{Code: authn.Unavailable, Text: "it did not answer in time", Since: night.Add(-since)},
		}}}, night)
		if len(list) != want || want == 1 && (list[0].Severity != severityDegraded ||
			list[0].Runbook != runbook("eboxtokenunavailable") ||
			list[0].Text != "it did not answer in time; calls fail once the token in use ends, 03:01:00 UTC") {
			t.Errorf("after %s: %+v", since, list)
		}
	}
}

func TestAFrozenUpstreamIsSeenWithinSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		waiting int
		since   time.Duration
		want    bool
	}{
		"five callers for six seconds":  {5, 6 * time.Second, true},
		"five callers for four seconds": {5, 4 * time.Second, false},
		"one slow call":                 {1, 6 * time.Second, false},
		"one call for long":             {1, 16 * time.Second, true},
	} {
		waiting := proxy.WaitingState{Calls: c.waiting, Oldest: night.Add(-c.since), Unanswered: night.Add(-c.since)}
		list := causesOfUpstream(operate.Upstream{Name: "provider nsso", State: resilience.State{Circuit: resilience.Closed},
			WaitingState: waiting}, night)
		if (len(list) == 1) != c.want || c.want && (list[0].Severity != severityFailing || list[0].Part != "provider nsso" ||
			!strings.Contains(list[0].Text, "frozen")) {
			t.Errorf("%s: %+v", name, list)
		}
		// The probe of a circuit waits in vain: that nobody has called is not said besides.
		list = causesOfUpstream(operate.Upstream{Name: "provider nsso", WaitingState: waiting,
			State: resilience.State{Circuit: resilience.HalfOpen, UntriedSince: night.Add(-time.Minute)}}, night)
		if len(list) != 1 || strings.Contains(list[0].Text, "frozen") != c.want {
			t.Errorf("%s, of a circuit that is half-open: %+v", name, list)
		}
	}
}

func TestConnectionsThatAreClosedUnansweredAreSaid(t *testing.T) {
	for want, c := range map[string]struct{ short, turnedAway bool }{
		"":                               {},
		"idle ones are closed":           {short: true},
		"further ones are closed":        {short: true, turnedAway: true},
		"server.limits.maxConnections a": {turnedAway: true},
	} {
		list := causesOfDescriptors(c.short, c.turnedAway)
		if len(list) == 0 != (want == "") || want != "" && (!strings.Contains(list[0].Text, want) || list[0].Remedy == "") {
			t.Errorf("%+v: %+v", c, list)
		}
	}
}

func TestTheAuthorizationServersTroubleIsSaidOnce(t *testing.T) {
	open := resilience.State{Circuit: "open"}
	upstreams := []operate.Upstream{{Name: operate.TokenEndpoint, State: open}, {Name: "provider nsso", State: open}}
	for noAnswer, want := range map[bool]int{true: 1, false: 2} {
		if list := causesOfUpstreams(upstreams, noAnswer, night); len(list) != want ||
			list[want-1].Part != "provider nsso" {
			t.Errorf("a client without an answer: %t: %+v", noAnswer, list)
		}
	}
}

func TestEvidenceSaysWhatToDoAboutIt(t *testing.T) {
	for name, c := range map[string]struct {
		status                *audit.Status
		text, remedy, section string
	}{
		"none is kept": {nil, "", "", ""},
		"well":         {&audit.Status{Sequence: 7}, "", "", ""},
		"a full disk": {&audit.Status{Failing: "no space left", Waiting: 3, Since: night},
			"cannot be written since 03:00:00 UTC; 3 records wait in memory: no space left", "Make room",
			"eboxevidencefailing"},
		"a file that was taken": {&audit.Status{Missing: "the file x was removed", Since: night},
			"evidence is missing since 03:00:00 UTC: the file x was removed", "Put it back", "eboxevidencemissing"},
		"no time stamps": {&audit.Status{Stamping: "it answered 503"}, "it answered 503", "audit.timestampUrl",
			"eboxevidenceunstamped"},
	} {
		a := causeOfEvidence(c.status, night)
		if !strings.Contains(a.Text, c.text) || (a.Text == "") != (c.text == "") || !strings.Contains(a.Remedy, c.remedy) ||
			c.section != "" && a.Runbook != runbook(c.section) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
