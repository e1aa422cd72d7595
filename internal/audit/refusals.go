package audit

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/logfile"
	"ebox-gateway/internal/printable"
)

const (
	// refusalBurst refusals of one source are recorded at once, then one each
	// refusalPause; the others are counted.
	refusalBurst = 20
	refusalPause = 6 * time.Second
	// Of all sources together, allPerSecond are recorded, and allBurst at once.
	allPerSecond, allBurst = 20, 500
	// maxSources bounds how many sources are told apart at a time; those beyond share.
	maxSources = 4096
	// leftOutAfter is how long those that were left out wait to be counted in a line.
	leftOutAfter = time.Minute
	// securitySize is where the file of refusals is rotated, in bytes, securityFiles how many
	// older ones are kept.
	securitySize  = 64e6
	securityFiles = 5
	// maxDetail bounds the sentence of a problem in a line, in bytes.
	maxDetail = 512
)

// Refusals records who asked for what, for whom, and was refused: in the chain of evidence,
// and a line each in a log of its own. Who is refused often gets no more than his share of
// either. Its zero value records nothing; it is safe for concurrent use.
type Refusals struct {
	mu      sync.Mutex
	log     *slog.Logger  // nil if there is no log of its own
	file    *logfile.File // nil if it is a stream
	chain   *Log          // nil if no evidence is kept
	mask    func(string) string
	all     *rate.Limiter
	sources map[netip.Addr]*refusedSource
	timer   *time.Timer // set while there are sources
}

type refusedSource struct {
	limit   *rate.Limiter
	leftOut int
	last    time.Time
}

// Use sets where refusals go from now on: "stdout" and "stderr" are the streams that are
// given, anything else is a file, empty none. chain may be nil.
func (r *Refusals) Use(to string, streams map[string]io.Writer, chain *Log, mask func(string) string) error {
	var file *logfile.File
	w, ok := streams[to]
	if !ok && to != "" {
		var err error
		if file, err = logfile.Open(to, securitySize, securityFiles); err != nil {
			return err
		}
		w = file
	}
	var log *slog.Logger
	if w != nil {
		log = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutEmpty})).With("log", "security")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.file
	r.log, r.file, r.chain, r.mask = log, file, chain, mask
	return old.Close()
}

// Done records a finished call, if the gateway refused it. It does not wait.
func (r *Refusals) Done(c *call.Record) {
	if !refused(c) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log == nil && r.chain == nil {
		return
	}
	at := c.Start.Add(c.Phases.Total)
	s := r.source(c.Source)
	if s.last = at; !s.limit.AllowN(at, 1) || !r.all.AllowN(at, 1) {
		s.leftOut++
		return
	}
	r.write("refused", at, c, s.leftOut)
	s.leftOut = 0
}

// source is where the refusals of an address are counted. Of IPv6 a /64 is one: whoever has
// an address there has them all.
func (r *Refusals) source(a netip.Addr) *refusedSource {
	if a = a.Unmap(); a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	if r.sources == nil {
		r.sources, r.all = make(map[netip.Addr]*refusedSource), rate.NewLimiter(allPerSecond, allBurst)
	}
	s, ok := r.sources[a]
	if !ok && len(r.sources) >= maxSources {
		a = netip.Addr{}
		s, ok = r.sources[a]
	}
	if !ok {
		s = &refusedSource{limit: rate.NewLimiter(rate.Every(refusalPause), refusalBurst)}
		r.sources[a] = s
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(leftOutAfter, r.countLeftOut)
	}
	return s
}

// countLeftOut writes how many of each source were left out, and forgets those whose limit is
// full again, which says no more than a new one.
func (r *Refusals) countLeftOut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = nil
	now := time.Now()
	for a, s := range r.sources {
		switch {
		case s.leftOut > 0:
			r.write("more were refused", now, &call.Record{Call: &call.Call{Source: a}}, s.leftOut)
			s.leftOut = 0
		case now.Sub(s.last) > refusalBurst*refusalPause:
			delete(r.sources, a)
		}
	}
	if len(r.sources) > 0 {
		r.timer = time.AfterFunc(leftOutAfter, r.countLeftOut)
	}
}

// write tells of a call that was refused, and of leftOut others of its source.
func (r *Refusals) write(message string, at time.Time, c *call.Record, leftOut int) {
	if r.chain != nil {
		record := recordOf(KindRefusal, c, r.mask)
		record.LeftOut = leftOut
		r.chain.refusal(at, record)
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
		slog.String("listener", c.Listener), slog.String("caller", c.Caller), slog.String("actor", r.mask(c.Actor)),
		slog.String("purpose", r.mask(c.Purpose)), slog.String("claimed", r.mask(c.Claimed)),
		slog.String("route", c.Route), slog.String("method", printable.Text(c.Method, printable.MaxAsserted)),
		slog.String("path", printable.Text(r.mask(c.Path), maxURL)), slog.Int("status", c.Status),
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

// Reopen opens the file anew, after it was moved away.
func (r *Refusals) Reopen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Reopen()
}

// Close counts what was left out, and closes the file. It comes before the chain is closed.
func (r *Refusals) Close() error {
	r.countLeftOut()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	err := r.file.Close()
	r.log, r.file, r.chain, r.sources, r.timer = nil, nil, nil, nil, nil
	return err
}
