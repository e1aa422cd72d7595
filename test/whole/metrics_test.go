package whole_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

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
	cert, key := certificate(t, "localhost")
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
