package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/metric"
)

// trouble is since when something fails, and why; zero if it does not.
type trouble struct {
	since time.Time
	cause string
}

func (t trouble) is() bool { return !t.since.IsZero() }

// Refused says that no request may be served, since evidence has not been written, or has
// been missing, for longer than Options.StopAfter allows.
func (l *Log) Refused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused()
}

func (l *Log) refused() bool {
	return slices.ContainsFunc([]trouble{l.failing, l.missing}, func(t trouble) bool {
		return t.is() && l.stopAfter != config.StopNever && l.o.Now().Sub(t.since) >= time.Duration(l.stopAfter)
	})
}

// Full says that so many records wait that no request may begin that would leave
// another one (MayRecord): what is left of the queue is for those under way. It says
// nothing where Options.StopAfter is never.
func (l *Log) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full()
}

func (l *Log) full() bool { return l.stopAfter != config.StopNever && len(l.pending) >= l.o.Queue/2 }

func (l *Log) errHangs() error { return fmt.Errorf("the disk has not answered for %s", l.o.patience) }

// inTrouble notes that records cannot be written.
func (l *Log) inTrouble(err error) {
	l.mu.Lock()
	begins := !l.failing.is()
	if begins {
		l.failing = trouble{l.o.Now(), err.Error()}
	}
	l.mu.Unlock()
	if begins {
		l.o.Log.Error("the evidence cannot be written; records wait in memory", "directory", l.dir, "cause", err.Error())
	}
}

// isMissing notes that evidence was removed or replaced. That does not pass by itself:
// somebody has to look, and to start the gateway anew.
func (l *Log) isMissing(cause string) {
	l.mu.Lock()
	if !l.missing.is() {
		l.missing = trouble{l.o.Now(), cause}
	}
	l.mu.Unlock()
	l.o.Log.Error("evidence is missing; put it back from a copy, find out who took it, and restart the gateway",
		"directory", l.dir, "cause", cause)
}

// Status is how the evidence stands. It is fit for JSON.
type Status struct {
	Directory string `json:"directory"`
	Replica   string `json:"replica"`
	// Key is the SHA-256 of the public key that verifies.
	Key string `json:"key"`
	// Sequence is the number of the last record on disk, Signed of the last signed one.
	Sequence uint64 `json:"sequence"`
	Signed   uint64 `json:"signed"`
	// Written counts calls and events recorded since the start, Lost those that were
	// not taken because too many waited, Waiting those that are in memory.
	Written uint64 `json:"written"`
	Lost    uint64 `json:"lost"`
	Waiting int    `json:"waiting"`
	// RefusedWrites counts the writes that were not sent since their intent could not be
	// recorded, LastGap is when the chain last said that something may be missing in it.
	RefusedWrites uint64    `json:"refusedWrites,omitempty"`
	LastGap       time.Time `json:"lastGap,omitzero"`
	// Failing says why records cannot be written, Missing what was removed or replaced,
	// Since from when on, and Refusing whether requests are refused for it, or since more
	// records wait than may (Full).
	Failing  string    `json:"failing,omitempty"`
	Missing  string    `json:"missing,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Refusing bool      `json:"refusing,omitempty"`
	Full     bool      `json:"full,omitempty"`
	// Shipping says why checkpoints cannot be handed out, Stamping why they have no time stamps.
	Shipping string `json:"shipping,omitempty"`
	Stamping string `json:"stamping,omitempty"`
}

// note changes what Status alone holds.
func (l *Log) note(change func(*Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
}

// Status gives the state of the evidence.
func (l *Log) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Waiting, s.Shipping = len(l.pending), cmp.Or(l.shipping[:]...)
	s.Failing, s.Missing, s.Since = l.failing.cause, l.missing.cause, cmp.Or(l.failing, l.missing).since
	s.Full = l.full()
	s.Refusing = s.Full || l.refused()
	return s
}

// Metrics are what Prometheus reads of the evidence. There are none where none is kept.
var Metrics = metric.Table[Status]{
	metric.Gauge("evidence_queued", "Evidence records that are not on disk yet.",
		func(s *Status) int { return s.Waiting }),
	metric.Counter("evidence_records_total", "Evidence records on disk.",
		func(s *Status) uint64 { return s.Written }),
	metric.Counter("evidence_lost_total", "Evidence records that were not taken because too many waited.",
		func(s *Status) uint64 { return s.Lost }),
	metric.Truth("evidence_failing", "1 while evidence cannot be written.",
		func(s *Status) bool { return s.Failing != "" }),
	metric.Truth("evidence_refusing",
		"1 while requests are refused because evidence cannot be written, or waits in too great a number.",
		func(s *Status) bool { return s.Refusing }),
	metric.Truth("evidence_missing",
		"1 since evidence was found removed, replaced or cut, until the gateway is restarted.",
		func(s *Status) bool { return s.Missing != "" }),
	metric.Time("evidence_gap_timestamp_seconds",
		"When the evidence last said that something may be missing in it. Absent if it has not since the start.",
		func(s *Status) time.Time { return s.LastGap }),
	metric.Counter("evidence_refused_writes_total",
		"Writes that were not sent since their intent could not be recorded.",
		func(s *Status) uint64 { return s.RefusedWrites }),
	metric.Truth("evidence_unstamped", "1 while the time-stamping authority gives no time stamps of checkpoints.",
		func(s *Status) bool { return s.Stamping != "" }),
}
