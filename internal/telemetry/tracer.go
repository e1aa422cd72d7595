package telemetry

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http/httpguts"

	"ebox-gateway/internal/files"
	"ebox-gateway/internal/metric"
)

// TracerOptions are what a Tracer is made of. Endpoint, ServiceName and Log are
// required.
type TracerOptions struct {
	// Endpoint is the collector's URL; without a path, spans go to /v1/traces.
	Endpoint *url.URL
	// Headers are sent with every batch. They may hold a secret.
	Headers map[string]string
	// Authorities are, in PEM, trusted besides the system's.
	Authorities []byte
	// SampleRatio is the part of the requests, 0 to 1, that is traced when the caller
	// did not decide.
	SampleRatio float64
	// ServiceName, Version, Environment and Instance describe the process.
	ServiceName, Version, Environment, Instance string
	Log                                         *slog.Logger
}

// Tracer sends spans of requests, and of the tries that they made, to an OpenTelemetry
// collector over OTLP/HTTP. Run sends; without it, and while the collector is slow or
// gone, spans are given up and counted. Nothing here ever waits for the collector.
//
// A span is made when what it is about is over, from the record: requests carry
// nothing about traces with them, and ids need not be kept anywhere, because they
// are parts of ids that there are already. The id of a request's span is the second
// half of its X-Request-Id, that of a try's the second half of its BelGov-Trace-Id;
// a trace that the caller did not begin has the X-Request-Id's sixteen bytes. Who has
// an answer can thus find its trace.
type Tracer struct {
	log      *slog.Logger
	queue    *queue
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	idle     func()
	refuse   uint64 // what of 2^56 the random part of a trace id must reach
}

const (
	// sendTime bounds one batch, with its repetitions.
	sendTime = 10 * time.Second
	// dialTime bounds the making of a connection.
	dialTime = 3 * time.Second
)

// NewTracer makes a Tracer. Nothing is called.
func NewTracer(o TracerOptions) (*Tracer, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSHandshakeTimeout: dialTime, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 1,
		ForceAttemptHTTP2: true,
	}
	if o.Authorities != nil {
		pool, err := files.Trusted(o.Authorities)
		if err != nil {
			return nil, fmt.Errorf("reading tracing.caFile: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	endpoint := *o.Endpoint
	if endpoint.Path == "" {
		endpoint.Path = "/v1/traces"
	}
	exporter := otlptrace.NewUnstarted(&collector{
		url: endpoint.String(), headers: o.Headers,
		client: &http.Client{Transport: transport, CheckRedirect: noRedirect},
	})
	t := &Tracer{log: o.Log, queue: newQueue(exporter, o.Log), idle: transport.CloseIdleConnections}
	t.refuse = 1<<56 - uint64(o.SampleRatio*(1<<56))
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // what is not sampled never comes as far as a span
		sdktrace.WithIDGenerator(derived{}),
		sdktrace.WithSpanProcessor(t.queue),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.ServiceName), attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Instance), attribute.String("deployment.environment.name", o.Environment),
		)),
	)
	t.tracer = t.provider.Tracer("ebox-gateway/internal/telemetry")
	return t, nil
}

// Run sends spans until ctx is done, and then what is waiting, for at most two
// seconds.
func (t *Tracer) Run(ctx context.Context) {
	t.queue.run(ctx)
	t.idle()
}

// TraceStats counts spans. Both only grow.
type TraceStats struct {
	// Exported are those that the collector took, Dropped those that were given up.
	Exported, Dropped uint64
}

// TraceMetrics are what Prometheus reads of a tracer. There are none without one.
var TraceMetrics = metric.Table[TraceStats]{
	metric.Counter("trace_spans_exported_total", "Spans that the collector took.",
		func(s *TraceStats) uint64 { return s.Exported }),
	metric.Counter("trace_spans_dropped_total",
		"Spans that were given up: the queue was full or the collector did not take them.",
		func(s *TraceStats) uint64 { return s.Dropped }),
}

// Stats counts the spans by what became of them.
func (t *Tracer) Stats() TraceStats {
	return TraceStats{Exported: t.queue.exported.Load(), Dropped: t.queue.dropped.Load()}
}

// ParseHeaders reads header lines, "Name: value". Empty lines and those that begin
// with # are skipped. Its errors name the line and hold nothing of it.
func ParseHeaders(content []byte) (map[string]string, error) {
	headers := make(map[string]string)
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("reading line %d: it is no header line, \"Name: value\" is expected", i+1)
		}
		headers[http.CanonicalHeaderKey(name)] = value
	}
	return headers, nil
}

// noRedirect keeps the headers of the collector from going elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
