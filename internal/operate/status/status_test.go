package status_test

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
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

var update = flag.Bool("update", false, "write testdata/attention.txt anew")

var night = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// clients are OAuth clients of which the test says how they stand.
type clients struct {
	operate.Tokens
	list []authn.ClientStatus
}

func (c clients) Status() []authn.ClientStatus { return c.list }

// situation is something that is not as usual.
type situation func(*operate.View)

// view is a gateway in situations, and otherwise well.
func view(in ...situation) *operate.View {
	now := func() time.Time { return night }
	v := &operate.View{
		Now: now, ReadyBefore: true, Config: new(config.Config), Tokens: clients{},
		Directory: directory.New(directory.Options{Now: now}),
		Switches: maintenance.New(maintenance.Options{Now: now, Log: slog.New(slog.DiscardHandler),
			Store: func() directory.Shared { return nil }, Known: func(string) error { return nil }}),
		Activity: activity.New(activity.Options{Now: now, Mask: func(s string) string { return s },
			Known: func(string) bool { return true }}),
		Cache:     func() cache.Stats { return cache.Stats{} },
		Upstreams: func() []operate.Upstream { return nil },
	}
	for _, s := range in {
		s(v)
	}
	return v
}

func notReady(missing string) situation {
	return func(v *operate.View) { v.ReadyBefore, v.Missing = false, missing }
}

func rejected(mistakes ...string) situation {
	return func(v *operate.View) { v.Rejected = &operate.Rejected{Errors: mistakes} }
}

func listener(left time.Duration) situation {
	return func(v *operate.View) { v.ListenerExpiry = map[string]time.Time{"a": night.Add(left)} }
}

func connections(short, turnedAway bool) situation {
	return func(v *operate.View) { v.Short, v.TurnedAway = short, turnedAway }
}

func evidence(s audit.Status) situation { return func(v *operate.View) { v.Evidence = &s } }

func payroll(c authn.ClientStatus) situation {
	c.Name = "payroll"
	return func(v *operate.View) { v.Tokens = clients{list: []authn.ClientStatus{c}} }
}

// client is one with a token, which is in use if it has a hash.
func client(keyState string, token authn.TokenStatus) situation {
	token.Expires = night.Add(time.Minute)
	return payroll(authn.ClientStatus{Key: &authn.KeyStatus{State: keyState, NotAfter: night.Add(-time.Hour)},
		Tokens: []authn.TokenStatus{token}})
}

// noAnswer is an Authorization Server that has not answered for some time.
func noAnswer(since time.Duration) *authn.FailureStatus {
	return &authn.FailureStatus{Code: authn.Unavailable, Text: "no answer", Since: night.Add(-since)}
}

func upstream(name string, s resilience.State, calls int, waiting time.Duration) situation {
	return func(v *operate.View) {
		u := operate.Upstream{Name: name, State: s}
		if calls > 0 {
			u.WaitingState = proxy.WaitingState{Calls: calls, Oldest: night.Add(-waiting), Unanswered: night.Add(-waiting)}
		}
		list := append(v.Upstreams(), u)
		v.Upstreams = func() []operate.Upstream { return list }
	}
}

func open(name string) situation {
	return upstream(name, resilience.State{Circuit: resilience.Open, Until: night.Add(time.Second)}, 0, 0)
}

// When requests ended: within the last seconds, the last minute, or before it.
const late, rest, before = time.Second, 30 * time.Second, 5 * time.Minute

// asked are n requests to a provider that ended a while ago, for so many enterprises in turn.
func asked(n int, provider string, enterprises int, ago, took time.Duration, r call.Record) situation {
	return func(v *operate.View) {
		for i := range n {
			r := r
			r.Call = &call.Call{Route: "r", Provider: provider, Start: night.Add(-ago - took)}
			r.Phases.Total = took
			if enterprises > 0 {
				r.Enterprise = enterprise.Number(206731645 + i%enterprises)
			}
			v.Activity.Done(&r)
		}
	}
}

func answered(n int, ago, took time.Duration) situation {
	return asked(n, "nsso", 0, ago, took, call.Record{Status: 200, UpstreamStatus: 200, Tries: 1})
}

func failed(n, enterprises int, ago time.Duration) situation {
	return asked(n, "nsso", enterprises, ago, 0, call.Record{Status: 500, UpstreamStatus: 500, Tries: 1})
}

// refusedFor are refusals for so many enterprises.
func refusedFor(n int, ago time.Duration) situation {
	return asked(n, "nsso", n, ago, 0, call.Record{Status: 403, UpstreamStatus: 403, Tries: 1})
}

func cut(n, enterprises int) situation {
	return asked(n, "nsso", enterprises, late, 0, call.Record{Status: 502, ProblemType: "urn:x", Tries: 1,
		ProxyError: "http_response_incomplete"})
}

// gone are callers that did not wait.
func gone(took time.Duration) situation {
	return asked(9, "nsso", 0, late, took, call.Record{Status: call.StatusClientGone, Cut: true})
}

// Each situation, and what somebody should know in it, is in testdata/attention.txt: how bad it is and
// about what, the sentence, what to do, and the section of the runbook.
func TestWhatSomebodyShouldKnow(t *testing.T) {
	type (
		state = resilience.State
		token = authn.TokenStatus
	)
	const day = 24 * time.Hour
	usual := answered(200, before, 20*time.Millisecond)
	unsent := func(v *operate.View) {
		notSent := call.Record{Status: 503, ProblemType: "urn:x"}
		asked(2, "nsso", 0, late, 0, notSent)(v)
		asked(3, "regional", 0, late, 0, notSent)(v)
		asked(1, "retired", 0, late, 0, call.Record{Status: 502, ProblemType: "urn:x", Tries: 1,
			ProxyError: "connection_refused"})(v)
	}
	refused := &authn.FailureStatus{Code: "invalid_client", Until: night.Add(90 * time.Second),
		Text: "fetching token for payroll: refused with invalid_client for scope \"a\""}
	noFile := &authn.FailureStatus{Text: "reading client.p12: no such file"}
	situations := map[string][]situation{
		"nothing": {},

		"answers: well":                             {usual, answered(160, rest, 0), answered(40, late, 0)},
		"answers: one error in many":                {usual, answered(199, rest, 0), failed(1, 0, late)},
		"answers: one request, and it failed":       {failed(1, 0, late)},
		"answers: all fail since a few seconds":     {usual, answered(191, rest, 0), failed(9, 0, late)},
		"answers: one in ten fails":                 {answered(180, rest, 0), failed(20, 0, rest)},
		"answers: one in twenty fails":              {answered(190, rest, 0), failed(10, 0, rest)},
		"answers: a fifth, for one enterprise":      {answered(80, rest, 0), failed(20, 1, rest)},
		"answers: three of many, for one":           {answered(997, rest, 0), failed(3, 1, rest)},
		"answers: three of many, for two":           {answered(997, rest, 0), failed(3, 2, rest)},
		"answers: all, for the only one":            {failed(3, 1, rest)},
		"answers: all, for many":                    {failed(100, 17, rest)},
		"answers: cut short":                        {cut(9, 2)},
		"answers: callers give up waiting":          {usual, answered(191, rest, 0), gone(8 * time.Second)},
		"answers: callers go away at once":          {usual, answered(191, rest, 0), gone(3 * time.Millisecond)},
		"answers: slower than before":               {usual, answered(9, late, 3*time.Second)},
		"answers: slow as ever":                     {answered(200, before, 3*time.Second), answered(9, late, 3*time.Second)},
		"answers: slow from the start":              {answered(9, late, 6*time.Second)},
		"answers: five times as slow, and fast yet": {usual, answered(40, late, 100*time.Millisecond)},

		// Each cause says what it alone stopped; a token stops everything. And an open circuit alone
		// tells nobody whether to call the network's people or the provider's.
		"unsent: two circuits":          {unsent, open("provider nsso"), open("provider regional")},
		"unsent: a circuit, and others": {unsent, open("provider nsso"), open("provider utilities")},
		"unsent: a token":               {unsent, open("provider nsso"), client(authn.KeyUsable, token{Error: noAnswer(0)})},
		"unsent: how calls fail":        {unsent, open("provider nsso"), open("provider retired")},

		"all: the evidence refuses": {evidence(audit.Status{Refusing: true, Failing: "no space left"})},
		"all: in maintenance": {func(v *operate.View) {
			m := admin.Maintenance{Gateway: true, Until: night.Add(time.Hour)}
			testkit.Must(t, v.Switches.Switch(t.Context(), m))
		}},

		"all: no key can be loaded": {payroll(authn.ClientStatus{KeyError: noFile})},
		"not ready":                 {notReady("the first list is being fetched")},

		"configuration: one mistake":      {rejected("config.yaml:3:9: admin.listn: unknown key\n    admin: {listn: x}")},
		"configuration: three":            {rejected("config.yaml:3:9: admin.listn: unknown key", "second", "third")},
		"listener: 31 days":               {listener(31 * day)},
		"listener: 29 days":               {listener(29 * day)},
		"listener: 6 days":                {listener(6 * day)},
		"listener: expired":               {listener(-time.Minute)},
		"connections: idle ones closed":   {connections(true, false)},
		"connections: no descriptors":     {connections(true, true)},
		"connections: the limit":          {connections(false, true)},
		"evidence: well":                  {evidence(audit.Status{Sequence: 7})},
		"evidence: a full disk":           {evidence(audit.Status{Failing: "no space left", Waiting: 3, Since: night})},
		"evidence: a file that was taken": {evidence(audit.Status{Missing: "the file x was removed", Since: night})},
		"evidence: no time stamps":        {evidence(audit.Status{Stamping: "it answered 503"})},

		"upstream: well": {upstream("provider nsso", state{Circuit: "closed"}, 0, 0)},
		"upstream: open": {open("provider nsso")},
		"upstream: open for one alone": {upstream("provider nsso", state{Circuit: "closed",
			OpenFor: []string{"0206731645"}}, 0, 0)},
		"upstream: open for three": {upstream("provider nsso", state{Circuit: "closed",
			OpenFor: []string{"0206731645", "0474028805", "own"}}, 0, 0)},
		// One that nobody calls must not keep a monitor alarmed. That nobody has called is not said of a
		// probe that waits in vain.
		"upstream: untried": {upstream("grant", state{Circuit: "half-open", UntriedSince: night.Add(-10 * time.Minute)},
			0, 0)},
		"upstream: a frozen probe": {upstream("grant", state{Circuit: "half-open", UntriedSince: night.Add(-time.Minute)},
			1, 16*time.Second)},
		"upstream: five wait for 6 s":  {upstream("grant", state{Circuit: "closed"}, 5, 6*time.Second)},
		"upstream: five wait for 4 s":  {upstream("grant", state{Circuit: "closed"}, 5, 4*time.Second)},
		"upstream: one waits for 6 s":  {upstream("grant", state{Circuit: "closed"}, 1, 6*time.Second)},
		"upstream: one waits for 16 s": {upstream("grant", state{Circuit: "closed"}, 1, 16*time.Second)},

		"enterprises: one refused":              {refusedFor(1, late)},
		"enterprises: all refused":              {refusedFor(12, late)},
		"enterprises: all refused, a while ago": {refusedFor(12, 20*time.Minute)},

		"key: the next cannot be loaded": {payroll(authn.ClientStatus{Key: new(authn.KeyStatus), KeyError: noFile})},
		"key: the next does not sign": {payroll(authn.ClientStatus{Key: new(authn.KeyStatus),
			Pending: &authn.PendingStatus{Reason: "it got no token.", NextTry: night.Add(time.Minute)}})},
		"clock: behind": {payroll(authn.ClientStatus{Key: new(authn.KeyStatus),
			Clock: &authn.ClockStatus{AheadSeconds: -90}})},

		// An expired certificate leads to invalid_client: the certificate is what somebody has to see to. And
		// an alert fires while the tokens in use are good: whoever follows it has to find the cause.
		"token: refused":                    {client(authn.KeyUsable, token{Error: refused})},
		"token: cannot be renewed":          {client(authn.KeyUsable, token{Hash: "ab", Error: refused})},
		"token: refused, expired":           {client(authn.KeyExpired, token{Error: refused})},
		"token: cannot be renewed, expired": {client(authn.KeyExpired, token{Hash: "ab", Error: refused})},
		"token: good, expired":              {client(authn.KeyExpired, token{Hash: "ab"})},
		"token: not renewed for 4 s":        {client(authn.KeyUsable, token{Hash: "ab", Error: noAnswer(4 * time.Second)})},
		"token: not renewed for 6 s":        {client(authn.KeyUsable, token{Hash: "ab", Error: noAnswer(6 * time.Second)})},
		"token: refused by an upstream, again": {client(authn.KeyUsable, token{Hash: "ab",
			RefusedBy: map[string]time.Time{"provider nsso": night.Add(40 * time.Second)}})},
		"token: an endpoint without clients": {open(operate.TokenEndpoint)},
		"token: no answer is said once": {open(operate.TokenEndpoint), client(authn.KeyUsable,
			token{Error: noAnswer(0)})},
	}
	page := httptest.NewRecorder()
	admin.New(admin.Options{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, admin.Runbook, nil))
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(situations)) {
		s := status.Of(view(situations[name]...))
		fmt.Fprintf(&got, "%s\t%s\n", s.Health, name)
		for _, a := range s.Attention {
			fmt.Fprintf(&got, "\t%s %s: %s\n", a.Severity, a.Part, a.Text)
			if a.Remedy != "" {
				fmt.Fprintf(&got, "\t\t→ %s\n", a.Remedy)
			}
			if a.Runbook != "" {
				fmt.Fprintf(&got, "\t\t→ %s\n", a.Runbook)
			}
			_, section, _ := strings.Cut(a.Runbook, "#")
			if !strings.Contains(page.Body.String(), `id="`+section+`"`) && section != "" {
				t.Errorf("%s: the runbook has no section %q", name, section)
			}
		}
	}
	const file = "testdata/attention.txt"
	if *update {
		testkit.Write(t, file, got.String())
	}
	if want := testkit.Read(t, file); got.String() != want {
		t.Errorf("%s is not what is said now; -update writes it:\n%s", file, got.String())
	}
}
