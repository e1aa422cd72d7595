package whole_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/oteltest"
)

// metrics is what a scrape of the admin listener gives.
func (h *house) metrics() string {
	h.t.Helper()
	return h.operate("GET", "/metrics").want(h.t, 200).body
}

// metric gives the value of one series, as it is written; -1 if there is none.
func (h *house) metric(series string) float64 {
	h.t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(h.metrics())
	if found == nil {
		return -1
	}
	v, err := strconv.ParseFloat(found[1], 64)
	testkit.Must(h.t, err)
	return v
}

func TestMetricsShowTheState(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "localhost").Files(t, t.TempDir())
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, fmt.Sprintf(
		`server: {listen: [{name: plain, address: "127.0.0.1:0", open: true}, `+
			`{name: secure, address: "127.0.0.1:0", open: true, tls: {certFile: %q, keyFile: %q}}]`, cert, key)))
	h.get("/enterprises/"+ended+nsso+"/ebox").want(t, 403)
	h.get(box).want(t, 200)
	h.get(box).want(t, 200) // validated, or from the cache
	h.get("/nowhere").want(t, 404)
	h.get("/enterprises/0206731645/ebox/providers/unknown/ebox").want(t, 404)
	h.send("OPTIONS", box, nil).want(t, 204)
	for series, want := range map[string]float64{
		`ebox_gateway_requests_total{author="upstream",code="2xx",method="GET",route="ebox-providers"}`:    2,
		`ebox_gateway_requests_total{author="gateway",code="4xx",method="GET",route="none"}`:               1,
		`ebox_gateway_requests_total{author="gateway",code="4xx",method="GET",route="ebox-providers"}`:     1,
		`ebox_gateway_requests_total{author="gateway",code="2xx",method="OPTIONS",route="ebox-providers"}`: 1,
		`ebox_gateway_provider_requests_total{author="upstream",code="2xx",provider="nsso"}`:               2,
		`ebox_gateway_provider_requests_total{author="gateway",code="4xx",provider="none"}`:                1,
		`ebox_gateway_problems_total{type="resourceNotFound"}`:                                             2,
		`ebox_gateway_upstream_circuit_state{state="closed",upstream="provider nsso"}`:                     1,
		`ebox_gateway_upstream_circuit_state{state="open",upstream="provider nsso"}`:                       0,
		`ebox_gateway_config_last_reload_successful`:                                                       1,
		`ebox_gateway_enterprises_refused{provider="nsso"}`:                                                1,
		`ebox_gateway_enterprises_refused{provider="regional"}`:                                            0,
		`ebox_gateway_ready`:                                         1,
		`ebox_gateway_enterprises{state="listed"}`:                   3,
		`ebox_gateway_token_failing{client="demo",reason="refused"}`: 0,
		`ebox_gateway_registry_last_try_failed`:                      0,
		`ebox_gateway_requests_in_flight`:                            0,
	} {
		// A request is counted when its handler returns, a moment after its answer.
		eventually(t, fmt.Sprintf("%s to be %v", series, want), func() bool { return h.metric(series) == want })
	}
	for _, series := range []string{
		`ebox_gateway_token_requests_total{client="demo",outcome="granted"}`, `ebox_gateway_registry_list_timestamp_seconds`,
		`ebox_gateway_certificate_expiry_timestamp_seconds{client="demo",key="current"}`,
		`ebox_gateway_providers{state="active"}`, `go_goroutines`, `process_resident_memory_bytes`,
		`ebox_gateway_listener_certificate_expiry_timestamp_seconds{listener="secure"}`, `go_gc_gomemlimit_bytes`,
	} {
		if h.metric(series) <= 0 {
			t.Errorf("%s is %v", series, h.metric(series))
		}
	}
}

// The federated inbox is one request and a part for each provider.
func TestThePartsOfAnInboxAreCountedAndTracedApart(t *testing.T) {
	t.Parallel()
	c := oteltest.Start(t)
	h := open(t, add("tracing: {endpoint: "+c.URL+", sampleRatio: 1}\n"))
	got := h.get("/enterprises/0206731645/ebox/messages").want(t, 200)
	const inbox = `ebox_gateway_requests_total{author="gateway",code="2xx",method="GET",route="ebox-inbox"}`
	eventually(t, "the request to be counted", func() bool { return h.metric(inbox) == 1 })
	for _, provider := range []string{"nsso", "regional"} {
		if n := h.metric(`ebox_gateway_part_requests_total{code="2xx",provider="` + provider + `"}`); n != 1 {
			t.Errorf("%v parts of %s", n, provider)
		}
		if n := h.metric(`ebox_gateway_provider_requests_total{author="upstream",code="2xx",provider="` +
			provider + `"}`); n > 0 {
			t.Errorf("the part of %s is counted as a request", provider)
		}
	}
	whole := requestSpan(t, c, got.header.Get("X-Request-Id"))
	for _, provider := range []string{"nsso", "regional"} {
		parts := c.With("ebox.provider", provider)
		tries := c.With("ebox.upstream", "provider "+provider)
		if len(parts) != 1 || len(tries) != 1 || string(parts[0].ParentSpanId) != string(whole.SpanId) ||
			string(tries[0].ParentSpanId) != string(parts[0].SpanId) {
			t.Errorf("%s: parts %v, tries %v", provider, parts, tries)
		}
	}
}

// requestSpan waits for the span of a request, which is the last of its spans: a stop waits for the collector for
// two seconds only.
func requestSpan(t *testing.T, c *oteltest.Collector, id string) (span *otlp.Span) {
	t.Helper()
	eventually(t, "the span of the request "+id, func() bool {
		found := c.With("ebox.request_id", id)
		if len(found) > 0 {
			span = found[0]
		}
		return span != nil
	})
	return span
}

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirParent = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

func TestACallIsTracedFromTheCallerToEachTry(t *testing.T) {
	t.Parallel()
	c := oteltest.Start(t)
	h := open(t, add("tracing: {endpoint: "+c.URL+", sampleRatio: 0}\n"))
	h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 503, Count: 1})
	got := h.get(box+"?q=79072300048", "Traceparent: "+theirParent, "Tracestate: vendor=a",
		"Baggage: secret=1").want(t, 200)
	id := got.header.Get("X-Request-Id")

	sent := h.sim.RequestsTo("provider:nsso")
	if len(sent) != 2 {
		t.Fatalf("%d tries", len(sent))
	}
	for _, r := range sent {
		for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the upstream got %s", name)
			}
		}
	}
	h.get(box).want(t, 200) // not the caller's to decide, and the ratio is 0
	request := requestSpan(t, c, id)
	testkit.Must(t, h.Stop())
	spans := c.Spans()
	if len(spans) != 3 {
		t.Fatalf("%d spans", len(spans))
	}
	if hex.EncodeToString(request.TraceId) != theirTrace ||
		hex.EncodeToString(request.ParentSpanId) != "00f067aa0ba902b7" || request.TraceState != "vendor=a" {
		t.Errorf("%v does not go on from the caller's", request)
	}
	if request.Name != "GET /ebox/providers/{providerId}" {
		t.Errorf("it is named %s", request.Name)
	}
	for _, r := range sent {
		tries := c.With("belgov.trace_id", r.Header.Get("Belgov-Trace-Id"))
		if len(tries) != 1 || string(tries[0].ParentSpanId) != string(request.SpanId) ||
			oteltest.Attributes(tries[0])["ebox.upstream"] != "provider nsso" {
			t.Errorf("the try %s has the spans %v", r.Header.Get("Belgov-Trace-Id"), tries)
		}
	}
	for _, s := range spans {
		for _, personal := range []string{"79072300048", mandated, "q="} {
			if strings.Contains(s.String(), personal) {
				t.Errorf("a span holds %s: %v", personal, s)
			}
		}
	}
	if !strings.Contains(h.access.String(), `"callerTraceId":"`+theirTrace+`"`) {
		t.Error("the access line does not name the caller's trace")
	}
}

func TestTracesFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	c := oteltest.Start(t)
	f := watched(t)
	f.get(box).want(t, 200)
	text := testkit.Read(t, f.path("config.yaml"))
	f.write(t, "headers", "X-Key: one\n")
	f.write(t, "config.yaml", text+"tracing: {endpoint: "+c.URL+", sampleRatio: 1, headersFile: headers}\n")
	eventually(t, "traces to begin", func() bool { return strings.Contains(f.metrics(), "ebox_gateway_trace_") })
	f.get(box).want(t, 200)
	f.write(t, "config.yaml", text) // what there is is sent
	eventually(t, "traces to end", func() bool { return !strings.Contains(f.metrics(), "ebox_gateway_trace_") })
	eventually(t, "the spans", func() bool { return len(c.With("ebox.upstream", "provider nsso")) > 0 })
	if header := c.Batches()[0].Header; header.Get("X-Key") != "one" {
		t.Errorf("they came with %v", header)
	}
}

// prometheus is the real one, reading one gateway.
type prometheus struct {
	t    *testing.T
	base string
}

// startPrometheus runs Debian's, with the rules of deploy/ that wait for nothing.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	program := needs.Program(t, "prometheus", "prometheus")
	dir := t.TempDir()
	rules, err := os.ReadFile("../../deploy/prometheus-rules.yaml")
	testkit.Must(t, err)
	impatient := regexp.MustCompile(`(?m)^(\s+)for: .*$`).ReplaceAll(rules, []byte("${1}for: 0s"))
	if bytes.Equal(impatient, rules) {
		t.Fatal("no rule waits for anything any more")
	}
	for name, content := range map[string]string{
		"rules.yaml": string(impatient),
		"prometheus.yml": fmt.Sprintf("global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: "+
			"250ms}\nrule_files: [rules.yaml]\n"+
			"scrape_configs: [{job_name: ebox-gateway, static_configs: [{targets: [%q]}]}]\n",
			strings.TrimPrefix(target, "http://")),
	} {
		testkit.Write(t, filepath.Join(dir, name), content)
	}
	var said testkit.Log
	address := testkit.Address(t)
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	testkit.Must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { <-ended; http.DefaultClient.CloseIdleConnections() }) // the test's context kills it
	p := &prometheus{t, "http://" + address}
	eventually(t, "Prometheus to be ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("Prometheus ended:\n%s", said.String())
		default:
		}
		resp, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// query gives the series of an expression, by Prometheus's HTTP API.
func (p *prometheus) query(expr string) []any {
	p.t.Helper()
	resp, err := http.Get(p.base + "/api/v1/query?query=" + url.QueryEscape(expr))
	testkit.Must(p.t, err)
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s: %v %s", expr, err, answer.Error)
	}
	return answer.Data.Result
}

func TestAlertsFireInARealPrometheus(t *testing.T) {
	t.Parallel()
	f := watched(t, providers("breaker: {open: 1h}"))
	p := startPrometheus(t, f.Admin)
	f.get(box).want(t, 200)
	eventually(t, "its series to come", func() bool {
		return len(p.query(`ebox_gateway_upstream_circuit_state{state="closed"} == 1`)) > 0
	})
	const circuit, reload = `alertname="EBoxCircuitOpen",upstream="provider nsso"`, `alertname="EBoxReloadFailed"`
	firing := func(alert string) bool { return len(p.query(`ALERTS{alertstate="firing",`+alert+`}`)) > 0 }
	for _, alert := range []string{circuit, reload, `alertname="EBoxTokenRefused"`} {
		if firing(alert) {
			t.Errorf("%s fires while all is well", alert)
		}
	}

	f.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultStatus, Status: 503})
	eventually(t, "the circuit to open", func() bool {
		f.get(box).want(t, 503)
		f.get(anothersBox).want(t, 503)
		return f.upstreamStatus("provider nsso").Circuit == "open"
	})
	f.write(t, "config.yaml", "environment: nowhere\n")
	for _, alert := range []string{circuit, reload} {
		eventually(t, alert+" to fire", func() bool { return firing(alert) })
	}

	// Every panel shows something, unless it is about what this gateway has not or
	// what has not happened.
	absent := regexp.MustCompile(`_(redis|evidence|trace|part)_|> 0$`)
	for at, expr := range dashboardExpressions(t) {
		if absent.MatchString(expr) {
			p.query(expr) // one that is none ends the test
			continue
		}
		eventually(t, "something to show for "+at, func() bool { return len(p.query(expr)) > 0 })
	}
}

// dashboardExpressions are those of deploy/, with Grafana's variables filled in.
func dashboardExpressions(t *testing.T) map[string]string {
	t.Helper()
	content := testkit.Read(t, "../../deploy/grafana-dashboard.json")
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	testkit.Must(t, json.Unmarshal([]byte(content), &d))
	all := make(map[string]string)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			all[panel.Title+" "+target.RefID] = strings.NewReplacer("$__rate_interval", "1m", "$instance",
				".*").Replace(target.Expr)
		}
	}
	if len(all) == 0 {
		t.Fatal("the dashboard asks nothing")
	}
	return all
}
