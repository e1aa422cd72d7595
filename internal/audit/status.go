package audit

import (
	"cmp"
	"fmt"
	"time"
)

// trouble is a failure that lasts.
type trouble struct {
	since time.Time
	cause string
}

// tolerated is what becomes of a write whose intent is not on disk.
func (l *Log) tolerated() error {
	if l.stopAfter.Load() == 0 || l.Refused() {
		return ErrNotRecorded
	}
	return nil
}

// mayLose says that requests are served of which there may be no record.
func (l *Log) mayLose() bool { return time.Duration(l.stopAfter.Load()) == Never }

func (l *Log) refuses(t *trouble) bool {
	after := time.Duration(l.stopAfter.Load())
	return t != nil && after >= 0 && l.o.Now().Sub(t.since) >= after
}

// Refused says that no request may be served, since evidence has not been written, or has
// been missing, for longer than Options.StopAfter allows.
func (l *Log) Refused() bool {
	if began := l.busy.Load(); began != 0 && l.trouble.Load() == nil && l.o.Now().UnixNano()-began > int64(l.o.patience) {
		l.inTrouble(l.silence())
	}
	return l.refuses(l.trouble.Load()) || l.refuses(l.missing.Load())
}

// Full says that so many records wait that no request may begin that would leave
// another one (MayRecord): what is left of the queue is for those under way. It says
// nothing where Options.StopAfter is Never.
func (l *Log) Full() bool {
	if l.mayLose() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) >= l.o.Queue/2
}

func (l *Log) silence() error { return fmt.Errorf("the disk has not answered for %s", l.o.patience) }

func (l *Log) inTrouble(err error) {
	t := &trouble{since: l.o.Now(), cause: err.Error()}
	if l.trouble.CompareAndSwap(nil, t) {
		l.o.Log.Error("the evidence cannot be written; records wait in memory", "directory", l.dir, "cause", t.cause)
	}
}

func (l *Log) recovered() {
	if t := l.trouble.Swap(nil); t != nil {
		l.o.Log.Info("the evidence is written again", "directory", l.dir, "after",
			l.o.Now().Sub(t.since).Round(time.Millisecond).String())
	}
}

// isMissing notes that evidence was removed or replaced. That does not pass by itself:
// somebody has to look, and to start the gateway anew.
func (l *Log) isMissing(cause string) {
	l.missing.CompareAndSwap(nil, &trouble{since: l.o.Now(), cause: cause})
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

// note changes what Status shows and nothing else knows.
func (l *Log) note(change func(*Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
}

// Status tells how the evidence stands.
func (l *Log) Status() Status {
	l.mu.Lock()
	s := l.status
	s.Waiting = len(l.pending)
	s.Shipping = cmp.Or(l.shipping[:]...)
	l.mu.Unlock()
	s.Directory, s.Replica, s.Key = l.dir, l.o.Replica, Fingerprint(publicOf(l.key))
	s.Full = l.Full()
	s.Refusing = s.Full || l.Refused()
	if t := l.missing.Load(); t != nil {
		s.Missing, s.Since = t.cause, t.since
	}
	if t := l.trouble.Load(); t != nil {
		s.Failing, s.Since = t.cause, t.since
	}
	return s
}
