package audit

import (
	"fmt"
	"time"

	"ebox-gateway/internal/call"
)

// trouble is a failure that lasts.
type trouble struct {
	since time.Time
	cause string
}

// tolerated is what becomes of a write whose intent is not on disk.
func (l *Log) tolerated() error {
	if t := l.trouble.Load(); l.stopAfter.Load() == 0 || t != nil && l.refuses(t) {
		return ErrNotRecorded
	}
	return nil
}

// untaken is what becomes of a write whose intent found no place in the queue.
func (l *Log) untaken(r *call.Record) error {
	if l.mayLose() {
		return nil
	}
	r.Intent = false
	return ErrNotRecorded
}

// mayLose says that requests are served of which there may be no record.
func (l *Log) mayLose() bool { return time.Duration(l.stopAfter.Load()) == Never }

func (l *Log) refuses(t *trouble) bool {
	after := time.Duration(l.stopAfter.Load())
	return after >= 0 && l.o.Now().Sub(t.since) >= after
}

// Refused says that no request may be served, since evidence has not been written for
// longer than Options.StopAfter allows.
func (l *Log) Refused() bool {
	if began := l.busy.Load(); began != 0 && l.trouble.Load() == nil && l.o.Now().UnixNano()-began > int64(patience) {
		l.inTrouble(fmt.Errorf("the disk has not answered for %s", patience))
	}
	t := l.trouble.Load()
	return t != nil && l.refuses(t)
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
	return l.held >= l.o.Queue/2
}

func (l *Log) inTrouble(err error) {
	t := &trouble{since: l.o.Now(), cause: err.Error()}
	if l.trouble.CompareAndSwap(nil, t) {
		l.o.Log.Error("the evidence cannot be written; records wait in memory", "directory", l.dir, "cause", t.cause)
	}
}

func (l *Log) recovered() {
	if t := l.trouble.Swap(nil); t != nil {
		l.o.Log.Info("the evidence is written again", "directory", l.dir, "after", l.o.Now().Sub(t.since).Round(time.Millisecond).String())
	}
}
