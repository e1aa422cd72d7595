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

// The tests are inside the package, since what they are about takes days, or an Authorization Server
// that fails in a certain way, to come about in a gateway.

var night = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// says compares what was found with "severity #section text", one or none.
func says(t *testing.T, name string, list attentions, want string) {
	t.Helper()
	got := ""
	for _, a := range list {
		got += a.Severity + strings.TrimPrefix(a.Runbook, "/docs/operations.md") + " " + a.Text
		if a.Remedy == "" && a.Severity != severityNotice {
			t.Errorf("%s: nobody is told what to do", name)
		}
	}
	if got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestAListenersCertificateIsWatched(t *testing.T) {
	for left, want := range map[time.Duration]string{
		31 * 24 * time.Hour: "",
		29 * 24 * time.Hour: "notice#eboxlistenercertificateexpiressoon its certificate expires in 29 days, on " +
			"2026-12-27 03:00:00 UTC",
		6 * 24 * time.Hour: "degraded#eboxlistenercertificateexpires its certificate expires in 6 days, on " +
			"2026-12-04 03:00:00 UTC",
		-time.Minute: "failing#eboxlistenercertificateexpires its certificate expired on 02:59:00 UTC: callers that check " +
			"it cannot connect",
	} {
		var got attentions
		got.ofListener("listener a", night.Add(left), night)
		says(t, left.String(), got, want)
	}
}

func TestHowAnUpstreamStands(t *testing.T) {
	type state = resilience.State
	waiting := func(calls int, since time.Duration) proxy.WaitingState {
		return proxy.WaitingState{Calls: calls, Oldest: night.Add(-since), Unanswered: night.Add(-since)}
	}
	for name, c := range map[string]struct {
		state   state
		waiting proxy.WaitingState
		want    string
	}{
		"well": {state: state{Circuit: "closed"}},
		"for one enterprise alone": {state: state{Circuit: "closed", OpenFor: []string{"0206731645"}},
			want: "notice#eboxcircuitopen its circuit is open for enterprise 0206731645 alone: their calls failed, others' " +
				"were answered"},
		"for three": {state: state{Circuit: "closed", OpenFor: []string{"0206731645", "0474028805", "own"}},
			want: "notice#eboxcircuitopen its circuit is open for enterprise 0206731645 and 2 more alone: their calls failed, " +
				"others' were answered"},
		// A provider that nobody calls must not keep a monitor alarmed.
		"untried": {state: state{Circuit: "half-open", UntriedSince: night.Add(-10 * time.Minute)},
			want: "notice#eboxcircuitopen it had been failing, and too few have called since 02:50:00 UTC to know whether it " +
				"still does: the next calls find out"},
		// That nobody has called is not said of a probe that waits in vain.
		"a frozen probe": {state{Circuit: "half-open", UntriedSince: night.Add(-time.Minute)}, waiting(1, 16*time.Second),
			"failing#eboxupstreamfrozen frozen: it has answered no call for 16s; 1 wait, the oldest for 16s"},
		"five callers for six seconds": {state{Circuit: "closed"}, waiting(5, 6*time.Second),
			"failing#eboxupstreamfrozen frozen: it has answered no call for 6s; 5 wait, the oldest for 6s"},
		"five callers for four seconds": {state{Circuit: "closed"}, waiting(5, 4*time.Second), ""},
		"one slow call":                 {state{Circuit: "closed"}, waiting(1, 6*time.Second), ""},
		"one call for long": {state{Circuit: "closed"}, waiting(1, 16*time.Second),
			"failing#eboxupstreamfrozen frozen: it has answered no call for 16s; 1 wait, the oldest for 16s"},
	} {
		var list attentions
		list.ofUpstream(operate.Upstream{Name: "provider nsso", State: c.state, WaitingState: c.waiting}, night)
		says(t, name, list, c.want)
	}
}

// invalid_client is what an expired certificate leads to: the certificate is what somebody
// has to see to. And an alert fires while the tokens in use are good: whoever follows it has to find the cause.
func TestTheCauseOfARefusedTokenIsNamed(t *testing.T) {
	const next = "; next try 03:01:30 UTC"
	refused := &authn.FailureStatus{Code: "invalid_client", Until: night.Add(90 * time.Second),
		Text: "fetching token for payroll: refused with invalid_client for scope \"a\""}
	away := func(since time.Duration) *authn.FailureStatus {
		return &authn.FailureStatus{Code: authn.Unavailable, Text: "no answer", Since: night.Add(-since)}
	}
	for name, c := range map[string]struct {
		key, hash string
		failure   *authn.FailureStatus
		want      string
	}{
		"expired": {authn.KeyExpired, "", refused, "failing#eboxcertificateexpires its certificate expired on 2026-11-28, " +
			"02:00 UTC, and the Authorization Server answers invalid_client" + next},
		"good": {authn.KeyUsable, "", refused, "failing#eboxtokenrefused refused with invalid_client" + next},
		"expired, and the token still good": {authn.KeyExpired, "ab", nil, "degraded#eboxcertificateexpires its " +
			"certificate expired on 2026-11-28, 02:00 UTC"},
		"expired, and a good token cannot be renewed": {authn.KeyExpired, "ab", refused, "degraded#eboxcertificateexpires " +
			"its certificate expired on 2026-11-28, 02:00 UTC, and the Authorization Server answers invalid_client" + next},
		"good, and a good token cannot be renewed": {authn.KeyUsable, "ab", refused, "degraded#eboxtokenrefused refused " +
			"with invalid_client; calls fail once the token in use ends, 03:01:00 UTC" + next},
		"away for 4 seconds": {authn.KeyUsable, "ab", away(4 * time.Second), ""},
		"away for 6 seconds": {authn.KeyUsable, "ab", away(6 * time.Second), "degraded#eboxtokenunavailable no answer; " +
			"calls fail once the token in use ends, 03:01:00 UTC"},
	} {
		var list attentions
		list.ofClient(authn.ClientStatus{
			Name: "payroll", Key: &authn.KeyStatus{State: c.key, NotAfter: night.Add(-time.Hour)},
			Tokens: []authn.TokenStatus{{Hash: c.hash, Expires: night.Add(time.Minute), Error: c.failure}},
		}, night)
		says(t, name, list, c.want)
	}
}

func TestATokenThatIsRefusedAgainIsNamed(t *testing.T) {
	var list attentions
	list.ofClient(authn.ClientStatus{Key: &authn.KeyStatus{State: authn.KeyUsable}, Tokens: []authn.TokenStatus{{
		Hash: "ab", RefusedBy: map[string]time.Time{"provider nsso": night.Add(40 * time.Second)},
	}}}, night)
	says(t, "twice within a minute", list, "failing#eboxtokenrefused provider nsso refuses its token (401), and again "+
		"within a minute of renewing it: calls to it fail until the next renewal, 03:00:40 UTC")
}

func TestConnectionsThatAreClosedUnansweredAreSaid(t *testing.T) {
	for want, c := range map[string]struct{ short, turnedAway bool }{
		"":                               {},
		"idle ones are closed":           {short: true},
		"further ones are closed":        {short: true, turnedAway: true},
		"server.limits.maxConnections a": {turnedAway: true},
	} {
		var list attentions
		list.ofDescriptors(c.short, c.turnedAway)
		if len(list) == 0 != (want == "") || want != "" && (!strings.Contains(list[0].Text, want) || list[0].Remedy == "") {
			t.Errorf("%+v: %+v", c, list)
		}
	}
}

func TestTheAuthorizationServersTroubleIsSaidOnce(t *testing.T) {
	open := resilience.State{Circuit: "open"}
	upstreams := []operate.Upstream{{Name: operate.TokenEndpoint, State: open}, {Name: "provider nsso", State: open}}
	for noAnswer, want := range map[bool]int{true: 1, false: 2} {
		var list attentions
		if list.ofUpstreams(upstreams, noAnswer, night); len(list) != want || list[want-1].Part != "provider nsso" {
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
