package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"ebox-gateway/internal/call"
)

// RefusalLog is a log of its own for what was refused: who asked for what, for whom,
// and was not let. A nil *RefusalLog keeps nothing. It is safe for concurrent use.
type RefusalLog struct {
	log  *slog.Logger
	file *limitedFile // nil if it is a stream
}

// OpenRefusalLog opens the log of refusals: "stdout", "stderr", or a file, which is
// begun anew at 64 MB with the one before it kept as FILE.1. Empty is none.
func OpenRefusalLog(to string) (*RefusalLog, error) {
	var w io.Writer
	var file *limitedFile
	switch to {
	case "":
		return nil, nil
	case "stdout":
		w = Locked(os.Stdout)
	case "stderr":
		w = Locked(os.Stderr)
	default:
		const size = 64e6
		var err error
		if file, err = openLimited(to, size); err != nil {
			return nil, err
		}
		w = file
	}
	return &RefusalLog{log: slog.New(slog.NewJSONHandler(w, nil)).With("log", "security"), file: file}, nil
}

// Done writes a line about a finished request that the gateway refused. It does not
// keep the record.
func (l *RefusalLog) Done(r *call.Record) {
	if l == nil || r.ProblemType == "" || r.Status < http.StatusBadRequest || r.Status >= http.StatusInternalServerError {
		return
	}
	source := ""
	if r.Source.IsValid() {
		source = r.Source.String()
	}
	attrs := make([]slog.Attr, 0, 12)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("requestId", r.ID)
	add("parentId", r.Parent)
	add("source", source)
	add("listener", r.Listener)
	add("caller", r.Caller)
	add("actor", Mask(r.Actor))
	add("claimed", Mask(r.Claimed))
	add("route", r.Route)
	add("method", r.Method)
	add("path", Mask(r.Path))
	attrs = append(attrs, slog.Int("status", r.Status))
	add("problem", r.ProblemType)
	add("detail", r.Detail)
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "refused", attrs...)
}

// Close closes a file.
func (l *RefusalLog) Close() error {
	if l == nil || l.file == nil {
		return nil
	}
	return l.file.Close()
}

// limitedFile is a file that is begun anew when it has grown.
type limitedFile struct {
	mu     sync.Mutex
	path   string
	file   *os.File // nil after a failure, until the next line
	closed bool
	size   int64
	most   int64
}

func openLimited(path string, most int64) (*limitedFile, error) {
	l := &limitedFile{path: path, most: most}
	return l, l.open()
}

func (l *limitedFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends a line. What cannot be written is lost: a log stops no traffic.
func (l *limitedFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // a request ends that began before another file was configured
		return 0, os.ErrClosed
	}
	if l.file != nil && l.size+int64(len(p)) > l.most {
		if err := errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1")); err != nil {
			l.file = nil
			return 0, fmt.Errorf("beginning %s anew: %w", l.path, err)
		}
		l.file = nil
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// Close closes the file for good.
func (l *limitedFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
