package telemetry

import (
	"context"
	"log/slog"
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

// queue holds the spans that are on their way to the collector, and gives up what
// does not fit. It is a sdktrace.SpanProcessor whose OnEnd never waits.
type queue struct {
	spans    chan sdktrace.ReadOnlySpan
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	failing  bool // of run alone

	closed            atomic.Bool
	exported, dropped atomic.Uint64
}

func newQueue(e sdktrace.SpanExporter, log *slog.Logger) *queue {
	return &queue{spans: make(chan sdktrace.ReadOnlySpan, queueSize), exporter: e, log: log}
}

// OnStart implements sdktrace.SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.closed.Load() {
		q.dropped.Add(1)
		return
	}
	select {
	case q.spans <- s:
	default:
		q.dropped.Add(1)
	}
}

// Shutdown implements sdktrace.SpanProcessor. run ends by its own context.
func (q *queue) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (q *queue) ForceFlush(context.Context) error { return nil }

// run sends batches until ctx is done, and then what is left, for at most flushTime.
func (q *queue) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// What is being sent when the stop comes has as long as what is left.
	late := make(chan *time.Timer, 1)
	stop := context.AfterFunc(ctx, func() { late <- time.AfterFunc(flushTime, cancel) })
	defer func() {
		if !stop() {
			(<-late).Stop()
		}
	}()

	batch := make([]sdktrace.ReadOnlySpan, 0, batchSize)
	tick := time.NewTicker(batchTime)
	defer tick.Stop()
	for running := true; running; {
		full := false
		select {
		case s := <-q.spans:
			batch = append(batch, s)
			full = len(batch) == batchSize
		case <-tick.C:
			full = len(batch) > 0
		case <-ctx.Done():
			running = false
		}
		if full {
			q.send(work, batch)
			batch = batch[:0]
		}
	}
	q.closed.Store(true)
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) < batchSize {
				continue
			}
		default:
		}
		if len(batch) == 0 {
			break
		}
		q.send(work, batch)
		batch = batch[:0]
	}
	_ = q.exporter.Shutdown(work) // it only forgets its connections
}

// send gives a batch to the collector or gives it up.
func (q *queue) send(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	if ctx.Err() != nil { // the time of the stop is over: not even the batch is put together
		q.dropped.Add(uint64(len(batch)))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, batch)
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
		return
	}
	q.exported.Add(uint64(len(batch)))
}
