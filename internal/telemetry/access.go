package telemetry

import (
	"io"
	"log/slog"
	"sync"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
)

// AccessLog writes one line for every request. It is safe for concurrent use.
//
// The line is what slog's handlers would write. It is put together here because
// there is one for each request, of thirty fields, and slog's way of values that
// can be anything costs three times as much.
type AccessLog struct {
	json  bool
	level slog.Leveler
	lines sync.Pool // of *line
	w     io.Writer
}

// NewAccessLog writes to w, which must be Locked or take concurrent writes, in format "json" or "text", lines of at least level:
// a request is Info, an error that the gateway is the author of Warn, and one that
// it is at fault for Error.
func NewAccessLog(w io.Writer, format string, level slog.Leveler) *AccessLog {
	return &AccessLog{json: format == "json", level: level, w: w, lines: sync.Pool{New: func() any { return new(line) }}}
}

// Done writes the line of a finished request. It does not keep the record.
func (a *AccessLog) Done(r *exchange.Record) {
	level := slog.LevelInfo
	if r.Cut || r.Status >= 500 && r.ProblemType != "" {
		level = slog.LevelWarn
	}
	if r.ProxyError == problem.ProxyInternalError || r.Status == 0 && r.Cause != nil {
		level = slog.LevelError
	}
	if level < a.level.Level() {
		return
	}
	l := a.lines.Get().(*line)
	l.begin(a.json, r.Start.Add(r.Phases.Total), level)
	l.record(r)
	l.end()
	_, _ = a.w.Write(l.b) // a log that cannot be written stops no traffic
	a.lines.Put(l)
}

// record leaves out what is empty, which keeps the common line short.
func (l *line) record(r *exchange.Record) {
	l.text("requestId", r.ID)
	l.text("caller", r.Caller)
	if r.Source.IsValid() {
		l.addr("source", r.Source)
	}
	l.text("listener", r.Listener)
	l.text("actor", mask(r.Actor))
	l.text("method", r.Method)
	l.text("path", mask(r.Path))
	l.text("protocol", r.Protocol)
	l.text("route", r.Route)
	l.text("provider", r.Provider)
	l.text("action", r.Action.String())
	if r.Own {
		l.text("enterprise", "own")
	} else {
		l.text("enterprise", r.Enterprise.String())
	}
	if r.Enterprise == 0 && !r.Own {
		l.text("claimed", mask(r.Claimed)) // what was asked for and not granted
	}
	l.text("client", r.Client)
	l.text("tokenHash", r.TokenHash)
	l.text("upstream", r.Upstream)
	l.text("upstreamHost", r.UpstreamHost)
	l.count("upstreamStatus", int64(r.UpstreamStatus))
	l.count("tries", int64(r.Tries))
	l.text("traceId", r.TraceID)
	l.text("answerTraceId", r.AnswerTraceID)
	l.text("cache", r.Cache)
	l.count("status", int64(r.Status))
	l.text("problem", r.ProblemType)
	l.text("proxyError", r.ProxyError)
	l.text("detail", r.Detail)
	if r.Cause != nil {
		l.text("cause", r.Cause.Error())
	}
	if r.Cut {
		l.truth("cut")
	}
	l.count("bytesIn", r.BytesIn)
	l.count("bytesOut", r.BytesOut)
	l.took("limitsMs", r.Phases.Limits)
	l.took("tokenMs", r.Phases.Token)
	l.took("headerMs", r.Phases.Header)
	l.took("bodyMs", r.Phases.Body)
	l.took("totalMs", r.Phases.Total)
}

// Mask is mask, for whatever else shows a path.
func Mask(s string) string { return mask(s) }

// mask hides the numbers of citizens (SSIN, eleven digits in a row, also with the
// separators in which they are written) in a path. CBE numbers, which have ten,
// stay: the line is about them.
func mask(s string) string {
	for i := 0; i < len(s); {
		if s[i] < '0' || s[i] > '9' {
			i++
			continue
		}
		end, digits := i, 0
		for end < len(s) && (isDigit(s[end]) || digits > 0 && isWrittenIn(s[end]) && end+1 < len(s) && isDigit(s[end+1])) {
			if isDigit(s[end]) {
				digits++
			}
			end++
		}
		if digits == 11 {
			masked := []byte(s)
			for j := i; j < end; j++ {
				if isDigit(masked[j]) {
					masked[j] = '*'
				}
			}
			s = string(masked)
		}
		i = end
	}
	return s
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWrittenIn(c byte) bool { return c == '.' || c == '-' }
