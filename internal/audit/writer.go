package audit

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// writer is the state of the one goroutine that writes. The chain as it is on disk moves
// on only when a sync has succeeded: after a failure the file is cut back to it, and
// what came after is written once more, under the same numbers.
type writer struct {
	file File   // of the segment, nil if it is not open
	path string // of the segment, empty if none is begun
	day  time.Time
	size int64 // of the segment, as synced
	// at is the last record that is on disk, signed the number of the last one that is signed.
	at     link
	signed uint64
	// gap is to be said in the chain before anything else, nil if nothing is.
	gap *gap
	buf []byte
	// lastSigned is when the last signature was made, lastLook when the files were last
	// looked at, lastTry when writing failed last, shared when a sync last served several writes.
	lastSigned, lastLook, lastTry, shared time.Time
	shipper                               shipper
	failure                               error // of the end
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			if l.o.Now().Sub(l.w.shared) < gatherFor {
				time.Sleep(gather)
			}
			_ = l.turn() // its batch has the error
		case <-tick.C:
			_ = l.turn()
		case <-l.open.Done():
			l.end()
			return
		}
	}
}

var errStillFailing = errors.New("writing the evidence: the last try failed a moment ago")

// turn writes what waits, and ends the wait for it. Shortly after a failure it does
// nothing but say so, unless it is the last one.
func (l *Log) turn() error {
	w := &l.w
	l.mu.Lock()
	b, lost, failing := l.batch, l.lost, l.failing
	waiting := l.pending // what is added meanwhile comes behind it, and does not move it
	l.batch = nil
	l.mu.Unlock()

	now, err := l.o.Now(), errStillFailing
	if !failing.is() || now.Sub(w.lastTry) >= retryEvery || l.open.Err() != nil {
		err = l.write(now, waiting, lost, failing)
		if err != nil {
			// The next try opens the file anew and cuts it back: after a sync that failed, what
			// the system says of the file is not to be trusted.
			w.closeFile()
			w.lastTry = now
			l.inTrouble(err)
		}
	}
	if b != nil {
		if b.waiting > 1 {
			w.shared = now
		}
		b.err = err
		close(b.done)
	}
	return err
}

// write makes lines of what waits and has them on disk. What is due besides, a signature,
// another segment, is done on the way.
func (l *Log) write(now time.Time, waiting []entry, lost losses, failing trouble) error {
	w := &l.w
	unsaid := lost.gap(failing)
	due := w.at.seq > w.signed && now.Sub(w.lastSigned) >= l.o.CheckpointEvery
	look := now.Sub(w.lastLook) >= l.o.CheckpointEvery
	if len(waiting) == 0 && unsaid == nil && !due && !failing.is() &&
		(!look || l.inPlace(now) == nil && w.shipper.inPlace() == nil) {
		return nil
	}
	late := time.AfterFunc(l.o.patience, func() { l.inTrouble(l.errHangs()) })
	defer late.Stop()
	if err := l.openSegment(now); err != nil {
		return err
	}
	var before, behind []entry // of what waits
	if w.size == 0 {
		before = append(before, entry{KindSegment, now, l.header(now, waiting)})
	}
	for _, g := range [...]*gap{w.gap, unsaid} {
		if g != nil {
			before = append(before, entry{KindGap, now, g})
		}
	}
	if due && (len(waiting) == 0 || !waiting[len(waiting)-1].kind.signed()) { // which may be the end
		behind = append(behind, l.signed(KindCheckpoint, signedFields{}))
	}
	if err := l.commit(now, before, waiting, behind); err != nil {
		return err
	}
	if w.gap != nil || unsaid != nil {
		w.gap = nil
		l.note(func(s *Status) { s.LastGap = now })
	}
	l.settle(len(waiting), lost)
	return nil
}

// commit appends the lines of records to the open segment and has them on disk; the chain then ends
// with them, and the notes of those that are signed may be handed out.
func (l *Log) commit(now time.Time, records ...[]entry) error {
	w := &l.w
	text, end := w.buf[:0], w.at
	var made []checkpoint
	for _, part := range records {
		for _, e := range part {
			text = end.append(text, e.kind, e.at, e.about)
			if e.kind.signed() {
				c := checkpoint{replica: l.o.Replica, link: end, time: e.at.UTC().Format(time.RFC3339Nano)}
				text = appendSignature(text, l.signer.sign(&c))
				made = append(made, c)
			}
			text = appendEnd(text)
		}
	}
	if _, err := w.file.Write(text); err != nil {
		// A full disk has taken half a line. What is cut off here is cut off again, and
		// synced, before the next try; now it is for those who verify meanwhile.
		_ = w.file.Truncate(w.size)
		return fmt.Errorf("writing the evidence: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("syncing the evidence: %w", err)
	}
	w.size += int64(len(text))
	w.at = end
	if w.buf = text; cap(w.buf) > 4<<20 {
		w.buf = nil // after a flood
	}
	for _, c := range made {
		w.signed, w.lastSigned = c.seq, now
		l.ship(now, c.line())
		select {
		case l.notes <- c:
		default: // the authority has not answered for the one before
		}
	}
	l.note(func(s *Status) { s.Sequence, s.Signed = w.at.seq, w.signed })
	return nil
}

// settle drops what is on disk. Nothing of a request outlives its record.
func (l *Log) settle(n int, lost losses) {
	l.mu.Lock()
	if l.pending = slices.Delete(l.pending, 0, n); len(l.pending) == 0 && cap(l.pending) > 2*flushAt {
		l.pending = nil // after a flood
	}
	l.lost.reads -= lost.reads
	l.lost.writes -= lost.writes
	l.lost.events -= lost.events
	l.status.Written += uint64(n)
	failed := l.failing
	l.failing = trouble{}
	l.mu.Unlock()
	if failed.is() {
		l.o.Log.Info("the evidence is written again", "directory", l.dir, "after",
			l.o.Now().Sub(failed.since).Round(time.Millisecond).String())
	}
}

// gap is what a chain says of records that were lost, nil if none were.
func (l losses) gap(failing trouble) *gap {
	if l == (losses{}) {
		return nil
	}
	g := &gap{Reason: "more was to be recorded than the queue holds",
		LostReads: l.reads, LostWrites: l.writes, LostEvents: l.events}
	if failing.is() {
		g.Reason = "the evidence could not be written: " + failing.cause
		g.Since = failing.since.UTC().Format(time.RFC3339Nano)
	}
	return g
}

// openSegment has a segment open that lines of now belong into, and that is what was left there.
// If files were removed, replaced or cut, the chain goes on in another segment, which says so.
func (l *Log) openSegment(now time.Time) error {
	w := &l.w
	if err := l.reopen(); err != nil {
		return fmt.Errorf("opening the evidence: %w", err)
	}
	cause := l.inPlace(now)
	switch {
	case cause != nil:
		l.isMissing(cause.Error())
		w.gap = &gap{Reason: cause.Error(), MissingUpTo: w.at.seq}
		w.closeFile()
		w.shipper.closeFile()
		w.path, w.size = "", 0
	case w.path != "" && (w.size >= int64(l.o.SegmentSize) || !sameDay(w.day, now)):
		if err := l.endSegment(now); err != nil {
			return err
		}
	}
	if taken := w.shipper.inPlace(); taken != nil {
		l.shipped(shipTaken, taken)
		w.gap = cmp.Or(w.gap, &gap{Reason: taken.Error()})
		w.shipper.closeFile()
	}
	if w.path == "" {
		return l.beginSegment(now)
	}
	return nil
}

// reopen opens the segment after a failure, and cuts off what was not synced.
func (l *Log) reopen() error {
	w := &l.w
	if w.path == "" || w.file != nil {
		return nil
	}
	f, err := l.o.OpenFile(w.path, os.O_WRONLY|os.O_APPEND, 0o600)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil // which inPlace finds
	case err != nil:
		return err
	}
	w.file = f
	info, err := f.Stat()
	if err == nil && info.Size() > w.size {
		err = errors.Join(f.Truncate(w.size), f.Sync())
	}
	return err
}

func (w *writer) closeFile() {
	if w.file != nil {
		_ = w.file.Close() // what was wrong with it is told already
		w.file = nil
	}
}

// inPlace looks whether the files on disk are those that are open. The error says what has
// become of them.
func (l *Log) inPlace(now time.Time) error {
	w := &l.w
	w.lastLook = now
	switch {
	case !isAt(filepath.Join(l.dir, lockName), l.lock):
		return fmt.Errorf("the directory %s was removed or replaced while the gateway wrote to it: what it held is to be "+
			"put back from a copy", l.dir)
	case w.path == "":
		return nil
	case w.file == nil || !isAt(w.path, w.file):
		return fmt.Errorf("the file %s was removed or replaced while the gateway wrote to it", filepath.Base(w.path))
	}
	if info, err := w.file.Stat(); err == nil && info.Size() < w.size {
		return fmt.Errorf("the file %s was cut while the gateway wrote to it", filepath.Base(w.path))
	}
	return nil
}

// beginSegment makes the file of a segment, and the directory if that was removed.
func (l *Log) beginSegment(now time.Time) error {
	w := &l.w
	if err := l.remakeDir(); err != nil {
		return err
	}
	path := segmentPath(l.dir, w.at.seq+1, now)
	f, err := l.o.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	if err := syncDir(l.o.OpenFile, l.dir); err != nil {
		_ = f.Close() // what went wrong before says more
		return fmt.Errorf("beginning a segment of the evidence: %w", err)
	}
	w.file, w.path, w.size, w.day = f, path, 0, now
	select {
	case l.begun <- struct{}{}:
	default:
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
	return publish(publicOf(l.key), l.dir)
}

// header is the first record of a segment. What waited while the disk failed may be of an
// earlier day.
func (l *Log) header(now time.Time, waiting []entry) *header {
	earliest := now
	for i := range waiting {
		if at := waiting[i].at; at.Before(earliest) {
			earliest = at
		}
	}
	h := &header{Format: format, Replica: l.o.Replica}
	if !sameDay(earliest, now) {
		h.Earliest = earliest.UTC()
	}
	return h
}

// endSegment ends the segment with a signature, so that each one can be verified by itself. One
// of which the disk has taken no record since it was begun is removed.
func (l *Log) endSegment(now time.Time) error {
	w := &l.w
	if w.size == 0 {
		if err := os.Remove(w.path); err != nil {
			return fmt.Errorf("removing an empty segment of the evidence: %w", err)
		}
	} else if w.at.seq > w.signed {
		if err := l.commit(now, []entry{l.signed(KindCheckpoint, signedFields{})}); err != nil {
			return err
		}
	}
	w.closeFile() // all of it is synced
	w.path, w.size = "", 0
	return nil
}

func sameDay(a, b time.Time) bool { return dayOf(a).Equal(dayOf(b)) }

// dayOf is the beginning of the day (UTC) of an instant.
func dayOf(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// end writes what waits and signs the orderly end.
func (l *Log) end() {
	l.stop()
	l.mu.Lock()
	l.pending = append(l.pending, l.signed(KindStop, signedFields{}))
	l.mu.Unlock()
	w := &l.w
	failure := l.turn()
	if failure != nil {
		l.o.Log.Error("records of the evidence are lost with the process", "records", len(l.pending)-1, "cause",
			failure.Error())
	}
	w.closeFile()
	l.background.Wait() // it works under the lock of the directory as well
	w.failure = errors.Join(failure, w.shipper.close(l.o.patience/5), l.lock.Close())
}

// Close writes what waits, signs the end and gives the chain up. What cannot be
// written within some seconds is lost, and the next start says so.
func (l *Log) Close() error {
	l.stop()
	timer := time.NewTimer(l.o.patience)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.w.failure
	case <-timer.C:
		return fmt.Errorf("closing the evidence: %w", l.errHangs())
	}
}
