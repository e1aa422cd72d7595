package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// tail is how a segment ends.
type tail struct {
	last line  // the last whole record; its number is 0 if there is none
	end  int64 // where it ends, its line break included
	size int64 // of the lines that were read
	// damage is why a compressed one cannot be read to its end, empty if it can.
	damage string
}

// recover finds where the chain ended, and sets aside what stands behind its last whole record.
// If the process before did not end in order, or evidence is missing, the chain says so next.
func (l *Log) recover() error {
	files, _, err := openChain(l.dir)
	if err != nil {
		return err
	}
	now := l.o.Now()
	var aside []string
	var last tail
	for i := len(files.segments) - 1; i >= 0 && last.last.seq == 0; i-- {
		s := files.segments[i]
		if last, err = tailOf(s.path); err != nil {
			return err
		}
		if last.size == 0 && !s.compressed { // begun, and the process ended before its first record
			if err := os.Remove(s.path); err != nil {
				return fmt.Errorf("removing an empty segment of the evidence: %w", err)
			}
			continue
		}
		head, err := headerOf(&s)
		if err != nil {
			return err
		}
		if last.size > last.end || last.damage != "" {
			name, err := l.setAside(s, last, now)
			if err != nil {
				return err
			}
			aside = append(aside, name)
		}
		if last.last.seq > 0 {
			l.w.at = last.last.link
			if !s.compressed && last.end < int64(l.o.SegmentSize) && sameDay(s.day, now) && head.Format == format {
				l.w.path, l.w.size, l.w.day = s.path, last.end, s.day
			}
		}
	}
	missing, err := l.missingAtStart(files.checkpoints)
	switch {
	case err != nil:
		return err
	case missing != "":
		l.isMissing(missing)
	case len(aside) > 0 || last.last.seq > 0 && last.last.kind != KindStop:
		missing = "the process before did not end in order: reads of its last second may be missing, and of writes without " +
			"an outcome it is not known what became of them"
		l.o.Log.Warn("the process before did not end in order: up to a second of reads may be missing in the "+
			"evidence, which says so", "directory", l.dir, "setAside", aside)
	default:
		return nil
	}
	l.w.gap = &gap{Reason: missing, SetAside: aside, Since: last.last.time}
	return nil
}

// missingAtStart looks for checkpoints that are newer than the end of the chain: what they
// sign was here once. The chain then goes on behind the newest one, so that no number comes
// twice. A checkpoint that does not verify says no more than that something is wrong.
func (l *Log) missingAtStart(files []string) (missing string, err error) {
	keys, err := publicKeys(l.dir)
	if err != nil {
		return "", err
	}
	if l.o.Shipped != "" {
		files = append(files, l.o.Shipped)
	}
	var newest checkpoint
	var where string
	verified := true
	for _, file := range files {
		for line, err := range linesOf(file, nil) {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return "", err
			}
			// Verifying costs more than reading, and few are newer than the chain.
			c, ok := readCheckpoint(line)
			if ok && c.replica == l.o.Replica && c.seq > max(newest.seq, l.w.at.seq) {
				newest, where, verified = c, file, c.verifies(keys)
			}
		}
	}
	if newest.seq <= l.w.at.seq {
		return "", nil
	}
	missing = fmt.Sprintf("the evidence in %s ends at record %d, and the checkpoints in %s show that it went to record "+
		"%d of %s: it was removed, cut or replaced", l.dir, l.w.at.seq, where, newest.seq, newest.time)
	if !verified {
		return missing + ", or another key signed them", nil
	}
	l.w.at, l.w.path, l.w.size = newest.link, "", 0
	return missing, nil
}

// setAside copies what stands behind the last whole record of a segment into a file of
// its own, and cuts it off. A compressed file stays as it is, for whoever can make
// something of it: under its name, unless nothing in it is a record and the chain goes
// on where it began.
func (l *Log) setAside(s segment, t tail, now time.Time) (string, error) {
	if s.compressed && t.last.seq > 0 {
		return filepath.Base(s.path), nil
	}
	name := fmt.Sprintf("%s%s-%012d.txt", tornPrefix, now.UTC().Format("20060102T150405.000000000"), s.first)
	if s.compressed {
		name += compressedSuffix
		if err := errors.Join(os.Rename(s.path, filepath.Join(l.dir, name)), syncDir(l.o.OpenFile, l.dir)); err != nil {
			return "", fmt.Errorf("setting aside a file of the evidence: %w", err)
		}
		return name, nil
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("setting aside the torn end of the evidence: %w", err)
	}
	defer f.Close()
	torn, err := io.ReadAll(io.NewSectionReader(f, t.end, t.size-t.end))
	if err != nil {
		return "", fmt.Errorf("setting aside the torn end of the evidence: %w", err)
	}
	if err := writeOnce(filepath.Join(l.dir, name), torn); err != nil {
		return "", err
	}
	if err := errors.Join(syncDir(l.o.OpenFile, l.dir), f.Truncate(t.end), f.Sync()); err != nil {
		return "", fmt.Errorf("setting aside the torn end of the evidence: %w", err)
	}
	return name, nil
}

// tailOf finds the last record of a segment that is whole.
func tailOf(path string) (tail, error) {
	var t tail
	for l, err := range linesOf(path, nil) {
		if err != nil {
			return tail{}, err
		}
		t.damage = l.damage
		t.size += int64(len(l.text))
		if l.whole {
			t.size++
		}
		if l.record && l.intact {
			t.last, t.end = *l, t.size
			t.last.text, t.last.content = nil, nil // which belong to the reader
		}
	}
	return t, nil
}
