package audit

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

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
		w.giveUp()
		w.shipper.giveUp()
		w.path, w.size = "", 0
	case w.path != "" && (w.size >= int64(l.o.SegmentSize) || !sameDay(w.day, now)):
		if err := l.endSegment(now); err != nil {
			return err
		}
	}
	if taken := w.shipper.inPlace(); taken != nil {
		l.shipped(shipTaken, taken)
		w.gap = cmp.Or(w.gap, &gap{Reason: taken.Error()})
		w.shipper.giveUp()
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

func (w *writer) giveUp() {
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
		d := l.draft()
		l.put(d, KindCheckpoint, now, &signedFields{Replica: l.o.Replica})
		if err := l.commit(now, d); err != nil {
			return err
		}
	}
	w.giveUp() // all of it is synced
	w.path, w.size = "", 0
	return nil
}

func sameDay(a, b time.Time) bool { return dayOf(a).Equal(dayOf(b)) }

// dayOf is the beginning of the day (UTC) of an instant.
func dayOf(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }
