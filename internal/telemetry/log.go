// Package telemetry turns what happened into what the platform team reads: the
// program's log and one access line for every request.
//
// Both are log/slog, as JSON lines or as text. What is personal stays out: an
// access line has the path of a request with the numbers of citizens masked, and
// never its query; nothing here ever sees a token, a key or a body.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// NewLogger makes the program's logger. format is "json" or "text".
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
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
