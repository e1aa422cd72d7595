package status

import (
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/operate"
)

// What an upstream does to its callers shows within seconds, however well the rest of
// the minute went.
func TestTroubleShowsWithinSeconds(t *testing.T) {
	type sum = activity.Summary
	well := sum{Requests: 200, P50: 20}
	for name, c := range map[string]struct {
		lately activity.Lately
		want   string
	}{
		"all is well": {activity.Lately{Minute: well, Now: sum{Requests: 40, P50: 20}, Before: well}, ""},
		"one error in many": {activity.Lately{Minute: sum{Requests: 200, UpstreamErrors: 1},
			Now: sum{Requests: 40, UpstreamErrors: 1}, Before: well}, ""},
		"one request, and it failed": {activity.Lately{Minute: sum{Requests: 1, GatewayErrors: 1},
			Now: sum{Requests: 1, GatewayErrors: 1}},
			"failing#eboxgatewayerrors 1 of 1 requests by route r failed in the last minute"},
		"every call since a few seconds": {activity.Lately{Minute: sum{Requests: 200, UpstreamErrors: 9},
			Now: sum{Requests: 9, UpstreamErrors: 9}, Before: well},
			"failing#eboxupstreamerrors 9 of 9 requests by route r failed in the last seconds"},
		"one in ten": {activity.Lately{Minute: sum{Requests: 200, UpstreamErrors: 20},
			Now: sum{Requests: 40, UpstreamErrors: 4}, Before: well},
			"degraded#eboxupstreamerrors 20 of 200 requests by route r failed in the last minute"},
		"one in twenty": {activity.Lately{Minute: sum{Requests: 200, UpstreamErrors: 10},
			Now: sum{Requests: 40, UpstreamErrors: 2}, Before: well},
			"notice#eboxupstreamerrors 10 of 200 requests by route r failed in the last minute"},
		"for one enterprise": {activity.Lately{FailedFor: 1, FailedOne: "0206731645",
			Minute: sum{Requests: 100, UpstreamErrors: 20}},
			"degraded#eboxupstreamerrors 20 of 100 requests by route r failed in the last minute, all of them for one " +
				"enterprise, 0206731645; 80 others did not"},
		"for one enterprise among many": {activity.Lately{FailedFor: 1, FailedOne: "0206731645",
			Minute: sum{Requests: 1000, UpstreamErrors: 3}},
			"notice#eboxupstreamerrors 3 of 1000 requests by route r failed in the last minute, all of them for one " +
				"enterprise, 0206731645; 997 others did not"},
		"for two of many": {activity.Lately{FailedFor: 2, Minute: sum{Requests: 1000, UpstreamErrors: 3}}, ""},
		"answers that are cut short": {activity.Lately{FailedFor: 2, FailedHow: "http response incomplete",
			Minute: sum{Requests: 9, GatewayErrors: 9}},
			"failing#eboxupstreamerrors 9 of 9 requests by route r failed in the last minute, for 2 enterprises; mostly http " +
				"response incomplete"},
		"for all of many": {activity.Lately{FailedFor: 17, Minute: sum{Requests: 100, UpstreamErrors: 100}},
			"failing#eboxupstreamerrors 100 of 100 requests by route r failed in the last minute, for 17 enterprises"},
		"frozen, and callers give up": {activity.Lately{Minute: sum{Requests: 200, Gone: 9},
			Now: sum{Requests: 9, Gone: 9, P50: 8000}, Before: well},
			"failing#eboxupstreamfrozen 9 of 9 callers by route r gave up waiting in the last seconds, half of them after " +
				"8.0 s or more"},
		"callers that go away at once": {activity.Lately{Minute: sum{Requests: 200, Gone: 9},
			Now: sum{Requests: 9, Gone: 9, P50: 3}, Before: well}, ""},
		"slower than before": {activity.Lately{Minute: sum{Requests: 200}, Now: sum{Requests: 9, P50: 3000}, Before: well},
			"notice#eboxgatewayslow slow: half of the answers by route r begin after 3.0 s or more, in the minutes before " +
				"after 20 ms"},
		"slow as ever": {activity.Lately{Minute: sum{Requests: 200}, Now: sum{Requests: 9, P50: 3000},
			Before: sum{Requests: 200, P50: 2900}}, ""},
		"slow from the start": {activity.Lately{Minute: sum{Requests: 9}, Now: sum{Requests: 9, P50: 6000}},
			"notice#eboxgatewayslow slow: half of the answers by route r begin after 6.0 s or more"},
		"three times as slow, and still 60ms": {activity.Lately{Minute: sum{Requests: 200},
			Now: sum{Requests: 40, P50: 100}, Before: well}, ""},
	} {
		c.lately.Route = "r"
		var got attentions
		got.ofLately("provider p", c.lately)
		says(t, name, got, c.want)
	}
}

// With several causes at once, each says what it alone stopped; a token stops everything. And an
// open circuit alone tells nobody whether to call the network's people or the provider's.
func TestACauseSaysWhatItStoppedAndHowCallsFail(t *testing.T) {
	now := func() time.Time { return night }
	recent := activity.New(activity.Options{Now: now, Mask: func(s string) string { return s },
		Known: func(string) bool { return true }})
	done := func(n, tries int, provider, proxyError string) {
		for range n {
			recent.Done(&call.Record{Call: &call.Call{Start: night, Route: "r", Provider: provider}, Status: 503,
				ProblemType: "urn:x", Tries: tries, ProxyError: proxyError})
		}
	}
	done(2, 0, "nsso", "")
	done(3, 0, "regional", "")
	done(1, 1, "retired", "connection_refused")
	v := &operate.View{Now: now, Activity: recent, Directory: directory.New(directory.Options{})}
	for name, c := range map[string]struct{ first, second, want, wantSecond string }{
		"two circuits":          {"provider nsso", "provider regional", ": 2", ": 3"},
		"a circuit, and others": {"provider utilities", "provider nsso", "", ": 2"},
		"a token":               {"client payroll", "provider nsso", ": 5", ""},
		"a token, listed below": {"provider nsso", "client payroll", "", ": 5"},
		"calls that were sent":  {"provider retired", "provider nsso", "; calls fail with: connection refused", ": 2"},
	} {
		var list attentions
		list.add(severityFailing, c.first, "", "", "eboxcircuitopen")
		list.add(severityFailing, c.second, "", "", "eboxcircuitopen")
		symptoms(v, list)
		for i, want := range []string{c.want, c.wantSecond} {
			if got := list[i].Text; !strings.HasSuffix(got, want) || (got == "") != (want == "") {
				t.Errorf("%s: %s says %q, want %q", name, list[i].Part, got, want)
			}
		}
	}
}

// What takes the gateway down is said once, and with what to do.
func TestWhatStopsEverythingHasARemedy(t *testing.T) {
	var list attentions
	list.add(severityNotice, "provider nsso", "x", "", "")
	list.add(severityDegraded, "evidence", "no space left", "Make room.", "eboxevidencefailing")
	full := list[1]
	list = down(list, "no space left")
	if full.Severity = severityDown; len(list) != 2 || list[1] != full {
		t.Errorf("%+v", list)
	}
	list = down(nil, "in maintenance")
	if len(list) != 1 || list[0].Part != "gateway" || list[0].Severity != severityDown {
		t.Errorf("%+v", list)
	}
}

func TestTheFirstMistakeIsASentence(t *testing.T) {
	quoted := "config.yaml:3:9: admin.listn: unknown key\n    admin: {listn: x}"
	for want, mistakes := range map[string][]string{
		"config.yaml:3:9: admin.listn: unknown key":             {quoted},
		"config.yaml:3:9: admin.listn: unknown key, and 2 more": {quoted, "second", "third"},
	} {
		if got := firstOf(mistakes); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
