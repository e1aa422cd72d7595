package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sweep drops the segments that the law no longer asks for, the oldest first, and the
// checkpoints of what they held. The record of a drop, which is signed, is on disk
// before the file goes: it holds where the segment ended, and what is left is verified
// from there.
func (k *keeper) sweep(now time.Time) {
	if _, err := k.drop(now); err != nil && !errors.Is(err, errStopped) {
		k.l.o.Log.Error("an old segment of the evidence could not be dropped; it is tried again in an hour", "cause", err.Error())
	}
}

// drop gives the number of segments that it dropped.
func (k *keeper) drop(now time.Time) (dropped int, err error) {
	segments, err := segmentsOf(k.l.dir)
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, s := range segments {
		began := time.Now()
		end, over, err := k.expired(s, now)
		if err == nil && over {
			err = k.dropSegment(s, end, now)
		}
		if err != nil {
			return dropped, errors.Join(err, k.prune(last))
		}
		if !over {
			break
		}
		if end != nil {
			dropped, last = dropped+1, end.seq
			k.l.o.Log.Info("a segment of the evidence was dropped: its legal end is past", "file", filepath.Base(s.path))
		}
		if err := k.pause(time.Since(began)); err != nil {
			return dropped, err
		}
	}
	return dropped, k.prune(last)
}

// expired tells whether a segment need no longer be kept, and its last record, nil if
// it has none.
func (k *keeper) expired(s segment, now time.Time) (last *line, over bool, err error) {
	if !k.l.isEnded(s.path) || now.Before(legalEnd(s.day, k.l.o.KeepYears)) {
		return nil, false, nil
	}
	t, err := tailOf(s.path)
	switch {
	case err != nil:
		return nil, false, err
	case t.size == 0 && t.damage == nil: // a process died before its first record
		return nil, true, nil
	case !t.found || t.damage != nil:
		return nil, false, fmt.Errorf("dropping %s: it holds no whole record, or cannot be read to its end: look at it with gateway audit verify, and take it away", filepath.Base(s.path))
	}
	// The day of the name is that of the clock when it was begun.
	at, err := time.Parse(time.RFC3339Nano, t.last.time)
	return &t.last, err == nil && !now.Before(legalEnd(at, k.l.o.KeepYears)), nil
}

// dropSegment removes a segment, with a record of it if there is a last one.
func (k *keeper) dropSegment(s segment, last *line, now time.Time) error {
	l := k.l
	if last != nil {
		err := k.asWriter(func() error {
			return l.commitSigned(KindDropped, now, func(b []byte) []byte {
				b = appendText(b, "file", filepath.Base(s.path))
				b = appendCount(b, "first", int64(s.first))
				b = appendCount(b, "last", int64(last.seq))
				b = appendText(b, "lastHash", hex.EncodeToString(last.hash[:]))
				return appendText(b, "lastTime", last.time)
			})
		})
		if err != nil {
			return err
		}
	}
	return l.removeSegment(s)
}

// prune takes the checkpoints up to a record out of the file beside the chain, whose
// segments were dropped: who has the later ones has what they said. The writer, which
// appends to the file, waits for the last of it alone.
func (k *keeper) prune(last uint64) error {
	path := k.l.w.checkpoints.path
	from, err := offsetAfter(path, last)
	if err != nil || from == 0 {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("pruning the checkpoints: %w", err)
	}
	defer in.Close()
	if _, err := in.Seek(from, io.SeekStart); err != nil {
		return fmt.Errorf("pruning the checkpoints: %w", err)
	}
	unfinished := path + unfinishedSuffix
	out, err := k.l.o.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("pruning the checkpoints: %w", err)
	}
	if err = k.copy(out, in, out.Sync); err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = k.asWriter(func() error { return k.l.replaceCheckpoints(in, out, unfinished) })
	}
	if err = errors.Join(err, out.Close()); err != nil {
		_ = os.Remove(unfinished) // what went wrong before says more; the next try writes over it
		return fmt.Errorf("pruning the checkpoints: %w", err)
	}
	return nil
}

// replaceCheckpoints copies what was appended meanwhile, and puts the new file into the
// place of the old one. The writer alone does this.
func (l *Log) replaceCheckpoints(in io.Reader, out File, unfinished string) error {
	s := &l.w.checkpoints
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	err := out.Sync()
	if err == nil {
		err = os.Rename(unfinished, s.path)
	}
	if err != nil {
		return err
	}
	s.size = -1
	return errors.Join(s.giveUp(), syncDir(l.o.OpenFile, l.dir))
}

// offsetAfter is where the first signed record behind a place of the chain stands in a
// file of them, in bytes; 0 if there is none, or none before it.
func offsetAfter(path string, last uint64) (from int64, err error) {
	if last == 0 {
		return 0, nil
	}
	err = eachLine(path, func(_ int, text []byte, whole bool) error {
		if l, err := parseLine(text); err == nil && whole && l.seq > last && l.signature != nil && l.intact() {
			return errFound
		}
		from += int64(len(text))
		if whole {
			from++
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return from, nil
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	}
	return 0, err
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
	k := &keeper{l: l, asWriter: func(do func() error) error { return do() }, told: make(map[string]string)}
	dropped, err = k.drop(l.o.Now())
	k.removeUnfinished()
	k.round()
	l.end()
	return dropped, errors.Join(err, l.w.failure)
}
