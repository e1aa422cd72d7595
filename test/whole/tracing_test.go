package whole_test

import (
	"encoding/hex"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/oteltest"
)

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
