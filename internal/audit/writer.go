package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// writer is what the one goroutine that writes knows. The chain as it is on disk moves
// on only when a sync has succeeded: after a failure the file is cut back to it, and
// what came after is written once more, under the same numbers.
type writer struct {
	// shared is when a sync last served more than one write.
	shared time.Time
	file   File
	path   string // of the current segment, empty if none is begun
	day    time.Time
	size   int64 // of the segment, as synced
	at     link  // the last record that is on disk
	signed uint64
	noted  noted // the note that was signed last
	// backlog is what is to be written: the beginning of Log.pending.
	backlog []entry
	buf     []byte
	// gap is to be said in the chain before anything else, nil if nothing is.
	gap *gap
	// lastSigned is when the last signature was made, lastLook when the files were last
	// looked at, lastTry when writing failed last.
	lastSigned, lastLook, lastTry time.Time
	ship                          shipper
	failure                       error // of the end
}

// turn writes what waits. Shortly after a failure it does nothing but say so, unless it is the
// last one.
func (l *Log) turn(last bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	w := &l.w
	l.mu.Lock()
	b, lost := l.batch, l.lost
	// What is added meanwhile comes behind it, and does not move it.
	w.backlog, l.batch = l.pending, nil
	l.mu.Unlock()

	now := l.o.Now()
	if b != nil && b.waiting > 1 {
		w.shared = now
	}
	var err error
	if l.trouble.Load() != nil && !w.lastTry.IsZero() && now.Sub(w.lastTry) < retryEvery && !last {
		err = errStillFailing
	} else {
		err = l.write(now, lost)
	}
	if b != nil {
		b.err = err
		close(b.done)
	}
	return err
}

var errStillFailing = errors.New("writing the evidence: the last try failed a moment ago")

// write brings the backlog into the chain and on disk. What is due besides, a
// signature, another segment, is done on the way.
func (l *Log) write(now time.Time, lost losses) error {
	w := &l.w
	due := w.at.seq > w.signed && now.Sub(w.lastSigned) >= l.o.CheckpointEvery
	if len(w.backlog) == 0 && !lost.any() && !due && l.trouble.Load() == nil {
		if now.Sub(w.lastLook) < l.o.CheckpointEvery || l.inPlace(now) == nil {
			l.shipSigned(now)
			return nil
		}
	}
	l.busy.Store(now.UnixNano())
	defer l.busy.Store(0)
	err := l.append(now, func(buf []byte, next *link) []byte {
		if lost.any() {
			buf = next.append(buf, KindGap, now, lost.gap(l.trouble.Load()), nil)
		}
		for i := range w.backlog {
			buf = w.backlog[i].appendTo(buf, next)
		}
		if due {
			buf = l.appendSigned(buf, next, KindCheckpoint, now, signedFields{})
		}
		return buf
	})
	if err != nil {
		return l.failed(err)
	}
	if lost.any() {
		l.note(func(s *Status) { s.LastGap = now })
	}
	l.settle(lost)
	if due {
		l.wasSigned(now)
	}
	l.recovered()
	l.shipSigned(now)
	return nil
}

// settle forgets what is on disk. Nothing of a request outlives its record.
func (l *Log) settle(lost losses) {
	w := &l.w
	n := len(w.backlog)
	w.backlog = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending = slices.Delete(l.pending, 0, n); len(l.pending) == 0 && cap(l.pending) > 2*flushAt {
		l.pending = nil // after a flood
	}
	l.lost.reads -= lost.reads
	l.lost.writes -= lost.writes
	l.lost.events -= lost.events
	l.status.Sequence = w.at.seq
	l.status.Written += uint64(n)
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

// append makes lines that follow the chain, and has them on disk in a segment of the day. What
// is to be said of files that are not what was left there comes before them.
func (l *Log) append(now time.Time, lines func(b []byte, next *link) []byte) error {
	w := &l.w
	if err := l.ready(now); err != nil {
		return err
	}
	next, buf, gap := w.at, w.buf[:0], w.gap
	if w.size == 0 {
		buf = l.appendHeader(buf, &next, now)
	}
	if gap != nil {
		buf = next.append(buf, KindGap, now, gap, nil)
	}
	buf = lines(buf, &next)
	if err := l.commit(buf, next); err != nil {
		return err
	}
	if w.buf = buf; cap(buf) > 4<<20 {
		w.buf = nil // after a flood
	}
	if gap != nil {
		w.gap = nil
		l.note(func(s *Status) { s.LastGap = now })
	}
	return nil
}

// ready has a segment open that lines of now belong into.
func (l *Log) ready(now time.Time) error {
	w := &l.w
	if err := l.reopen(now); err != nil {
		return err
	}
	if w.file != nil && (w.size >= l.o.SegmentSize || !sameDay(w.day, now)) {
		if err := l.endSegment(now); err != nil {
			return err
		}
	}
	if w.file == nil {
		return l.beginSegment(now)
	}
	return nil
}

// reopen has the current segment open, if it is what was left there. If it is not, the chain
// goes on in another one that says so.
func (l *Log) reopen(now time.Time) error {
	w := &l.w
	if w.path == "" {
		return nil
	}
	if w.file == nil {
		f, err := l.o.OpenFile(w.path, os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("opening the evidence: %w", err)
		}
		if err == nil {
			w.file = f
			var size int64
			if info, failed := f.Stat(); failed != nil {
				err = failed
			} else if size = info.Size(); size > w.size {
				err = errors.Join(f.Truncate(w.size), f.Sync())
			}
			if err != nil {
				return fmt.Errorf("opening the evidence: %w", err)
			}
		}
	}
	cause := l.inPlace(now)
	if cause == nil {
		return nil
	}
	l.isMissing(cause)
	w.gap = &gap{Reason: cause.Error(), MissingUpTo: w.at.seq}
	w.giveUp()
	w.path, w.size = "", 0
	return l.remakeDir()
}

// inPlace looks whether the files on disk are those that are open. The error says what has
// become of them.
func (l *Log) inPlace(now time.Time) error {
	w := &l.w
	w.lastLook = now
	if !isAt(filepath.Join(l.dir, lockName), l.lock) {
		return fmt.Errorf("the directory %s was removed or replaced while the gateway wrote to it: what it held is to be "+
			"put back from a copy", l.dir)
	}
	if w.path == "" {
		return nil
	}
	if w.file == nil || !isAt(w.path, w.file) {
		return fmt.Errorf("the file %s was removed or replaced while the gateway wrote to it", filepath.Base(w.path))
	}
	if info, err := w.file.Stat(); err == nil && info.Size() < w.size {
		return fmt.Errorf("the file %s was cut while the gateway wrote to it", filepath.Base(w.path))
	}
	return nil
}

// remakeDir makes the directory and takes its lock, where that is no longer there.
func (l *Log) remakeDir() error {
	if isAt(filepath.Join(l.dir, lockName), l.lock) {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the evidence: %w", err)
	}
	again, err := lock(l.dir)
	if err != nil {
		return err
	}
	_ = l.lock.Close() // of a file that is gone
	l.lock = again
	return l.key.publish(l.dir)
}

// beginSegment makes the file of a segment.
func (l *Log) beginSegment(now time.Time) error {
	w := &l.w
	if err := l.remakeDir(); err != nil {
		return err
	}
	path := segmentPath(l.dir, w.at.seq+1, now)
	l.current.Store(&path) // before it can be listed
	f, err := l.o.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	if err := errors.Join(f.Truncate(0), syncDir(l.o.OpenFile, l.dir)); err != nil {
		_ = f.Close() // what went wrong before says more
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	w.file, w.path, w.size, w.day = f, path, 0, now
	return nil
}

// appendHeader writes the first record of a segment. What waited while the disk failed may
// be of an earlier day.
func (l *Log) appendHeader(b []byte, next *link, now time.Time) []byte {
	earliest := now
	for i := range l.w.backlog {
		if at := l.w.backlog[i].at; at.Before(earliest) {
			earliest = at
		}
	}
	h := header{Format: Format, Replica: l.o.Replica}
	if !sameDay(earliest, now) {
		h.Earliest = earliest.UTC()
	}
	return next.append(b, KindSegment, now, h, nil)
}

// endSegment ends the segment with a signature, so that each one can be verified by itself. One
// of which the disk has taken no record since it was begun is removed.
func (l *Log) endSegment(now time.Time) error {
	w := &l.w
	if w.size == 0 {
		if err := os.Remove(w.path); err != nil {
			return fmt.Errorf("removing an empty segment of the evidence: %w", err)
		}
		w.giveUp()
		w.path = ""
		return nil
	}
	if w.at.seq > w.signed {
		next := w.at
		line := l.appendSigned(nil, &next, KindCheckpoint, now, signedFields{})
		if err := l.commit(line, next); err != nil {
			return err
		}
		l.wasSigned(now)
	}
	err := w.file.Close()
	w.file, w.path, w.size = nil, "", 0
	l.current.Store(nil)
	if err != nil {
		return fmt.Errorf("ending a segment of the evidence: %w", err)
	}
	select {
	case l.ended <- struct{}{}:
	default:
	}
	return nil
}

// commit appends lines to the open segment and has them on disk; the chain then ends at
// next.
func (l *Log) commit(lines []byte, next link) error {
	if len(lines) == 0 {
		return nil
	}
	w := &l.w
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

// commitSigned writes one signed record.
func (l *Log) commitSigned(kind Kind, now time.Time, fields signedFields) error {
	err := l.append(now, func(b []byte, next *link) []byte { return l.appendSigned(b, next, kind, now, fields) })
	if err != nil {
		return err
	}
	l.wasSigned(now)
	return nil
}

func (l *Log) appendSigned(b []byte, next *link, kind Kind, now time.Time, fields signedFields) []byte {
	fields.Replica = l.o.Replica
	return next.append(b, kind, now, fields, func(at link) string {
		c := checkpoint{l.o.Replica, at, now.UTC().Format(time.RFC3339Nano)}
		signature := l.signer.sign(&c)
		l.w.noted = noted{c.seq, c.time, c.message(signature)}
		return signature
	})
}

// wasSigned notes that the last record on disk is a signed one, and hands its note out.
func (l *Log) wasSigned(now time.Time) {
	w := &l.w
	w.signed, w.lastSigned = w.at.seq, now
	l.note(func(s *Status) { s.Signed, s.Sequence = w.signed, w.signed })
	w.ship.add(checkpointLine(w.noted.message))
	select {
	case l.notes <- w.noted:
	default: // the authority has not answered for the one before
	}
}

// end writes what waits and signs the orderly end.
func (l *Log) end() {
	l.stop()
	failure := l.turn(true)
	l.writing.Lock()
	w := &l.w
	now := l.o.Now()
	if failure != nil {
		l.o.Log.Error("records of the evidence are lost with the process", "records", len(w.backlog), "cause",
			failure.Error())
	} else if failure = l.commitSigned(KindStop, now, signedFields{}); failure == nil {
		l.shipSigned(now)
	}
	if w.file != nil {
		failure = errors.Join(failure, w.file.Close())
	}
	l.writing.Unlock()
	l.background.Wait() // it works under the lock of the directory as well
	w.failure = errors.Join(failure, w.ship.close(), l.lock.Close())
}

// gap is what a chain says of records that were lost.
func (l losses) gap(t *trouble) gap {
	g := gap{Reason: "more was to be recorded than the queue holds",
		LostReads: l.reads, LostWrites: l.writes, LostEvents: l.events}
	if t != nil {
		g.Reason, g.Since = "the evidence could not be written: "+t.cause, t.since.UTC().Format(time.RFC3339Nano)
	}
	return g
}

func sameDay(a, b time.Time) bool {
	a, b = a.UTC(), b.UTC()
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}
