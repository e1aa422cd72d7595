package bench_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/metric"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/testkit"
)

// BenchmarkTelemetry measures what it costs to tell of a request, apart from the
// request: time and allocations for one record. CPU time is the whole process's, the
// collector's included where there is one.
func BenchmarkTelemetry(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	testkit.Must(b, err)
	defer null.Close()
	access := telemetry.NewAccessLog(telemetry.Locked(null), "json", slog.LevelInfo)
	metrics, err := telemetry.NewMetrics(func(string) bool { return true },
		metric.Read(cache.Metrics, func() *cache.Stats { return new(cache.Stats) }))
	testkit.Must(b, err)
	metrics.UseRoutes([]string{"ebox-providers"})
	for _, c := range []struct {
		name string
		tell func(*call.Record)
	}{
		{"access-line", access.Done},
		{"metrics", metrics.Done},
		{"traces-of-one-in-ten", traced(b, 0.1)},
		{"traces-of-all", traced(b, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := finished()
			b.ReportAllocs()
			before, _ := used()
			for i := 0; b.Loop(); i++ {
				// Not always the same bucket, and not always the same trace.
				r.Phases.Total = time.Duration(i%5000+1) * time.Microsecond
				r.ID = identities[i%len(identities)]
				c.tell(r)
			}
			after, _ := used()
			b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
	b.Run("scrape", func(b *testing.B) {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		before, _ := used()
		for b.Loop() {
			metrics.ServeHTTP(httptest.NewRecorder(), r)
		}
		after, _ := used()
		b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	})
}

// identities are ids of requests.
var identities = func() (list [1000]string) {
	for i := range list {
		list[i] = call.NewID()
	}
	return list
}()

// traced sends the spans of a request and of its try to a collector that takes everything.
func traced(b *testing.B, ratio float64) func(*call.Record) {
	b.Helper()
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(collector.Close)
	endpoint, err := url.Parse(collector.URL)
	testkit.Must(b, err)
	tracer, err := telemetry.NewTracer(telemetry.TracerOptions{Endpoint: endpoint, SampleRatio: ratio,
		ServiceName: "bench", Log: slog.New(slog.DiscardHandler)})
	testkit.Must(b, err)
	testkit.Running(b, tracer.Run)
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	try := telemetry.NewTries(call.SenderFunc(func(context.Context, *call.Call, *http.Request) (*http.Response, error) {
		return answer, nil
	}), func() *telemetry.Tracer { return tracer })
	sent := httptest.NewRequest(http.MethodGet, "https://services.socialsecurity.be/REST/ebox/messages", nil)
	return func(r *call.Record) {
		if _, err := try.Send(context.Background(), r.Call, sent); err != nil {
			b.Fatal(err)
		}
		tracer.Done(r, "/ebox/providers/{providerId}")
	}
}

// finished is the record of a usual call.
func finished() *call.Record {
	c := &call.Call{
		ID: identities[0], Start: time.Now(), Source: netip.MustParseAddr("10.1.2.3"), Caller: "hr", Listener: "main",
		Method: "GET", Path: "/enterprises/0206731645/ebox/providers/nsso/ebox/messages", Protocol: "HTTP/1.1",
		Route: "ebox-providers", Provider: "nsso",
		Action: ebox.List, Enterprise: 206731645, Upstream: "provider nsso", UpstreamHost: "services.socialsecurity.be",
		Client: "payroll",
	}
	c.Record = &call.Record{
		Call: c, TokenHash: strings.Repeat("ab", 32), Status: 200, UpstreamStatus: 200, Tries: 1,
		TraceID: identities[1], BytesOut: 2048,
		Phases: call.Phases{Token: 200, Header: 700 * time.Microsecond, Body: 300 * time.Microsecond,
			Total: 1500 * time.Microsecond},
	}
	return c.Record
}
