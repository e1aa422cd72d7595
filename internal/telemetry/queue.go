package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queueSize is how many spans wait at most: some megabytes.
	queueSize = 4096
	// batchSize is how many go at once, batchTime the longest that one waits for
	// others.
	batchSize = 512
	batchTime = 2 * time.Second
)

// queue counts the spans on their way through the SDK's batch processor, and gives up what
// does not fit. It is the sdktrace.SpanProcessor before that one and the
// sdktrace.SpanExporter behind it. OnEnd never waits.
type queue struct {
	sdktrace.SpanExporter
	log *slog.Logger
	// batches gives the SDK's processor, which the first span or run starts.
	batches func() sdktrace.SpanProcessor
	// flush is the most that a stop waits for the collector.
	flush  time.Duration
	closed atomic.Bool
	// end is done when the time of the stop is over.
	end     context.Context
	cut     context.CancelFunc
	failing bool // of ExportSpans alone, which the SDK calls from one goroutine

	waiting           atomic.Int64
	exported, dropped atomic.Uint64
}

func newQueue(e sdktrace.SpanExporter, log *slog.Logger) *queue {
	q := &queue{SpanExporter: e, log: log, flush: 2 * time.Second}
	q.end, q.cut = context.WithCancel(context.Background())
	// The SDK gives up silently what exceeds its queue: that is not reached, since spans
	// that are being sent count here as well.
	q.batches = sync.OnceValue(func() sdktrace.SpanProcessor {
		return sdktrace.NewBatchSpanProcessor(q, sdktrace.WithMaxQueueSize(queueSize),
			sdktrace.WithMaxExportBatchSize(batchSize), sdktrace.WithBatchTimeout(batchTime),
			sdktrace.WithExportTimeout(sendTime))
	})
	return q
}

// OnStart implements sdktrace.SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.closed.Load() {
		q.dropped.Add(1)
		return
	}
	if q.waiting.Add(1) > queueSize {
		q.waiting.Add(-1)
		q.dropped.Add(1)
		return
	}
	q.batches().OnEnd(s)
}

// ForceFlush implements sdktrace.SpanProcessor.
func (q *queue) ForceFlush(context.Context) error { return nil }

// run sends batches until ctx is done, and then what is left.
func (q *queue) run(ctx context.Context) {
	batches := q.batches()
	<-ctx.Done()
	q.closed.Store(true)
	stop := time.AfterFunc(q.flush, q.cut)
	defer stop.Stop()
	_ = batches.Shutdown(context.Background()) // what could not be sent is counted
	q.cut()
}

// ExportSpans implements sdktrace.SpanExporter: it gives a batch to the collector or gives
// it up.
func (q *queue) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	defer q.waiting.Add(-int64(len(batch)))
	if q.end.Err() != nil { // not even the batch is put together
		q.dropped.Add(uint64(len(batch)))
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.end, cancel)()
	err := q.SpanExporter.ExportSpans(ctx, batch)
	switch {
	case err == nil && q.failing:
		q.failing = false
		q.log.Info("the collector takes traces again")
	case err != nil && !q.failing:
		q.failing = true
		q.log.Warn("the collector does not take traces: they are given up until it does; requests are not affected",
			"cause", err.Error())
	}
	if err != nil {
		q.dropped.Add(uint64(len(batch)))
		return nil // it was said; the SDK would say it again on standard error
	}
	q.exported.Add(uint64(len(batch)))
	return nil
}
