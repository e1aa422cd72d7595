package telemetry_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/oteltest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// newTestTracer makes a tracer of a collector that is there: its stop waits for as long as a busy
// machine may take.
func newTestTracer(t testing.TB, endpoint string, edit func(*telemetry.TracerOptions)) *telemetry.Tracer {
	t.Helper()
	u, err := url.Parse(endpoint)
	testkit.Must(t, err)
	o := telemetry.TracerOptions{
		Endpoint: u, Headers: map[string]string{"Authorization": "Bearer collector-key"}, SampleRatio: 1,
		ServiceName: "ebox", Version: "1.2", Environment: "test", Instance: "i1", Log: slog.New(slog.DiscardHandler),
	}
	edit(&o)
	tracer, err := telemetry.NewTracer(o)
	testkit.Must(t, err)
	tracer.StopWithin(time.Minute)
	return tracer
}

func plain(*telemetry.TracerOptions) {}

func logTo(log *testkit.Log) func(*telemetry.TracerOptions) {
	return func(o *telemetry.TracerOptions) { o.Log = slog.New(slog.NewTextHandler(log, nil)) }
}

// told runs the tracer, lets do tell it, and stops it, which sends what is there.
func told(tracer *telemetry.Tracer, do func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); tracer.Run(ctx) }()
	do()
	stop()
	<-ended
}

const (
	requestID = "2c1f6c9e-8a8a-4f6e-9e57-0d6a3f1f7c11"
	tryID     = "b5a2b7d4-11a1-4b1e-8f52-7a61b8f9c0de"
)

func tracedCall() *call.Record {
	c := &call.Call{
		ID: requestID, Start: time.Now().Add(-time.Second), Method: "GET",
		Path: "/enterprises/0206731645/ebox/messages/79072300048", Protocol: "HTTP/2.0", Caller: "hr",
		Actor: "an.peeters@example.be", Route: "ebox-providers", Provider: "nsso", Action: ebox.List,
		Enterprise: 206731645, Claimed: "0206.731.645", Client: "payroll", Upstream: "provider nsso",
		UpstreamHost: "services.example.be",
	}
	c.Record = &call.Record{
		Call: c, TokenHash: strings.Repeat("ab", 32), UpstreamStatus: 200, Status: 200, Tries: 2, TraceID: tryID,
		Phases: call.Phases{Token: time.Millisecond, Header: 300 * time.Millisecond, Body: 200 * time.Millisecond,
			Total: time.Second},
	}
	return c.Record
}

func TestARequestAndItsTryAreOneTrace(t *testing.T) {
	collector := oteltest.Start(t)
	tracer := newTestTracer(t, collector.URL, plain)
	r := tracedCall()
	told(tracer, func() {
		upstream := telemetry.NewTries(roundTrip(func(req *http.Request) (*http.Response, error) {
			for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
				if req.Header[name] != nil {
					t.Errorf("%s is sent", name)
				}
			}
			theirs := http.Header{"Belgov-Trace-Id": {"theirs\xff"}}
			return &http.Response{StatusCode: 503, Header: theirs, Body: http.NoBody}, nil
		}), func() *telemetry.Tracer { return tracer })
		req := httptest.NewRequest("GET", "https://services.example.be:8443/REST/ebox/messages?q=79072300048", nil)
		if _, err := upstream.Send(context.Background(), r.Call, req); err != nil {
			t.Fatal(err)
		}
		tracer.Done(r, "/ebox/providers/{providerId}")
	})
	batches := collector.Batches()
	if len(batches) != 1 || len(batches[0].Spans) != 2 {
		t.Fatalf("batches: %v", batches)
	}
	batch := batches[0]
	try, request := batch.Spans[0], batch.Spans[1]
	if got := trace.TraceID(request.TraceId).String(); got != strings.ReplaceAll(requestID, "-", "") {
		t.Errorf("the trace is %s, which nobody who has the request id would find", got)
	}
	if !bytes.Equal(try.TraceId, request.TraceId) || !bytes.Equal(try.ParentSpanId, request.SpanId) ||
		len(request.ParentSpanId) != 0 {
		t.Errorf("%v is not below %v", try, request)
	}
	if request.Name != "GET /ebox/providers/{providerId}" || request.Kind != otlp.Span_SPAN_KIND_SERVER ||
		try.Name != "GET" || try.Kind != otlp.Span_SPAN_KIND_CLIENT {
		t.Errorf("%s %s, %s %s", request.Name, request.Kind, try.Name, try.Kind)
	}
	for key, want := range map[string]any{
		"http.request.method": "GET", "http.route": "/ebox/providers/{providerId}", "http.response.status_code": int64(200),
		"network.protocol.version": "2",
		"ebox.request_id":          requestID, "ebox.caller": "hr", "ebox.provider": "nsso", "ebox.phase.header_ms": 300.0,
		"ebox.tries": int64(2),
	} {
		if got := oteltest.Attributes(request)[key]; got != want {
			t.Errorf("request: %s = %v, want %v", key, got, want)
		}
	}
	for key, want := range map[string]any{
		"belgov.trace_id": tryID, "belgov.answer_trace_id": "theirs\uFFFD", "http.response.status_code": int64(503),
		"error.type":     "503",
		"server.address": "services.example.be", "server.port": int64(8443), "http.request.resend_count": int64(1),
		"ebox.upstream": "provider nsso",
	} {
		if got := oteltest.Attributes(try)[key]; got != want {
			t.Errorf("try: %s = %v, want %v", key, got, want)
		}
	}
	if took := time.Duration(request.EndTimeUnixNano - request.StartTimeUnixNano); took != time.Second {
		t.Errorf("the request took %s", took)
	}
	if at := time.Duration(request.EndTimeUnixNano - request.Events[0].TimeUnixNano); len(request.Events) != 1 ||
		at != 200*time.Millisecond {
		t.Errorf("events: %v", request.Events)
	}
	if batch.Path != "/v1/traces" || batch.Header.Get("Authorization") != "Bearer collector-key" {
		t.Errorf("%s with %v", batch.Path, batch.Header)
	}
	if batch.Service["service.name"] != "ebox" || batch.Service["service.version"] != "1.2" ||
		batch.Service["deployment.environment.name"] != "test" {
		t.Errorf("service %v", batch.Service)
	}
	all := try.String() + request.String()
	for _, secret := range []string{"79072300048", "0206", "206731645", "peeters", "q=", "abab", "messages"} {
		if strings.Contains(all, secret) {
			t.Errorf("a span holds %q", secret)
		}
	}
	if s := tracer.Stats(); s.Exported != 2 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// roundTrip is an upstream.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Send(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
	return f(r)
}

func TestTheCallersTraceGoesOn(t *testing.T) {
	collector := oteltest.Start(t)
	tracer := newTestTracer(t, collector.URL, func(o *telemetry.TracerOptions) { o.SampleRatio = 0 })
	const theirs, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	told(tracer, func() {
		for _, parent := range []string{
			"00-" + theirs + "-" + span + "-01", // traced: the ratio has no say
			"00-" + theirs + "-" + span + "-00", // not traced
			"ff-" + theirs + "-" + span + "-01", // a version that cannot be
			"00-00000000000000000000000000000000-" + span + "-01",
			"x",
			"",
		} {
			r := tracedCall()
			r.TraceParent, r.TraceState = parent, "vendor=a"
			tracer.Done(r, "/x")
		}
		part := tracedCall()
		part.ID, part.Parent, part.TraceParent = tryID, requestID, "00-"+theirs+"-"+span+"-01"
		tracer.Done(part, "/x")
	})
	spans := collector.Spans()
	if len(spans) != 2 {
		t.Fatalf("spans: %v", spans)
	}
	whole, part := spans[0], spans[1]
	if trace.TraceID(whole.TraceId).String() != theirs || trace.SpanID(whole.ParentSpanId).String() != span ||
		whole.TraceState != "vendor=a" {
		t.Errorf("%v does not go on from the caller's", whole)
	}
	if trace.TraceID(part.TraceId).String() != theirs || !bytes.Equal(part.ParentSpanId, whole.SpanId) ||
		part.Kind != otlp.Span_SPAN_KIND_INTERNAL {
		t.Errorf("the part %v is not below %v", part, whole)
	}
}

func TestTheRatioDecidesWhatIsTraced(t *testing.T) {
	collector := oteltest.Start(t)
	for ratio, want := range map[float64][2]uint64{0: {0, 0}, 1: {4000, 4000}, 0.25: {850, 1150}} {
		tracer := newTestTracer(t, collector.URL, func(o *telemetry.TracerOptions) { o.SampleRatio = ratio })
		told(tracer, func() {
			for range 4000 {
				tracer.Done(&call.Record{Call: &call.Call{ID: call.NewID()}}, "")
			}
		})
		if n := tracer.Stats().Exported; n < want[0] || n > want[1] {
			t.Errorf("%v: %d of 4000", ratio, n)
		}
	}
}

func TestACollectorInTroubleHoldsNobodyUp(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { frozen.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	_ = gone.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "I do not know "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	t.Cleanup(refusing.Close)
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_, _ = conn.Write([]byte("hunter2 hunter2\r\n\r\n"))
		_ = conn.Close()
	}))
	t.Cleanup(garbage.Close)
	for name, endpoint := range map[string]string{"frozen": "http://" + frozen.Addr().String(), "gone": "http://" +
		gone.Addr().String(), "refusing": refusing.URL, "no HTTP": garbage.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testkit.Log
			tracer := newTestTracer(t, endpoint, logTo(&log))
			tracer.StopWithin(2 * time.Second)
			const calls = 4096 + 1000 // more than wait at once
			told(tracer, func() {
				for range calls {
					tracer.Done(tracedCall(), "/x")
				}
			})
			if s := tracer.Stats(); s.Exported != 0 || s.Dropped != calls {
				t.Errorf("%+v of %d", s, calls)
			}
			if text := log.String(); strings.Count(text, "does not take traces") != 1 ||
				strings.Contains(text, "collector-key") || strings.Contains(text, "hunter2") {
				t.Errorf("the log says %q", text)
			}
		})
	}
}

func TestACollectorIsTrustedByItsAuthorities(t *testing.T) {
	collector := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	collector.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	collector.StartTLS()
	defer collector.Close()
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Certificate().Raw})
	trusting := func(authorities []byte) *telemetry.Tracer {
		return newTestTracer(t, collector.URL, func(o *telemetry.TracerOptions) { o.Authorities = authorities })
	}
	distrusting := trusting(nil)
	distrusting.StopWithin(time.Second / 2) // it would be tried again
	for name, c := range map[string]struct {
		tracer   *telemetry.Tracer
		exported uint64
	}{"with the file": {trusting(own), 1}, "without it": {distrusting, 0}} {
		t.Run(name, func(t *testing.T) {
			told(c.tracer, func() { c.tracer.Done(tracedCall(), "") })
			if s := c.tracer.Stats(); s.Exported != c.exported || s.Exported+s.Dropped != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
	_, err := telemetry.NewTracer(telemetry.TracerOptions{Endpoint: new(url.URL), Authorities: []byte("none"),
		Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Error("a file without a certificate is taken")
	}
}

func TestATryThatFailedHasASpan(t *testing.T) {
	collector := oteltest.Start(t)
	tracer := newTestTracer(t, collector.URL, plain)
	gone, cancel := context.WithCancel(context.Background())
	told(tracer, func() {
		upstream := telemetry.NewTries(roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection refused by 10.0.0.1")
		}), func() *telemetry.Tracer { return tracer })
		req := httptest.NewRequest("GET", "http://services.example.be/x", nil)
		_, _ = upstream.Send(context.Background(), tracedCall().Call, req)
		cancel()
		_, _ = upstream.Send(gone, tracedCall().Call, req)
	})
	spans := collector.Spans()
	for i, want := range []string{"transport", "cancelled"} {
		if got := oteltest.Attributes(spans[i])["error.type"]; got != want ||
			spans[i].Status.Code != otlp.Status_STATUS_CODE_ERROR {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func TestWithoutATracerATryCostsNothing(t *testing.T) {
	answer := &http.Response{}
	upstream := roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil })
	layer := telemetry.NewTries(upstream, func() *telemetry.Tracer { return nil })
	req := httptest.NewRequest("GET", "http://x/", nil)
	ctx, c := t.Context(), call.New()
	if n := testing.AllocsPerRun(100, func() { _, _ = layer.Send(ctx, c, req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHeadersOfTheCollector(t *testing.T) {
	got, err := telemetry.ParseHeaders([]byte("# of the tenant\nAuthorization: Bearer a:b\r\n\nx-scope-orgid:ebox\n"))
	if err != nil || len(got) != 2 || got["Authorization"] != "Bearer a:b" || got["X-Scope-Orgid"] != "ebox" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"hunter2", ": hunter2", "a b: hunter2", "x: hunter2\x01"} {
		_, err := telemetry.ParseHeaders([]byte("ok: 1\n" + bad))
		if err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
