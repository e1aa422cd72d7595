// Inside the package, since a collector that never answers is waited for by the clock of synctest, which no real socket
// goes by.

package telemetry

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// frozenExporter is a collector that never answers.
type frozenExporter struct{ sdktrace.SpanExporter }

func (frozenExporter) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	<-ctx.Done()
	return ctx.Err()
}

func (frozenExporter) Shutdown(context.Context) error { return nil }

// Waited for, each of the eight batches would take ten seconds.
func TestAStopWaitsForAFrozenCollectorOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(frozenExporter{}, slog.New(slog.DiscardHandler))
		sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
			TraceFlags: trace.FlagsSampled})
		for range queueSize {
			q.OnEnd(tracetest.SpanStub{SpanContext: sampled}.Snapshot())
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		began := time.Now()
		q.run(stopped)
		if took := time.Since(began); took != q.flush || q.dropped.Load() != queueSize {
			t.Errorf("it took %s, and %d spans were dropped", took, q.dropped.Load())
		}
	})
}
