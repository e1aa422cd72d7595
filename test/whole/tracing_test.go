package whole_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ebox-gateway/internal/simulator"
)

// collector receives traces.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	keys  map[string]bool // that came with them
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{keys: make(map[string]bool)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		raw, err := io.ReadAll(unzipped)
		var batch otlp.TracesData
		if err == nil {
			err = proto.Unmarshal(raw, &batch)
		}
		if err != nil {
			t.Error(err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keys[r.Header.Get("X-Key")] = true
		for _, resource := range batch.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// of gives the spans that hold the value of an attribute.
func (c *collector) of(key, value string) (found []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		for _, a := range s.Attributes {
			if a.Key == key && a.Value.GetStringValue() == value {
				found = append(found, s)
			}
		}
	}
	return found
}

// request waits for the span of a request, which is the last of its spans: a stop waits for the collector for two
// seconds only.
func (c *collector) request(t *testing.T, id string) *otlp.Span {
	t.Helper()
	var found []*otlp.Span
	eventually(t, "the span of the request "+id, func() bool {
		found = c.of("ebox.request_id", id)
		return len(found) > 0
	})
	return found[0]
}

func attributeOf(s *otlp.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirParent = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

func TestACallIsTracedFromTheCallerToEachTry(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
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
	request := c.request(t, id)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if len(c.spans) != 3 {
		t.Fatalf("%d spans", len(c.spans))
	}
	if hex.EncodeToString(request.TraceId) != theirTrace ||
		hex.EncodeToString(request.ParentSpanId) != "00f067aa0ba902b7" || request.TraceState != "vendor=a" {
		t.Errorf("%v does not go on from the caller's", request)
	}
	if request.Name != "GET /ebox/providers/{providerId}" {
		t.Errorf("it is named %s", request.Name)
	}
	for _, r := range sent {
		tries := c.of("belgov.trace_id", r.Header.Get("Belgov-Trace-Id"))
		if len(tries) != 1 || string(tries[0].ParentSpanId) != string(request.SpanId) ||
			attributeOf(tries[0], "ebox.upstream") != "provider nsso" {
			t.Errorf("the try %s has the spans %v", r.Header.Get("Belgov-Trace-Id"), tries)
		}
	}
	for _, s := range c.spans {
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
	c := newCollector(t)
	f := watched(t)
	f.get(box).want(t, 200)
	text, err := os.ReadFile(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "headers", "X-Key: one\n")
	f.write(t, "config.yaml", string(text)+"tracing: {endpoint: "+c.URL+", sampleRatio: 1, headersFile: headers}\n")
	eventually(t, "traces to begin", func() bool { return strings.Contains(f.metrics(), "ebox_gateway_trace_") })
	f.get(box).want(t, 200)
	f.write(t, "config.yaml", string(text)) // what there is is sent
	eventually(t, "traces to end", func() bool { return !strings.Contains(f.metrics(), "ebox_gateway_trace_") })
	eventually(t, "the spans", func() bool { return len(c.of("ebox.upstream", "provider nsso")) > 0 })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keys["one"] {
		t.Errorf("they came with %v", c.keys)
	}
}
