package telemetry

import (
	"context"
	"log/slog"
	"time"

	"ebox-gateway/internal/exchange"
)

// AccessLog writes one line for every request.
type AccessLog struct{ log *slog.Logger }

// NewAccessLog writes to log at level Info, and what the gateway is at fault for at
// level Error.
func NewAccessLog(log *slog.Logger) *AccessLog { return &AccessLog{log: log} }

// Done writes the line of a finished request. It does not keep the record.
func (a *AccessLog) Done(r *exchange.Record) {
	level := slog.LevelInfo
	if r.Status >= 500 && r.ProblemType != "" {
		level = slog.LevelWarn
	}
	if r.ProxyError == "proxy_internal_error" || r.Status == 0 && r.Cause != nil {
		level = slog.LevelError
	}
	ctx := context.Background()
	if !a.log.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(r.Start.Add(r.Phases.Total), level, "request", 0)
	line.AddAttrs(attributes(r)...)
	_ = a.log.Handler().Handle(ctx, line) // a log that cannot be written stops no traffic
}

// attributes leaves out what is empty, which keeps the common line short.
func attributes(r *exchange.Record) []slog.Attr {
	list := make([]slog.Attr, 0, 32)
	text := func(name, value string) {
		if value != "" {
			list = append(list, slog.String(name, value))
		}
	}
	count := func(name string, value int64) {
		if value != 0 {
			list = append(list, slog.Int64(name, value))
		}
	}
	took := func(name string, d time.Duration) {
		if d != 0 {
			list = append(list, slog.Float64(name, milliseconds(d)))
		}
	}
	text("requestId", r.ID)
	text("caller", r.Caller)
	if r.Source.IsValid() {
		list = append(list, slog.String("source", r.Source.String()))
	}
	text("listener", r.Listener)
	text("actor", mask(r.Actor))
	text("method", r.Method)
	text("path", mask(r.Path))
	text("protocol", r.Protocol)
	text("route", r.Route)
	text("provider", r.Provider)
	text("action", r.Action.String())
	if r.Own {
		text("enterprise", "own")
	} else {
		text("enterprise", r.Enterprise.String())
	}
	text("client", r.Client)
	text("tokenHash", r.TokenHash)
	text("upstream", r.Upstream)
	text("upstreamHost", r.UpstreamHost)
	count("upstreamStatus", int64(r.UpstreamStatus))
	count("tries", int64(r.Tries))
	text("traceId", r.TraceID)
	text("answerTraceId", r.AnswerTraceID)
	text("cache", r.Cache)
	count("status", int64(r.Status))
	text("problem", r.ProblemType)
	text("proxyError", r.ProxyError)
	if r.Cause != nil {
		list = append(list, slog.String("cause", r.Cause.Error()))
	}
	if r.Cut {
		list = append(list, slog.Bool("cut", true))
	}
	count("bytesIn", r.BytesIn)
	count("bytesOut", r.BytesOut)
	took("limitsMs", r.Phases.Limits)
	took("tokenMs", r.Phases.Token)
	took("headerMs", r.Phases.Header)
	took("bodyMs", r.Phases.Body)
	took("totalMs", r.Phases.Total)
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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
