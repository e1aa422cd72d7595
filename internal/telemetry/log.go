// Package telemetry turns what happened into what the platform team reads: the
// program's log, one access line for every request, metrics, and traces if asked for.
//
// Logs are those of log/slog, as JSON lines or as text. Metrics are counted from each
// finished record, or read from each part when they are asked for (package metric).
// Traces are sent to an OpenTelemetry collector over OTLP/HTTP, with the caller's W3C
// trace context continued and never passed on.
//
// What is personal stays out: an access line has the path of a request with the
// numbers of citizens masked, and never its query; metrics and traces have neither,
// nor enterprises; nothing here ever sees a token, a key or a body. Nothing here waits
// for anybody outside: what a collector does not take is given up.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// NewLogger makes the program's logger. format is "json" or "text". Times are UTC, as in
// the access log, the evidence and on the page, whatever zone the machine has.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindTime {
			a.Value = slog.TimeValue(a.Value.Time().UTC())
		}
		return a
	}}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	default:
		return nil, fmt.Errorf("making a logger: format %q is not known, use json or text", format)
	}
}

// Locked lets several logs write to w, line by line.
func Locked(w io.Writer) io.Writer { return &locked{w: w} }

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
