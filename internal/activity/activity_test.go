package activity_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// night is a Recent at a time that the test sets.
type night struct {
	*activity.Recent
	now time.Time
}

func newNight() *night {
	n := &night{now: time.Date(2026, 11, 22, 3, 0, 5, 0, time.UTC)}
	n.Recent = activity.New(activity.Options{
		Now:   func() time.Time { return n.now },
		Mask:  func(s string) string { return strings.ReplaceAll(s, "79072300048", "***********") },
		Known: func(p string) bool { return p == "nsso" || p == "regional" },
	})
	return n
}

// done is a request that ended now, after took.
func (n *night) done(r call.Record, took time.Duration) {
	if r.Call == nil {
		r.Call = new(call.Call)
	}
	r.Start, r.Phases.Total = n.now.Add(-took), took
	if r.ID == "" {
		r.ID = call.NewID()
	}
	n.Done(&r)
}

// asked is a request by a route, to a provider, that the upstream answered with a status.
func asked(route, provider string, number enterprise.Number, status int) call.Record {
	return call.Record{Call: &call.Call{Route: route, Provider: provider, Enterprise: number}, Status: status,
		UpstreamStatus: status, Tries: 1}
}

func sum(list []uint32) (total uint32) {
	for _, v := range list {
		total += v
	}
	return total
}

func TestHowARequestEnded(t *testing.T) {
	type sum = activity.Summary
	for name, c := range map[string]struct {
		record call.Record
		want   sum
		by     string // of the problem, if it is one
	}{
		"answered":                       {call.Record{Status: 304, UpstreamStatus: 304}, sum{}, ""},
		"an inbox that lacks a provider": {call.Record{Status: 200, Asked: 2, Missing: 1}, sum{Incomplete: 1}, ""},
		"refused by the gateway":         {call.Record{Status: 403, ProblemType: "urn:x"}, sum{Refused: 1}, "gateway"},
		"refused by the upstream":        {call.Record{Status: 403, UpstreamStatus: 403}, sum{Refused: 1}, "upstream"},
		"no way to the upstream": {call.Record{Status: 502, ProblemType: "urn:x", Tries: 1}, sum{GatewayErrors: 1},
			"gateway"},
		"no token to send": {call.Record{Status: 502, ProblemType: "urn:x"}, sum{GatewayErrors: 1, NotSent: 1}, "gateway"},
		"an upstream's own error": {call.Record{Status: 503, UpstreamStatus: 503}, sum{UpstreamErrors: 1},
			"upstream"},
		"cut by the upstream": {call.Record{Status: 200, Cut: true, ProxyError: problem.ProxyResponseIncomplete},
			sum{UpstreamErrors: 1}, "upstream"},
		"cut by the caller": {call.Record{Status: 200, Cut: true, Cause: errors.New("broken pipe")}, sum{Gone: 1},
			"caller"},
		"a caller that did not wait": {call.Record{Status: 499, Cut: true}, sum{Gone: 1}, "caller"},
	} {
		n := newNight()
		n.done(c.record, 0)
		s := n.Snapshot()
		got, by := s.Total.Window, ""
		c.want.Requests, c.want.PerSecond = 1, 1
		c.want.P50, c.want.P95, c.want.P99 = got.P50, got.P95, got.P99
		for _, p := range s.Problems {
			by += p.By
		}
		if got != c.want || by != c.by {
			t.Errorf("%s: %+v by %q, want %+v by %q", name, got, by, c.want, c.by)
		}
	}
}

func TestSeriesSplitByRouteAndProvider(t *testing.T) {
	n := newNight()
	for range 8 {
		n.done(asked("ebox", "nsso", 0, 200), 20*time.Millisecond)
	}
	n.done(call.Record{Call: &call.Call{Route: "ebox", Provider: "nsso"}, Status: 502, ProblemType: "urn:x"},
		3*time.Second)
	part := asked("inbox", "nsso", 0, 503)
	part.Parent = "p"
	n.done(part, time.Millisecond)
	n.done(asked("inbox", "", 0, 200), time.Millisecond)
	n.done(call.Record{Status: 404, ProblemType: "urn:x"}, 0)

	s := n.Snapshot()
	if got := s.Total.Window; got.Requests != 11 || got.GatewayErrors != 1 || got.UpstreamErrors != 0 || got.Refused != 1 {
		t.Errorf("in all %+v: parts of an answer are no requests of a caller", got)
	}
	names := []string{}
	for _, r := range s.Routes {
		names = append(names, r.Name)
	}
	if fmt.Sprint(names) != "[ ebox inbox]" {
		t.Errorf("routes %q", names)
	}
	if len(s.Providers) != 1 || s.Providers[0].Name != "nsso" {
		t.Fatalf("providers %+v", s.Providers)
	}
	nsso := s.Providers[0]
	if nsso.Window.Requests != 10 || nsso.Window.Errors() != 2 || nsso.Minute != nsso.Window {
		t.Errorf("nsso %+v, last minute %+v", nsso.Window, nsso.Minute)
	}
	if last := len(nsso.Requests) - 1; nsso.Requests[last] != 10 || nsso.GatewayErrors[last] != 1 ||
		nsso.UpstreamErrors[last] != 1 {
		t.Errorf("the running slot has %d requests", nsso.Requests[last])
	}
	if nsso.Minute.P50 < 15 || nsso.Minute.P50 > 20 || nsso.Minute.P99 < 2000 || nsso.Minute.P99 > 3000 {
		t.Errorf("latencies %+v", nsso.Minute)
	}
}

// The last minutes move on, and what is older than they are is forgotten.
func TestWhatIsOldLeaves(t *testing.T) {
	n := newNight()
	n.done(asked("ebox", "", 0, 200), 0)
	begun := n.now
	for _, c := range []struct {
		after          time.Duration
		window, minute uint64
	}{{0, 1, 1}, {59 * time.Second, 1, 1}, {71 * time.Second, 1, 0}, {14 * time.Minute, 1, 0},
		{15*time.Minute + 6*time.Second, 0, 0}, {15 * 24 * time.Hour, 0, 0}} {
		n.now = begun.Add(c.after)
		s := n.Snapshot().Total
		if s.Window.Requests != c.window || s.Minute.Requests != c.minute || uint64(sum(s.Requests)) != c.window {
			t.Errorf("after %s: %d and %d in the last minute, want %d and %d", c.after, s.Window.Requests, s.Minute.Requests,
				c.window, c.minute)
		}
	}
	n.now = begun.Add(15 * 24 * time.Hour)
	n.done(asked("ebox", "", 0, 200), 0)
	if s := n.Snapshot(); s.Total.Window.Requests != 1 || len(s.Routes) != 1 {
		t.Errorf("after days %+v", s.Total.Window)
	}
}

func TestASlowCallerIsNoSlowUpstream(t *testing.T) {
	n := newNight()
	n.done(call.Record{Status: 200, Phases: call.Phases{Body: 29 * time.Second}}, 30*time.Second)
	if p := n.Snapshot().Total.Minute.P50; p < 700 || p > 1000 {
		t.Errorf("%v ms until the first byte", p)
	}
}

// Whoever can send requests can make names up, of providers and in paths.
func TestTheOutsideCannotMakeSeries(t *testing.T) {
	n := newNight()
	for i := range 2000 {
		n.done(call.Record{
			Call:   &call.Call{Route: "ebox", Provider: fmt.Sprint("made-up-", i), Path: "/" + strings.Repeat("x", 8000)},
			Status: 404, ProblemType: "urn:x",
		}, 0)
	}
	s := n.Snapshot()
	if len(s.Providers) != 0 || len(s.Routes) != 1 {
		t.Errorf("%d providers, %d routes", len(s.Providers), len(s.Routes))
	}
	if len(s.Problems) != 20 || len(s.Groups) != 1 || s.Groups[0].Count != 2000 {
		t.Errorf("%d problems are kept, in %+v", len(s.Problems), s.Groups)
	}
	for _, p := range s.Problems {
		if len(p.Path) > 203 || p.Provider != "" {
			t.Fatalf("a path of %d bytes, provider %q", len(p.Path), p.Provider)
		}
	}
}

func TestSeriesAreBoundedHoweverManyRoutesThereAre(t *testing.T) {
	n := newNight()
	for i := range 450 {
		n.done(asked(fmt.Sprint("route-", i), "", 0, 200), 0)
	}
	if s := n.Snapshot(); len(s.Routes) != 401 || s.Routes[0].Name != "" || s.Total.Window.Requests != 450 {
		t.Errorf("%d requests by %d routes, the first %q", s.Total.Window.Requests, len(s.Routes), s.Routes[0].Name)
	}
	n.now = n.now.Add(time.Hour) // those of long ago make room
	n.done(asked("new", "", 0, 200), 0)
	if s := n.Snapshot(); len(s.Routes) != 1 || s.Routes[0].Name != "new" {
		t.Errorf("%d routes", len(s.Routes))
	}
}

// A storm is one line, whatever else went wrong has its own, and what the gateway refuses
// pushes no error out.
func TestAStormIsOneGroup(t *testing.T) {
	n := newNight()
	n.done(call.Record{Call: &call.Call{ID: "the-one", Route: "ebox"}, Status: 502, ProblemType: "urn:x", Tries: 1}, 0)
	begun := n.now
	for i := range 5000 {
		n.now = begun.Add(time.Duration(i) * time.Millisecond)
		r := asked("ebox", "", enterprise.Number(206731645+i%3), 500)
		r.ID, r.Caller = fmt.Sprint(i), "hr"
		n.done(r, 0)
	}
	for i := range 200 {
		n.done(call.Record{Call: &call.Call{Route: fmt.Sprint("made-up-", i)}, Status: 404, ProblemType: "urn:x"}, 0)
	}
	problems, groups := n.Problems()
	if len(groups) != 100 || groups[0].Status != 500 || groups[1].Status != 502 ||
		groups[1].Problems[0] != "the-one" {
		t.Fatalf("%d groups, %+v", len(groups), groups[:2])
	}
	storm := groups[0]
	if storm.Count != 5000 || storm.Enterprises != 3 || storm.Callers != 1 || storm.By != "upstream" ||
		storm.First != begun || storm.Last != n.now || len(storm.Problems) != 20 || storm.Problems[0] != "4999" ||
		storm.Problems[19] != "4980" {
		t.Errorf("%+v", storm)
	}
	if len(problems) != 20+99 {
		t.Errorf("%d problems", len(problems))
	}

	n.now = n.now.Add(15*time.Minute + time.Second)
	n.done(asked("ebox", "", 0, 500), 0)
	problems, groups = n.Problems()
	newest := func(a, b activity.Problem) int { return b.Time.Compare(a.Time) }
	if !slices.IsSortedFunc(problems, newest) || problems[0].Time != n.now {
		t.Error("the newest problem is not the first")
	}
	if groups[0].Count != 1 || groups[0].First != n.now || groups[0].ID != storm.ID ||
		len(groups[0].Problems) != 20 {
		t.Errorf("after a pause %+v", groups[0])
	}
}

func TestFailuresOfOneEnterpriseAreToldFromThoseOfAll(t *testing.T) {
	n := newNight()
	answer := func(number enterprise.Number, status int) { n.done(asked("ebox", "nsso", number, status), 0) }
	lately := func() (l activity.Lately) {
		n.Minutes(func(m activity.Lately) { l = m })
		return l
	}
	for range 4 {
		answer(206731645, 500)
		answer(212148896, 200)
	}
	if l := lately(); l.FailedFor != 1 || l.FailedOne != "0206731645" || l.Minute.UpstreamErrors != 4 ||
		l.FailedHow != "status 500" {
		t.Errorf("%+v", l)
	}
	n.now = n.now.Add(59 * time.Second)
	answer(212148896, 502) // of another kind
	if l := lately(); l.FailedFor != 2 || l.FailedOne != "" {
		t.Errorf("%+v", l)
	}
	n.now = n.now.Add(59 * time.Second)
	if l := lately(); l.FailedFor != 1 || l.FailedOne != "0212148896" || l.FailedHow != "status 502" {
		t.Errorf("a minute later %+v", l)
	}
	// What reached nobody is no sign of how an upstream fails, however much of it there is.
	for tries, failed := range []int{5, 2} {
		for range failed {
			r := asked("ebox", "nsso", 206731645, 502)
			r.Tries, r.ProblemType, r.ProxyError = tries, "urn:x", "http_response_incomplete"
			n.done(r, 0)
		}
	}
	if l := lately(); l.FailedHow != "http response incomplete" {
		t.Errorf("most failed by %q", l.FailedHow)
	}
}

func TestANumberThatIsNotListedIsShown(t *testing.T) {
	n := newNight()
	n.done(call.Record{Call: &call.Call{Claimed: "0206.731.645 for 79072300048"}, Status: 403, ProblemType: "urn:x"}, 0)
	if problems, _ := n.Problems(); problems[0].Claimed != "0206.731.645 for ***********" {
		t.Errorf("claimed %q", problems[0].Claimed)
	}
}

func TestAProblemNamesWhoForWhomAndWhere(t *testing.T) {
	n := newNight()
	n.done(call.Record{
		Call: &call.Call{
			ID: "req", Parent: "whole", Method: "GET", Path: "/grant/citizen/mandates/79072300048",
			Route: "grant", Provider: "nsso", Caller: "hr", Source: netip.MustParseAddr("10.1.2.3"),
			Actor: "jan 79072300048", Enterprise: 206731645, Upstream: "grant",
			UpstreamHost: "services.example",
		},
		Status: 502, ProblemType: "urn:problem-type:belgif:badGateway", ProxyError: "connection_refused",
		Detail: "The upstream of 79072300048 refused.", Cause: errors.New("dial tcp 10.9.8.7:443"),
		TokenHash: "0ddba11", Tries: 3, TraceID: "t1", AnswerTraceID: "t2",
	}, 1500*time.Microsecond)
	problems, _ := n.Problems()
	got := problems[0]
	want := activity.Problem{
		Kind: activity.Kind{Route: "grant", Provider: "nsso", Status: 502, By: "gateway",
			Type: "urn:problem-type:belgif:badGateway", ProxyError: "connection_refused"},
		Time: n.now, RequestID: "req", ParentID: "whole",
		Detail: "The upstream of *********** refused.", Method: "GET", Path: "/grant/citizen/mandates/***********",
		Caller: "hr", Source: "10.1.2.3", Actor: "jan ***********", Enterprise: "0206731645", Upstream: "grant",
		UpstreamHost: "services.example", Tries: 3,
		TraceID: "t1", AnswerTraceID: "t2", Milliseconds: 1.5,
	}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func refusal(number enterprise.Number, id string) call.Record {
	r := asked("ebox", "nsso", number, 403)
	r.ID, r.Caller, r.TraceID = id, "hr", "t-"+id
	return r
}

func TestAnEnterpriseIsRefusedUntilItIsServed(t *testing.T) {
	n := newNight()
	first := n.now
	n.done(refusal(206731645, "1"), 0)
	n.now = n.now.Add(time.Hour)
	n.done(refusal(206731645, "2"), 0)
	want := activity.Refused{Enterprise: "0206731645", Route: "ebox", Provider: "nsso", Status: 403, Since: first,
		Last: n.now, Count: 2, Caller: "hr", RequestID: "2", TraceID: "t-2"}
	if got := n.Refused(0); got.Total != 1 || got.Enterprises[0] != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	own := func(r *call.Record, status int) { r.Status, r.ProblemType = status, "urn:x" }
	for name, edit := range map[string]func(*call.Record){
		"another provider's answer": func(r *call.Record) { r.Provider = "regional" },
		"another enterprise's":      func(r *call.Record) { r.Enterprise = 212148896 },
		"one from the cache":        func(r *call.Record) { r.UpstreamStatus, r.Tries = 0, 0 },
		"an error":                  func(r *call.Record) { r.Status, r.UpstreamStatus = 503, 503 },
		"no answer":                 func(r *call.Record) { own(r, 504); r.UpstreamStatus = 0 },
		"the gateway's own 403": func(r *call.Record) {
			own(r, 403)
			r.Enterprise, r.UpstreamStatus, r.Tries = 212148896, 0, 0
		},
		"a token that was refused": func(r *call.Record) {
			own(r, 503)
			r.Enterprise, r.UpstreamStatus = 212148896, 401
		},
	} {
		r := asked("ebox", "nsso", 206731645, 200)
		edit(&r)
		n.done(r, 0)
		if got := n.Refused(0); got.Total != 1 || got.Enterprises[0].Count != 2 {
			t.Errorf("after %s: %+v", name, got)
		}
	}
	n.done(asked("ebox", "nsso", 206731645, 200), 0)
	if got := n.Refused(0); got.Total != 0 || got.Enterprises == nil {
		t.Errorf("it is served again: %+v", got)
	}
}

func TestRefusedEnterprisesAreBoundedAndTheOldestLeave(t *testing.T) {
	n := newNight()
	for i := range 12_000 {
		n.now = n.now.Add(time.Millisecond)
		n.done(refusal(enterprise.Number(200_000_000+i), fmt.Sprint(i)), 0)
	}
	got := n.Refused(100)
	if got.Total > 10_000 || got.Total < 9_000 || len(got.Enterprises) != 100 ||
		len(n.Refused(0).Enterprises) != n.RefusedTotal() {
		t.Errorf("%d of %d, %d known", len(got.Enterprises), got.Total, n.RefusedTotal())
	}
	if got.Enterprises[0].RequestID != "11999" {
		t.Errorf("the latest is %s", got.Enterprises[0].RequestID)
	}
}

func TestManyAtOnce(t *testing.T) {
	n := newNight()
	const goroutines, each = 8, 2000
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			r := refusal(enterprise.Number(200_000_000+i), "x")
			r.Start = n.now
			for j := range each {
				r.Provider = []string{"nsso", "regional"}[j%2]
				n.Done(&r)
				if j%500 == 0 {
					n.Snapshot()
					n.Minutes(func(activity.Lately) {})
					n.Refused(10)
				}
			}
		})
	}
	wg.Wait()
	s := n.Snapshot()
	if s.Total.Window.Requests != goroutines*each ||
		s.Providers[0].Window.Requests+s.Providers[1].Window.Requests != goroutines*each {
		t.Errorf("%d requests were counted", s.Total.Window.Requests)
	}
	if got := n.Refused(0); got.Total != 2*goroutines || n.RefusedTotal() != got.Total {
		t.Errorf("%d refused", got.Total)
	}
}

func TestAnAnswerAllocatesNothing(t *testing.T) {
	n := newNight()
	r := asked("ebox", "nsso", 206731645, 200)
	r.Start = n.now
	n.done(refusal(212148896, "1"), 0) // so that a success looks among the refused
	if got := testing.AllocsPerRun(100, func() { n.Done(&r) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// One success says that a provider does not refuse the office; refusals after it, that it
// may do so since.
func TestRefusalsInARowAreCountedSinceAnybodyWasServed(t *testing.T) {
	n := newNight()
	answer := func(number enterprise.Number, route, provider string, status int) {
		n.now = n.now.Add(time.Second)
		n.done(asked(route, provider, number, status), time.Millisecond)
	}
	begun := n.now
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	answer(206731645, "a", "nsso", 403)
	answer(206731645, "b", "nsso", 403) // the same enterprise by another route
	answer(212148896, "a", "nsso", 403)
	answer(206731645, "grant", "", 403)
	want := []activity.Standing{
		{Route: "grant", Refused: 1, InARow: 1, Since: at(4), Last: at(4)},
		{Provider: "nsso", Refused: 2, InARow: 2, Since: at(1), Last: at(3)},
	}
	if got := n.Standings(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	answer(200000001, "b", "nsso", 200)
	answer(212148896, "a", "nsso", 403)
	want[1] = activity.Standing{Provider: "nsso", Refused: 2, InARow: 1, Since: at(5), Last: at(6)}
	if got := n.Standings(); !slices.Equal(got, want) {
		t.Errorf("after a success %+v, want %+v", got, want)
	}
	answer(212148896, "a", "nsso", 200)
	want[1] = activity.Standing{Provider: "nsso", Refused: 1}
	if got := n.Standings(); !slices.Equal(got, want) {
		t.Errorf("after another %+v, want %+v", got, want)
	}
}
