package evidence

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/logfile"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/telemetry"
)

const (
	// refusalsEach are recorded a minute of one source, refusalsAll of all together; the others are
	// counted.
	refusalsEach, refusalsAll = 20, 1200
	// maxSources bounds how many sources are told apart in a minute; those beyond share.
	maxSources = 4096
	// securitySize is where the file of refusals is rotated, in bytes, securityFiles how many
	// older ones are kept.
	securitySize  = 64e6
	securityFiles = 5
	// maxDetail bounds the sentence of a problem in a line, in bytes.
	maxDetail = 512
)

// refusals records who asked for what, for whom, and was refused: in the chain of evidence,
// and a line each in a log of its own. Who is refused often gets no more than his share of
// either. Its zero value records nothing; it is safe for concurrent use.
type refusals struct {
	mu    sync.Mutex
	log   *slog.Logger  // nil if there is no log of its own
	file  *logfile.File // nil if it is a stream
	chain *audit.Log    // nil if no evidence is kept
	// sources are those of the last minute, until timer ends it; recorded is how many refusals of
	// theirs were recorded. All are nil and 0 while nobody is refused.
	sources  map[netip.Addr]*refused
	recorded int
	timer    *time.Timer
}

// refused counts the refusals of one source in a minute.
type refused struct{ recorded, leftOut int }

// use sets where refusals go from now on. chain may be nil.
func (r *refusals) use(to string, chain *audit.Log) error {
	w, file, err := openOutput(to, securitySize, securityFiles)
	if err != nil {
		return err
	}
	var log *slog.Logger
	if w != nil {
		log = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutEmpty})).With("log", "security")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.file
	r.log, r.file, r.chain = log, file, chain
	return old.Close()
}

// done records a finished call, if the gateway refused it. It does not wait.
func (r *refusals) done(c *call.Record) {
	if !isRefused(c) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log == nil && r.chain == nil {
		return
	}
	s := r.source(c.Source)
	if s.recorded == refusalsEach || r.recorded == refusalsAll {
		s.leftOut++
		return
	}
	s.recorded++
	r.recorded++
	r.write("refused", c.Start.Add(c.Phases.Total), c, 0)
}

// isRefused reports whether the gateway itself refused a call.
func isRefused(c *call.Record) bool {
	return c.ProblemType != "" && c.Status >= http.StatusBadRequest && c.Status < http.StatusInternalServerError
}

// source is where the refusals of an address are counted. Of IPv6 a /64 is one: whoever has
// an address there has them all.
func (r *refusals) source(a netip.Addr) *refused {
	if a = a.Unmap(); a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	if r.sources == nil {
		r.sources, r.timer = make(map[netip.Addr]*refused), time.AfterFunc(time.Minute, r.endMinute)
	}
	s, ok := r.sources[a]
	if !ok && len(r.sources) >= maxSources {
		a = netip.Addr{}
		s, ok = r.sources[a]
	}
	if !ok {
		s = new(refused)
		r.sources[a] = s
	}
	return s
}

// endMinute writes how many of each source were left out, and begins to count anew.
func (r *refusals) endMinute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a, s := range r.sources {
		if s.leftOut > 0 {
			r.write("more were refused", time.Now(), &call.Record{Call: &call.Call{Source: a}}, s.leftOut)
		}
	}
	r.sources, r.recorded = nil, 0
}

// write records a call that was refused, and the number of leftOut others of its source.
func (r *refusals) write(message string, at time.Time, c *call.Record, leftOut int) {
	if r.chain != nil {
		r.chain.Refusal(at, c, leftOut)
	}
	if r.log == nil {
		return
	}
	source := ""
	if c.Source.IsValid() {
		source = c.Source.String()
	}
	r.log.LogAttrs(context.Background(), slog.LevelWarn, message,
		slog.String("requestId", c.ID), slog.String("parentId", c.Parent), slog.String("source", source),
		slog.String("listener", c.Listener), slog.String("caller", c.Caller), slog.String("actor", telemetry.Mask(c.Actor)),
		slog.String("purpose", telemetry.Mask(c.Purpose)), slog.String("claimed", telemetry.Mask(c.Claimed)),
		slog.String("route", c.Route), slog.String("method", printable.Text(c.Method, printable.MaxAsserted)),
		slog.String("path", printable.Text(telemetry.Mask(c.Path), audit.MaxURL)), slog.Int("status", c.Status),
		slog.String("problem", c.ProblemType), slog.String("detail", printable.Text(c.Detail, maxDetail)),
		slog.Int("leftOut", leftOut))
}

// withoutEmpty leaves out of a line what is not known. It is a slog.HandlerOptions.ReplaceAttr.
func withoutEmpty(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Equal(slog.StringValue("")) || a.Value.Equal(slog.IntValue(0)) {
		return slog.Attr{}
	}
	return a
}

// reopen opens the file anew, after it was moved away.
func (r *refusals) reopen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Reopen()
}

// close counts what was left out, and closes the file. It comes before the chain is closed.
func (r *refusals) close() error {
	r.endMinute()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	err := r.file.Close()
	r.log, r.file, r.chain = nil, nil, nil
	return err
}
