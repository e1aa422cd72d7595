package telemetry

import "time"

// StopWithin changes how long a stop waits for the collector at most: a busy machine may take more than two seconds
// with one that is there.
func (t *Tracer) StopWithin(d time.Duration) { t.queue.flush = d }
