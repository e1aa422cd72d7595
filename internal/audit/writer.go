package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"time"
)

// writer is what the one goroutine that writes knows. The chain as it is on disk moves
// on only when a sync has succeeded: after a failure the file is cut back to it, and
// what came after is written once more, under the same numbers.
type writer struct {
	file    File
	path    string
	day     time.Time
	size    int64 // of the segment, as synced
	at      link  // the last record that is on disk
	signed  uint64
	backlog queue
	empty   queue // takes the place of what is taken
	buf     []byte
	// lastSigned is when the last signature was made, lastTry when writing failed last.
	lastSigned, lastTry time.Time
	checkpoints         shipper
	failure             error
}

// turn writes what waits.
func (l *Log) turn() {
	l.mu.Lock()
	taken, b, lost := l.pending, l.batch, l.lost
	l.pending, l.batch = l.w.empty, nil
	l.mu.Unlock()
	w := &l.w
	emptied := w.backlog.append(&taken)
	w.empty = taken
	if len(emptied) > 0 {
		l.mu.Lock()
		l.spare.give(emptied)
		l.mu.Unlock()
	}

	now := l.o.Now()
	var err error
	if l.trouble.Load() != nil && !w.lastTry.IsZero() && now.Sub(w.lastTry) < retryEvery {
		err = errStillFailing
	} else {
		err = l.write(now, lost)
	}
	if b != nil {
		b.err = err
		close(b.done)
	}
}

var errStillFailing = errors.New("writing the evidence: the last try failed a moment ago")

// write brings the backlog into the chain and on disk. What is due besides, a
// signature, another segment, is done on the way.
func (l *Log) write(now time.Time, lost losses) error {
	w := &l.w
	due := w.at.seq > w.signed && now.Sub(w.lastSigned) >= l.o.CheckpointEvery
	if w.backlog.n == 0 && !lost.any() && !due && l.trouble.Load() == nil {
		l.shipSigned()
		return nil
	}
	l.busy.Store(now.UnixNano())
	defer l.busy.Store(0)
	if w.file != nil && (w.size >= l.o.SegmentSize || !sameDay(w.day, now)) {
		if err := l.rotate(now); err != nil {
			return l.failed(err)
		}
	}
	next, buf := w.at, w.buf[:0]
	if lost.any() {
		buf = appendLost(buf, &next, now, lost, l.trouble.Load())
	}
	for _, c := range w.backlog.chunks {
		for i := range c.n {
			buf = c.entries[i].appendTo(buf, &next, l.o.Mask)
		}
	}
	signed := -1
	if due {
		signed = len(buf)
		buf = l.appendSigned(buf, &next, KindCheckpoint, now, nil)
	}
	if err := l.commit(buf, next, now); err != nil {
		return l.failed(err)
	}
	l.settle(lost)
	if signed >= 0 {
		l.wasSigned(buf[signed:], now)
	}
	if cap(buf) > 4<<20 {
		buf = nil // after a flood
	}
	w.buf = buf
	l.recovered()
	l.shipSigned()
	return nil
}

// settle forgets what is on disk.
func (l *Log) settle(lost losses) {
	backlog := &l.w.backlog
	for _, c := range backlog.chunks {
		c.clear()
	}
	n := backlog.n
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare.give(backlog.chunks)
	clear(backlog.chunks)
	backlog.chunks, backlog.n = backlog.chunks[:0], 0
	l.held -= n
	l.lost.reads -= lost.reads
	l.lost.writes -= lost.writes
	l.lost.events -= lost.events
	l.totals.seq.Store(l.w.at.seq)
	l.totals.records.Add(uint64(n))
	l.totals.signed.Store(l.w.signed)
}

// failed gives the file up. The next try opens it anew and cuts it back: after a sync
// that failed, what the system says of the file is not to be trusted.
func (l *Log) failed(err error) error {
	l.w.lastTry = l.o.Now()
	l.w.giveUp()
	l.inTrouble(err)
	return err
}

func (w *writer) giveUp() {
	if w.file != nil {
		_ = w.file.Close() // what was wrong with it is told already
		w.file = nil
	}
}

// commit appends lines and has them on disk; the chain then ends at next.
func (l *Log) commit(lines []byte, next link, now time.Time) error {
	if len(lines) == 0 {
		return nil
	}
	w := &l.w
	if err := l.open(now); err != nil {
		return err
	}
	if _, err := w.file.Write(lines); err != nil {
		// A full disk has taken half a line. What is cut off here is cut off again, and
		// synced, before the next try; now it is for those who verify meanwhile.
		_ = w.file.Truncate(w.size)
		w.giveUp()
		return fmt.Errorf("writing the evidence: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		w.giveUp()
		return fmt.Errorf("syncing the evidence: %w", err)
	}
	w.size += int64(len(lines))
	w.at = next
	return nil
}

// open opens the current segment, or begins one if there is none or it is not what was
// left there.
func (l *Log) open(now time.Time) error {
	w := &l.w
	if w.file != nil {
		return nil
	}
	if w.path != "" {
		f, err := l.o.OpenFile(w.path, os.O_WRONLY|os.O_APPEND, 0o600)
		if err == nil {
			var size int64
			if info, failed := f.Stat(); failed != nil {
				err = failed
			} else if size = info.Size(); size > w.size {
				err = errors.Join(f.Truncate(w.size), f.Sync())
			}
			switch {
			case err != nil:
				_ = f.Close() // what went wrong before says more
			case size >= w.size:
				w.file = f
				return nil
			default:
				_ = f.Close() // it goes on in another one
			}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("opening the evidence: %w", err)
		}
		l.o.Log.Error("the evidence was cut or removed while it was written; it goes on in a new file", "file", w.path)
	}
	path := segmentPath(l.dir, w.at.seq+1, now)
	l.setCurrent(path) // before it can be listed
	f, err := l.o.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	if err := errors.Join(f.Truncate(0), syncDir(l.o.OpenFile, l.dir)); err != nil {
		_ = f.Close() // what went wrong before says more
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	w.file, w.path, w.size, w.day = f, path, 0, now
	select {
	case l.ended <- struct{}{}:
	default:
	}
	return nil
}

// setCurrent has the keeper leave the segment that is written. The one before is never
// written again.
func (l *Log) setCurrent(path string) {
	l.files.Lock()
	l.current = path
	l.files.Unlock()
}

// rotate ends the segment with a signature, so that each one can be verified by itself.
func (l *Log) rotate(now time.Time) error {
	w := &l.w
	if w.at.seq > w.signed {
		if err := l.commitSigned(KindCheckpoint, now, nil); err != nil {
			return err
		}
	}
	err := w.file.Close()
	w.file, w.path, w.size = nil, "", 0
	if err != nil {
		return fmt.Errorf("ending a segment of the evidence: %w", err)
	}
	return nil
}

// commitSigned writes one signed record.
func (l *Log) commitSigned(kind Kind, now time.Time, fields func([]byte) []byte) error {
	next := l.w.at
	buf := l.appendSigned(nil, &next, kind, now, fields)
	if err := l.commit(buf, next, now); err != nil {
		return err
	}
	l.wasSigned(buf, now)
	l.totals.seq.Store(l.w.at.seq)
	return nil
}

func (l *Log) appendSigned(b []byte, next *link, kind Kind, now time.Time, fields func([]byte) []byte) []byte {
	start := len(b)
	b = next.begin(b, kind, now)
	b = appendText(b, "replica", l.o.Replica)
	if fields != nil {
		b = fields(b)
	}
	return next.end(b, start, l.key)
}

func (l *Log) wasSigned(lines []byte, now time.Time) {
	w := &l.w
	w.signed, w.lastSigned = w.at.seq, now
	l.totals.signed.Store(w.signed)
	w.checkpoints.add(lines)
}

// end signs the orderly end.
func (l *Log) end() {
	w := &l.w
	now := l.o.Now()
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if w.backlog.n > 0 || lost.any() {
		if w.failure = l.write(now, lost); w.failure != nil {
			l.o.Log.Error("records of the evidence are lost with the process", "records", w.backlog.n, "cause", w.failure.Error())
		}
	}
	if w.failure == nil {
		if w.failure = l.commitSigned(KindStop, now, nil); w.failure == nil {
			l.shipSigned()
		}
	}
	if w.file != nil {
		w.failure = errors.Join(w.failure, w.file.Close())
	}
	l.background.Wait() // it works under the lock as well
	w.failure = errors.Join(w.failure, w.checkpoints.close(), l.lock.Close())
}

func appendLost(b []byte, next *link, now time.Time, lost losses, t *trouble) []byte {
	start := len(b)
	b = next.begin(b, KindGap, now)
	reason := "more was to be recorded than the queue holds"
	if t != nil {
		reason = "the evidence could not be written: " + t.cause
		b = appendTime(b, "since", t.since)
	}
	b = appendText(b, "reason", reason)
	b = appendCount(b, "lostReads", lost.reads)
	b = appendCount(b, "lostWrites", lost.writes)
	b = appendCount(b, "lostEvents", lost.events)
	return next.end(b, start, nil)
}

func sameDay(a, b time.Time) bool {
	a, b = a.UTC(), b.UTC()
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}

// publicText is the public key in one word, for the record of the start.
func (k *Key) publicText() string { return base64.StdEncoding.EncodeToString(k.Public()) }
