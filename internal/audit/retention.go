package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sweepEvery is how often segments are looked at for being too old.
const sweepEvery = time.Hour

// sweep drops the segments that the law no longer asks for, the oldest first. The
// record of the drop, which is signed, is on disk before the file goes: it holds where
// the segment ended, and what is left is verified from there.
func (l *Log) sweep(now time.Time) {
	w := &l.w
	if now.Sub(w.swept) < sweepEvery {
		return
	}
	w.swept = now
	if _, err := l.drop(now); err != nil {
		l.o.Log.Error("an old segment of the evidence could not be dropped; it is tried again in an hour", "cause", err.Error())
	}
}

func (l *Log) drop(now time.Time) (dropped int, err error) {
	segments, err := segmentsOf(l.dir)
	if err != nil {
		return 0, err
	}
	for _, s := range segments {
		if s.path == l.w.path || now.Before(legalEnd(s.day, l.o.KeepYears)) {
			return dropped, nil
		}
		t, err := tailOf(s.path)
		if err != nil {
			return dropped, err
		}
		if t.size == 0 && t.damage == nil { // a process died before its first record
			if err := l.removeSegment(s); err != nil {
				return dropped, err
			}
			continue
		}
		if !t.found || t.damage != nil {
			return dropped, fmt.Errorf("dropping %s: it holds no whole record, or cannot be read to its end", filepath.Base(s.path))
		}
		// The day of the name is that of the clock when it was begun.
		if at, err := time.Parse(time.RFC3339Nano, t.last.time); err != nil || now.Before(legalEnd(at, l.o.KeepYears)) {
			return dropped, nil
		}
		if err := l.dropSegment(s, &t.last, now); err != nil {
			return dropped, err
		}
		dropped++
		l.o.Log.Info("a segment of the evidence was dropped: its legal end is past", "file", filepath.Base(s.path))
	}
	return dropped, nil
}

func (l *Log) dropSegment(s segment, last *line, now time.Time) error {
	if err := l.commitSigned(KindDropped, now, func(b []byte) []byte {
		b = appendText(b, "file", filepath.Base(s.path))
		b = appendCount(b, "first", int64(s.first))
		b = appendCount(b, "last", int64(last.seq))
		b = appendText(b, "lastHash", hex.EncodeToString(last.hash[:]))
		return appendText(b, "lastTime", last.time)
	}); err != nil {
		return err
	}
	l.shipSigned()
	return l.removeSegment(s)
}

// removeSegment removes a segment in either form: it may have been compressed since it
// was listed.
func (l *Log) removeSegment(s segment) error {
	l.files.Lock()
	defer l.files.Unlock()
	plain := strings.TrimSuffix(s.path, compressedSuffix)
	for _, path := range []string{plain, plain + compressedSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dropping a segment of the evidence: %w", err)
		}
	}
	if err := syncDir(l.o.OpenFile, l.dir); err != nil {
		return fmt.Errorf("dropping a segment of the evidence: %w", err)
	}
	return nil
}

// legalEnd is when a record of an instant need no longer be kept: the first of January
// after it and years more. A day is added, since the years begin earlier in Brussels
// than the days of the segments, and a day too long hurts nobody.
func legalEnd(at time.Time, years int) time.Time {
	return time.Date(at.UTC().Year()+1+years, time.January, 2, 0, 0, 0, 0, time.UTC)
}

// Keep drops what is over in a chain that no gateway writes any more, as that of a
// replica that is gone, and gives the number of segments that went. What is left of
// ended ones it compresses.
func Keep(o Options) (dropped int, err error) {
	l, err := prepare(o)
	if err != nil {
		return 0, err
	}
	dropped, err = l.drop(l.o.Now())
	c := &compressor{l: l, told: make(map[string]string)}
	c.removeUnfinished()
	c.round()
	l.end()
	return dropped, errors.Join(err, l.w.failure)
}
