package status_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/testkit"
)

var night = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

func now() time.Time { return night }

// clients are OAuth clients of which the test says how they stand.
type clients struct {
	operate.Tokens
	list []authn.ClientStatus
}

func (c clients) Status() []authn.ClientStatus { return c.list }

// view is a gateway that is well.
func view() *operate.View {
	return &operate.View{
		Now: now, ReadyBefore: true, Config: new(config.Config), Tokens: clients{},
		Directory: directory.New(directory.Options{Now: now}),
		Switches: maintenance.New(maintenance.Options{Now: now, Log: slog.New(slog.DiscardHandler),
			Store: func() directory.Shared { return nil }, Known: func(string) error { return nil }}),
		Activity: activity.New(activity.Options{Now: now, Mask: func(s string) string { return s },
			Known: func(string) bool { return true }}),
		Cache:     func() cache.Stats { return cache.Stats{} },
		Upstreams: func() []operate.Upstream { return nil },
	}
}

// says compares what somebody should know with lines "severity#section text".
func says(t *testing.T, v *operate.View, want ...string) {
	t.Helper()
	var got []string
	for _, a := range status.Of(v).Attention {
		got = append(got, a.Severity+strings.TrimPrefix(a.Runbook, "/docs/operations.md")+" "+a.Text)
		if a.Remedy == "" && a.Severity != "notice" {
			t.Errorf("nobody is told what to do about %+v", a)
		}
	}
	if want = slices.DeleteFunc(want, func(s string) bool { return s == "" }); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// asked are requests by the route r, to a provider, that ended a while ago, for so many enterprises
// in turn. The zero record is an answer.
type asked struct {
	n, enterprises int
	ago, took      time.Duration
	provider       string
	record         call.Record
}

func (a asked) of(v *operate.View) {
	for i := range a.n {
		r := a.record
		r.Call = &call.Call{Route: "r", Provider: a.provider, Start: night.Add(-a.ago - a.took)}
		r.Phases.Total = a.took
		if a.enterprises > 0 {
			r.Enterprise = enterprise.Number(206731645 + i%a.enterprises)
		}
		if r.Status == 0 {
			r.Status, r.UpstreamStatus, r.Tries = 200, 200, 1
		}
		v.Activity.Done(&r)
	}
}

// What an upstream does to its callers shows within seconds, however well the rest of
// the minute went.
func TestTroubleShowsWithinSeconds(t *testing.T) {
	const before, rest, late = 5 * time.Minute, 30 * time.Second, time.Second
	well := asked{n: 200, ago: before, took: 20 * time.Millisecond}
	answered := func(n int, ago, took time.Duration) asked { return asked{n: n, ago: ago, took: took} }
	failed := func(n, enterprises int, ago time.Duration) asked {
		return asked{n: n, enterprises: enterprises, ago: ago,
			record: call.Record{Status: 500, UpstreamStatus: 500, Tries: 1}}
	}
	by := func(n, enterprises int, r call.Record) asked {
		return asked{n: n, enterprises: enterprises, ago: late, record: r}
	}
	gone := func(took time.Duration) asked {
		return asked{n: 9, ago: late, took: took, record: call.Record{Status: call.StatusClientGone, Cut: true}}
	}
	for name, c := range map[string]struct {
		asked []asked
		want  string
	}{
		"all is well":       {[]asked{well, answered(160, rest, 0), answered(40, late, 0)}, ""},
		"one error in many": {[]asked{well, answered(199, rest, 0), failed(1, 0, late)}, ""},
		"one request, and it failed": {[]asked{by(1, 0, call.Record{Status: 502, ProblemType: "urn:x", Tries: 1})},
			"failing#eboxgatewayerrors 1 of 1 requests by route r failed in the last minute; mostly status 502"},
		"every call since a few seconds": {[]asked{well, answered(191, rest, 0), failed(9, 0, late)},
			"failing#eboxupstreamerrors 9 of 9 requests by route r failed in the last seconds; mostly status 500"},
		"one in ten": {[]asked{well, answered(180, rest, 0), failed(20, 0, rest)},
			"degraded#eboxupstreamerrors 20 of 200 requests by route r failed in the last minute; mostly status 500"},
		"one in twenty": {[]asked{well, answered(190, rest, 0), failed(10, 0, rest)},
			"notice#eboxupstreamerrors 10 of 200 requests by route r failed in the last minute; mostly status 500"},
		"for one enterprise": {[]asked{answered(80, rest, 0), failed(20, 1, rest)},
			"degraded#eboxupstreamerrors 20 of 100 requests by route r failed in the last minute, all of them for one " +
				"enterprise, 0206731645; 80 others did not; mostly status 500"},
		"for one enterprise among many": {[]asked{answered(997, rest, 0), failed(3, 1, rest)},
			"notice#eboxupstreamerrors 3 of 1000 requests by route r failed in the last minute, all of them for one " +
				"enterprise, 0206731645; 997 others did not; mostly status 500"},
		"for two of many": {[]asked{answered(997, rest, 0), failed(3, 2, rest)}, ""},
		"answers that are cut short": {[]asked{by(9, 2, call.Record{Status: 502, ProblemType: "urn:x", Tries: 1,
			ProxyError: "http_response_incomplete"})},
			"failing#eboxupstreamerrors 9 of 9 requests by route r failed in the last minute, for 2 enterprises; mostly http " +
				"response incomplete"},
		"for all of many": {[]asked{failed(100, 17, rest)},
			"failing#eboxupstreamerrors 100 of 100 requests by route r failed in the last minute, for 17 enterprises; " +
				"mostly status 500"},
		"frozen, and callers give up": {[]asked{well, answered(191, rest, 0), gone(8 * time.Second)},
			"failing#eboxupstreamfrozen 9 of 9 callers by route r gave up waiting in the last seconds, half of them after " +
				"8.5 s or more"},
		"callers that go away at once": {[]asked{well, answered(191, rest, 0), gone(3 * time.Millisecond)}, ""},
		"slower than before": {[]asked{well, answered(9, late, 3*time.Second)},
			"notice#eboxgatewayslow slow: half of the answers by route r begin after 2.5 s or more, in the minutes before " +
				"after 18 ms"},
		"slow as ever": {[]asked{answered(200, before, 2900*time.Millisecond), answered(9, late, 3*time.Second)}, ""},
		"slow from the start": {[]asked{answered(9, late, 6*time.Second)},
			"notice#eboxgatewayslow slow: half of the answers by route r begin after 6.0 s or more"},
		"five times as slow, and still fast": {[]asked{well, answered(40, late, 100*time.Millisecond)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := view()
			for _, a := range c.asked {
				a.provider = "p"
				a.of(v)
			}
			says(t, v, c.want)
		})
	}
}

// open is an upstream whose circuit is open.
func open(name string) operate.Upstream {
	return operate.Upstream{Name: name, State: resilience.State{Circuit: resilience.Open}}
}

// payroll is a client with one token, which is in use if it has a hash.
func payroll(keyState string, token authn.TokenStatus) clients {
	token.Expires = night.Add(time.Minute)
	return clients{list: []authn.ClientStatus{{
		Name: "payroll", Key: &authn.KeyStatus{State: keyState, NotAfter: night.Add(-time.Hour)},
		Tokens: []authn.TokenStatus{token},
	}}}
}

// away is an Authorization Server that has not answered for some time.
func away(since time.Duration) *authn.FailureStatus {
	return &authn.FailureStatus{Code: authn.Unavailable, Text: "no answer", Since: night.Add(-since)}
}

// With several causes at once, each says what it alone stopped; a token stops everything. And an
// open circuit alone tells nobody whether to call the network's people or the provider's.
func TestACauseSaysWhatItStoppedAndHowCallsFail(t *testing.T) {
	const unsent = "Requests of the last minute that failed before anything was sent: "
	for name, c := range map[string]struct {
		open    []string
		noToken bool
		want    map[string]string // by part
	}{
		"two circuits": {open: []string{"nsso", "regional"},
			want: map[string]string{"provider nsso": unsent + "2", "provider regional": unsent + "3"}},
		"a circuit, and others": {open: []string{"utilities", "nsso"},
			want: map[string]string{"provider utilities": "it has been failing", "provider nsso": unsent + "2"}},
		"a token": {open: []string{"nsso"}, noToken: true,
			want: map[string]string{"client payroll": unsent + "5", "provider nsso": "it has been failing"}},
		"calls that were sent": {open: []string{"retired", "nsso"},
			want: map[string]string{"provider retired": "; calls fail with: connection refused", "provider nsso": unsent + "2"}},
	} {
		v := view()
		refused := call.Record{Status: 503, ProblemType: "urn:x"}
		asked{n: 2, provider: "nsso", record: refused}.of(v)
		asked{n: 3, provider: "regional", record: refused}.of(v)
		refused.Tries, refused.ProxyError = 1, "connection_refused"
		asked{n: 1, provider: "retired", record: refused}.of(v)
		if c.noToken {
			v.Tokens = payroll(authn.KeyUsable, authn.TokenStatus{Error: away(0)})
		}
		v.Upstreams = func() (list []operate.Upstream) {
			for _, id := range c.open {
				list = append(list, open("provider "+id))
			}
			return list
		}
		found := 0
		for _, a := range status.Of(v).Attention {
			want, listed := c.want[a.Part]
			if listed {
				found++
			}
			if !strings.HasSuffix(a.Text, want) {
				t.Errorf("%s: %s says %q, want %q", name, a.Part, a.Text, want)
			}
		}
		if found != len(c.want) {
			t.Errorf("%s: %d causes", name, found)
		}
	}
}

// What takes the gateway down is said once, and with what to do.
func TestWhatStopsEverythingHasARemedy(t *testing.T) {
	v := view()
	v.Evidence = &audit.Status{Refusing: true, Failing: "no space left"}
	says(t, v, "down#eboxevidencefailing evidence cannot be written, and requests are refused for it "+
		"(audit.stopAfter): no space left")

	v = view()
	testkit.Must(t, v.Switches.Switch(t.Context(), admin.Maintenance{Gateway: true, Until: night.Add(time.Hour)}))
	if s := status.Of(v); s.Health != admin.Down || !s.Ready || len(s.Attention) != 1 ||
		s.Attention[0].Severity != "down" || s.Attention[0].Part != "gateway" {
		t.Errorf("%s, ready %t: %+v", s.Health, s.Ready, s.Attention)
	}
}

func TestTheFirstMistakeIsASentence(t *testing.T) {
	const quoted = "config.yaml:3:9: admin.listn: unknown key\n    admin: {listn: x}"
	for want, mistakes := range map[string][]string{
		"config.yaml:3:9: admin.listn: unknown key":             {quoted},
		"config.yaml:3:9: admin.listn: unknown key, and 2 more": {quoted, "second", "third"},
	} {
		v := view()
		v.Rejected = &operate.Rejected{Errors: mistakes}
		says(t, v, "degraded#eboxreloadfailed a new configuration was not taken: "+want)
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
		v := view()
		v.ListenerExpiry = map[string]time.Time{"a": night.Add(left)}
		says(t, v, want)
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
		"open": {state: state{Circuit: "open", Until: night.Add(time.Second)},
			want: "failing#eboxcircuitopen its circuit is open: it has been failing; next try 03:00:01 UTC"},
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
		t.Run(name, func(t *testing.T) {
			v := view()
			v.Upstreams = func() []operate.Upstream {
				return []operate.Upstream{{Name: "provider nsso", State: c.state, WaitingState: c.waiting}}
			}
			says(t, v, c.want)
		})
	}
}

// invalid_client is what an expired certificate leads to: the certificate is what somebody
// has to see to. And an alert fires while the tokens in use are good: whoever follows it has to find the cause.
func TestTheCauseOfARefusedTokenIsNamed(t *testing.T) {
	type token = authn.TokenStatus
	const (
		next    = "; next try 03:01:30 UTC"
		expired = "#eboxcertificateexpires its certificate expired on 2026-11-28, 02:00 UTC"
		answers = ", and the Authorization Server answers invalid_client" + next
	)
	refused := &authn.FailureStatus{Code: "invalid_client", Until: night.Add(90 * time.Second),
		Text: "fetching token for payroll: refused with invalid_client for scope \"a\""}
	for name, c := range map[string]struct {
		key   string
		token authn.TokenStatus
		want  string
	}{
		"expired":                           {authn.KeyExpired, token{Error: refused}, "failing" + expired + answers},
		"expired, and the token still good": {authn.KeyExpired, token{Hash: "ab"}, "degraded" + expired},
		"expired, and a good token cannot be renewed": {authn.KeyExpired, token{Hash: "ab", Error: refused},
			"degraded" + expired + answers},
		"good": {authn.KeyUsable, token{Error: refused}, "failing#eboxtokenrefused refused with invalid_client" + next},
		"good, and a good token cannot be renewed": {authn.KeyUsable, token{Hash: "ab", Error: refused},
			"degraded#eboxtokenrefused refused with invalid_client; calls fail once the token in use ends, 03:01:00 UTC" + next},
		"away for 4 seconds": {authn.KeyUsable, token{Hash: "ab", Error: away(4 * time.Second)}, ""},
		"away for 6 seconds": {authn.KeyUsable, token{Hash: "ab", Error: away(6 * time.Second)},
			"degraded#eboxtokenunavailable no answer; calls fail once the token in use ends, 03:01:00 UTC"},
		"refused by an upstream again": {authn.KeyUsable, token{Hash: "ab",
			RefusedBy: map[string]time.Time{"provider nsso": night.Add(40 * time.Second)}},
			"failing#eboxtokenrefused provider nsso refuses its token (401), and again within a minute of renewing it: " +
				"calls to it fail until the next renewal, 03:00:40 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			v := view()
			v.Tokens = payroll(c.key, c.token)
			says(t, v, c.want)
		})
	}
}

func TestConnectionsThatAreClosedUnansweredAreSaid(t *testing.T) {
	for want, c := range map[string]struct{ short, turnedAway bool }{
		"":                               {},
		"idle ones are closed":           {short: true},
		"further ones are closed":        {short: true, turnedAway: true},
		"server.limits.maxConnections a": {turnedAway: true},
	} {
		v := view()
		v.Short, v.TurnedAway = c.short, c.turnedAway
		list := status.Of(v).Attention
		if len(list) == 0 != (want == "") || want != "" && (!strings.Contains(list[0].Text, want) || list[0].Remedy == "") {
			t.Errorf("%+v: %+v", c, list)
		}
	}
}

func TestTheAuthorizationServersTroubleIsSaidOnce(t *testing.T) {
	v := view()
	v.Upstreams = func() []operate.Upstream {
		return []operate.Upstream{open("provider nsso"), open(operate.TokenEndpoint)}
	}
	v.Tokens = payroll(authn.KeyUsable, authn.TokenStatus{Error: away(0)})
	if list := status.Of(v).Attention; len(list) != 2 || list[0].Part != "client payroll" ||
		list[1].Part != "provider nsso" {
		t.Errorf("a client without an answer: %+v", list)
	}
	v.Tokens = clients{}
	if list := status.Of(v).Attention; len(list) != 2 || list[1].Part != operate.TokenEndpoint {
		t.Errorf("no client without an answer: %+v", list)
	}
}

func TestEvidenceSaysWhatToDoAboutIt(t *testing.T) {
	for remedy, c := range map[string]struct {
		status *audit.Status
		want   string
	}{
		"": {&audit.Status{Sequence: 7}, ""},
		"Make": {&audit.Status{Failing: "no space left", Waiting: 3, Since: night}, "degraded#eboxevidencefailing evidence " +
			"cannot be written since 03:00:00 UTC; 3 records wait in memory: no space left"},
		"Put it back": {&audit.Status{Missing: "the file x was removed", Since: night}, "degraded#eboxevidencemissing " +
			"evidence is missing since 03:00:00 UTC: the file x was removed"},
		"Nothing else fails: look at audit.timestampUrl": {&audit.Status{Stamping: "it answered 503"},
			"degraded#eboxevidenceunstamped it answered 503"},
	} {
		v := view()
		v.Evidence = c.status
		says(t, v, c.want)
		for _, a := range status.Of(v).Attention {
			if !strings.HasPrefix(a.Remedy, remedy) {
				t.Errorf("%s: %s", a.Text, a.Remedy)
			}
		}
	}
}
