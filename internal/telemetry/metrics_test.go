package telemetry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

// parts are those of the gateway, in a state in which nothing is left out.
func parts() []metric.Collector {
	at := time.Unix(1_800_000_000, 0)
	upstreams := operate.UpstreamsAt(at, []operate.Upstream{
		// The first is left of the configuration before.
		{Name: "provider nsso", State: resilience.State{Circuit: resilience.Closed, Retries: 1},
			WaitingState: proxy.WaitingState{Oldest: at.Add(-time.Second), Unanswered: at.Add(-50 * time.Second)}},
		{Name: "provider nsso", State: resilience.State{Circuit: resilience.Open, Opened: 2, OpenFor: make([]string, 9),
			InFlight: 1, Queued: 7, Retries: 7, RetriesDenied: 9, RefusedOpen: 10, RefusedFull: 11, RefusedShare: 18,
			RefusedRate: 12},
			WaitingState: proxy.WaitingState{Oldest: at.Add(-42 * time.Second), Unanswered: at.Add(-43 * time.Second)},
			Connections:  wire.Counts{Opened: 13, Surplus: 14, Ended: 15, Resent: 16, Foreign: 17}},
	})
	clients := []authn.ClientStatus{{
		Name: "payroll", Clock: &authn.ClockStatus{AheadSeconds: -90}, Key: &authn.KeyStatus{NotAfter: at},
		Pending: &authn.PendingStatus{KeyStatus: authn.KeyStatus{NotAfter: at.Add(time.Hour)}},
		Tokens: []authn.TokenStatus{
			{Scopes: []string{"a", "b"}, Expires: at, Granted: 3, Refusals: 1,
				Error: &authn.FailureStatus{Code: "invalid_client"}},
			{Scopes: []string{"c"}, Granted: 2, Outages: 4, Forced: 1},
		},
	}}
	list := directory.Status{LastSuccess: at, LastError: "refused",
		States: map[directory.State]int{directory.Active: 2, directory.Maintenance: 1}}
	return []metric.Collector{
		is(memory.Metrics, memory.State{Held: 21, Limit: 22, Refused: 23}),
		is(operate.UpstreamMetrics, *upstreams), is(authn.Metrics, clients),
		is(directory.Metrics, list), is(directory.RegistryMetrics, list),
		is(cache.Metrics, cache.Stats{Bytes: 1 << 20, Resources: 12, Hits: 5, Misses: 6, Stale: 1, Validated: 2,
			Collapsed: 3, Stored: 4, Evicted: 5, Invalidations: 6, StoreFailures: 7}),
		is(redisstore.Metrics, redisstore.Status{State: "away", Opened: 1, Unreadable: 2, Untold: 3}),
		is(audit.Metrics, audit.Status{Waiting: 1, Written: 2, Lost: 3, Failing: "no space left",
			Missing: "the file x was removed", RefusedWrites: 5, LastGap: time.Unix(1_700_000_000, 0)}),
		is(telemetry.TraceMetrics, telemetry.TraceStats{Exported: 100, Dropped: 4}),
	}
}

func is[S any](table metric.Table[S], state S) metric.Collector {
	return metric.Read(table, func() *S { return &state })
}

func newTestMetrics(tb testing.TB) *telemetry.Metrics {
	tb.Helper()
	m, err := telemetry.NewMetrics(func(id string) bool { return id == "nsso" || id == "regional" }, parts()...)
	testkit.Must(tb, err)
	m.UseRoutes([]string{"ebox-providers", "grant-citizen"})
	return m
}

// scrape gives what a Prometheus reads, by name; pass protobuf for one that knows
// native histograms.
func scrape(tb testing.TB, m *telemetry.Metrics, accept string) map[string]*dto.MetricFamily {
	tb.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	m.ServeHTTP(w, r)
	if w.Code != 200 {
		tb.Fatalf("status %d: %s", w.Code, w.Body)
	}
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	read := make(map[string]*dto.MetricFamily)
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); err != nil {
			return read
		}
		read[f.GetName()] = f
	}
}

const (
	asText     = "text/plain"
	asProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// series finds one by its labels, name=value.
func series(f *dto.MetricFamily, labels ...string) *dto.Metric {
	if f == nil {
		return nil
	}
next:
	for _, s := range f.Metric {
		for _, want := range labels {
			found := false
			for _, l := range s.Label {
				found = found || l.GetName()+"="+l.GetValue() == want
			}
			if !found {
				continue next
			}
		}
		return s
	}
	return nil
}

// finished is the record of a usual call.
func finished() *call.Record {
	return &call.Record{
		Call: &call.Call{
			Method: "GET", Route: "ebox-providers", Provider: "nsso", Action: ebox.List,
			Upstream: "provider nsso",
		},
		Status: 200, UpstreamStatus: 200, Tries: 2, BytesIn: 10, BytesOut: 2048,
		Phases: call.Phases{Total: 1500 * time.Microsecond, Token: 200, Header: 123 * time.Microsecond,
			Body: time.Millisecond},
	}
}

func TestARequestIsCountedByRouteMethodClassAndAuthor(t *testing.T) {
	m := newTestMetrics(t)
	m.Done(finished())
	refused := finished()
	refused.Status, refused.ProblemType, refused.UpstreamStatus = 503, "urn:problem-type:belgif:serviceUnavailable", 0
	refused.Cut, refused.Planned = true, true
	m.Done(refused)
	gone := finished()
	gone.Status, gone.Method = 0, "PROPFIND"
	m.Done(gone)
	preflight := finished()
	preflight.Method, preflight.Upstream, preflight.Status = "OPTIONS", "", 204
	m.Done(preflight)
	got := scrape(t, m, asText)
	for _, labels := range []string{
		"route=ebox-providers method=GET code=2xx author=upstream",
		"route=ebox-providers method=GET code=5xx author=gateway",
		"route=ebox-providers method=OTHER code=none author=upstream",
		"route=ebox-providers method=OPTIONS code=2xx author=gateway",
	} {
		s := series(got["ebox_gateway_requests_total"], strings.Fields(labels)...)
		if s.GetCounter().GetValue() != 1 {
			t.Errorf("%s: %v", labels, s)
		}
	}
	for name, want := range map[string]float64{
		"tries_total": 8, "request_body_bytes_total": 40, "response_body_bytes_total": 8192, "cut_answers_total": 1,
		"maintenance_answers_total": 1,
	} {
		if v := series(got[metric.Prefix+name], "route=ebox-providers").GetCounter().GetValue(); v != want {
			t.Errorf("%s = %v, want %v", name, v, want)
		}
	}
	if v := series(got["ebox_gateway_problems_total"], "type=serviceUnavailable").GetCounter().GetValue(); v != 1 {
		t.Errorf("problems: %v", v)
	}
	if v := series(got["ebox_gateway_provider_requests_total"], "provider=nsso", "code=2xx",
		"author=upstream").GetCounter().GetValue(); v != 1 {
		t.Errorf("requests of the provider: %v", v)
	}
	phases := got["ebox_gateway_request_phase_seconds"]
	if h := series(phases, "phase=header").GetHistogram(); h.GetSampleCount() != 4 || h.GetSampleSum() < 0.00049 ||
		h.GetSampleSum() > 0.0005 {
		t.Errorf("header: %v", h)
	}
	if series(phases, "phase=limits") != nil {
		t.Error("a wait that was none is counted")
	}
}

func TestAPartOfARequestIsNoRequest(t *testing.T) {
	m := newTestMetrics(t)
	part := finished()
	part.Parent = "2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11"
	m.Done(part)
	got := scrape(t, m, asText)
	if got["ebox_gateway_requests_total"] != nil || got["ebox_gateway_provider_requests_total"] != nil {
		t.Error("it is counted as a request")
	}
	if v := series(got["ebox_gateway_part_requests_total"], "provider=nsso", "code=2xx").GetCounter().GetValue(); v != 1 {
		t.Errorf("parts: %v", v)
	}
}

func TestHistogramsComeInBothForms(t *testing.T) {
	m := newTestMetrics(t)
	for range 3 {
		m.Done(finished())
	}
	for form, accept := range map[string]string{"text": asText, "protobuf": asProtobuf} {
		h := series(scrape(t, m, accept)["ebox_gateway_request_duration_seconds"], "route=ebox-providers",
			"code=2xx").GetHistogram()
		if h.GetSampleCount() != 3 || len(h.Bucket) < 10 {
			t.Errorf("%s has no classic buckets: %v", form, h)
		}
		if native := len(h.PositiveSpan) > 0; native != (form == "protobuf") {
			t.Errorf("%s: native buckets %v", form, h.PositiveSpan)
		}
	}
}

func TestTheOutsideMakesNoSeries(t *testing.T) {
	m := newTestMetrics(t)
	count := func() (n int) {
		for name, f := range scrape(t, m, asText) {
			if strings.HasPrefix(name, metric.Prefix) {
				n += len(f.Metric)
			}
		}
		return n
	}
	hammer := func(rounds int, word func(int) string) {
		random := rand.New(rand.NewPCG(1, 2))
		for i := range rounds {
			r := finished()
			r.Method = []string{"GET", "POST", word(i)}[i%3]
			r.Route = []string{"ebox-providers", word(i)}[i%2]
			r.Provider = []string{"nsso", word(i), ""}[i%3]
			r.Path, r.Host, r.Caller, r.Claimed, r.Actor = word(i), word(i), word(i), word(i), word(i)
			r.Status = random.IntN(1000) - 100
			if i%2 == 0 {
				r.ProblemType = "urn:problem-type:x:" + word(i)
			}
			if i%5 == 0 {
				r.Parent = word(i)
			}
			r.Cause = errors.New(word(i))
			m.Done(r)
		}
	}
	hammer(5000, func(i int) string { return fmt.Sprint("a", i%3) })
	before := count()
	hammer(20_000, func(i int) string { return fmt.Sprint("w", i) })
	if after := count(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
	for name, f := range scrape(t, m, asText) {
		if series(f, "provider=w1") != nil || series(f, "route=w1") != nil {
			t.Errorf("%s has a label from outside", name)
		}
	}
}

func TestARegistryThatChangesItsIDsFillsNoMemory(t *testing.T) {
	m, err := telemetry.NewMetrics(func(string) bool { return true })
	testkit.Must(t, err)
	const maxProviders = 1000
	for i := range 2 * maxProviders {
		r := finished()
		r.Provider = fmt.Sprint("p", i)
		m.Done(r)
	}
	got := scrape(t, m, asText)["ebox_gateway_provider_requests_total"]
	if n := len(got.Metric); n != maxProviders+1 {
		t.Errorf("%d series", n)
	}
	if v := series(got, "provider=none").GetCounter().GetValue(); v != maxProviders {
		t.Errorf("%v requests of unknown providers", v)
	}
}

func TestTheSeriesOfARouteGoWithIt(t *testing.T) {
	m := newTestMetrics(t)
	m.Done(finished())
	m.UseRoutes([]string{"grant-citizen"})
	m.Done(finished()) // still under way when the configuration was replaced
	for name, f := range scrape(t, m, asText) {
		if series(f, "route=ebox-providers") != nil {
			t.Errorf("%s still has the route", name)
		}
	}
	if v := series(scrape(t, m, asText)["ebox_gateway_requests_total"], "route=none").GetCounter().GetValue(); v != 1 {
		t.Errorf("%v requests without a route", v)
	}
	m.UseRoutes([]string{"grant-citizen", "ebox-providers"})
	m.Done(finished())
	if v := series(scrape(t, m, asText)["ebox_gateway_requests_total"], "route=ebox-providers").GetCounter().
		GetValue(); v != 1 {
		t.Errorf("the route came back with %v requests", v)
	}
}

func TestWhatThePartsSayIsShown(t *testing.T) {
	got := scrape(t, newTestMetrics(t), asText)
	for labels, want := range map[string]float64{
		"held_bytes": 21, "held_bytes_limit": 22, "held_bytes_refusals_total": 23,
		"upstream_circuit_state upstream=provider_nsso state=open": 1, "upstream_circuit_state state=closed": 0,
		"upstream_connections_total event=opened": 13, "upstream_connections_total event=surplus": 14,
		"upstream_connections_total event=ended": 15, "upstream_connections_total event=resent": 16,
		"upstream_connections_total event=foreign": 17, "upstream_refusals_total reason=bulkhead": 11,
		"upstream_refusals_total reason=share": 18, "upstream_circuit_open_enterprises": 9, "upstream_retries_total": 8,
		"upstream_requests_queued":             7,
		"token_requests_total outcome=granted": 5, "token_requests_total outcome=unavailable": 4,
		"token_failing reason=refused": 1, "token_failing reason=key": 0,
		"token_expiry_timestamp_seconds scopes=a_b": 1.8e9, "certificate_expiry_timestamp_seconds key=pending": 1.8e9 + 3600,
		"key_pending client=payroll":              1,
		"clock_difference_seconds client=payroll": -90, "upstream_oldest_call_seconds upstream=provider_nsso": 42,
		"upstream_unanswered_seconds upstream=provider_nsso": 50,
		"registry_list_timestamp_seconds":                    1.8e9, "registry_last_try_failed": 1,
		"providers state=maintenance": 1,
		"cache_memory_bytes":          1 << 20, "redis_up": 0, "redis_state state=away": 1, "evidence_lost_total": 3,
		"evidence_failing": 1, "evidence_missing": 1, "evidence_refused_writes_total": 5,
		"evidence_gap_timestamp_seconds": 1_700_000_000, "trace_spans_dropped_total": 4,
	} {
		fields := strings.Fields(labels)
		for i := range fields {
			if i > 0 { // blanks within a value
				fields[i] = strings.NewReplacer("provider_nsso", "provider nsso", "a_b", "a b").Replace(fields[i])
			}
		}
		s := series(got[metric.Prefix+fields[0]], fields[1:]...)
		if s == nil || s.GetCounter().GetValue()+s.GetGauge().GetValue() != want {
			t.Errorf("%s: %v, want %v", labels, s, want)
		}
	}
	if series(got[metric.Prefix+"token_expiry_timestamp_seconds"], "scopes=c") != nil {
		t.Error("a token that there is not has an expiry")
	}
}

func TestWhatThereIsNotHasNoSeries(t *testing.T) {
	m, err := telemetry.NewMetrics(func(string) bool { return false },
		metric.Read(redisstore.Metrics, func() *redisstore.Status { return nil }),
		is(directory.RegistryMetrics, directory.Status{}), is(audit.Metrics, audit.Status{}))
	testkit.Must(t, err)
	for name := range scrape(t, m, asText) {
		for _, part := range []string{"redis", "registry_list", "evidence_gap"} {
			if strings.HasPrefix(name, metric.Prefix+part) {
				t.Errorf("%s is there", name)
			}
		}
	}
}

func TestEveryMetricThatIsListedIsShown(t *testing.T) {
	m := newTestMetrics(t)
	m.Done(finished())
	part := finished()
	part.Parent = "x"
	m.Done(part)
	there := scrape(t, m, asText)
	for _, f := range m.Families() {
		if there[f.Name] == nil {
			t.Errorf("%s is listed and never shown", f.Name)
		}
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	m := newTestMetrics(t)
	r := finished()
	m.Done(r)
	if n := testing.AllocsPerRun(1000, func() { m.Done(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
