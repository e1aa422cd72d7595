package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// tail is how a segment ends.
type tail struct {
	last  line   // the last whole record, if found
	end   int64  // where it ends, its line break included
	found bool   // there is one
	size  int64  // of the lines that were read
	text  []byte // the last record's content, a copy
	// damage is why a compressed one cannot be read to its end, nil if it can.
	damage *damage
}

// recover finds where the chain ended, sets aside what stands behind its last whole
// record, and writes the record of the start, with one of the gap before it unless the
// process before ended in order.
func (l *Log) recover() error {
	segments, err := segmentsOf(l.dir)
	if err != nil {
		return err
	}
	now := l.o.Now()
	var aside []string
	var last tail
	for i := len(segments) - 1; i >= 0; i-- {
		if last, err = tailOf(segments[i].path); err != nil {
			return err
		}
		if last.size > last.end || last.damage != nil {
			name, err := l.setAside(segments[i], last, now)
			if err != nil {
				return err
			}
			aside = append(aside, name)
		}
		if last.found {
			l.w.at = link{last.last.seq, last.last.hash}
			if s := segments[i]; !s.compressed && !s.twin && last.end < l.o.SegmentSize && sameDay(s.day, now) {
				l.w.path, l.w.size, l.w.day = s.path, last.end, s.day
				l.setCurrent(s.path)
			}
			break
		}
	}
	if len(aside) > 0 || last.found && last.last.kind != KindStop {
		if err := l.writeGap(now, &last, aside); err != nil {
			return err
		}
	}
	if err := l.commitSigned(KindStart, now, func(b []byte) []byte {
		b = appendText(b, "version", l.o.Version)
		b = appendText(b, "key", Fingerprint(l.key.Public()))
		return appendText(b, "publicKey", l.key.publicText())
	}); err != nil {
		return err
	}
	l.shipSigned()
	return nil
}

func (l *Log) writeGap(now time.Time, last *tail, aside []string) error {
	next := l.w.at
	b := next.begin(nil, KindGap, now)
	b = appendText(b, "reason", "the process before did not end in order: reads of its last second may be missing, and of writes without an outcome it is not known what became of them")
	if last.found {
		b = appendText(b, "since", last.last.time)
	}
	b = appendTexts(b, "setAside", aside)
	b = next.end(b, 0, nil)
	l.o.Log.Warn("the process before did not end in order: up to a second of reads may be missing in the evidence, which says so", "directory", l.dir, "setAside", aside)
	return l.commit(b, next, now)
}

// setAside copies what stands behind the last whole record of a segment into a file of
// its own, and cuts it off. A compressed file stays as it is, for whoever can make
// something of it: under its name, unless nothing in it is a record and the chain goes
// on where it began.
func (l *Log) setAside(s segment, t tail, now time.Time) (string, error) {
	name := fmt.Sprintf("torn-%s-%012d.txt", now.UTC().Format("20060102T150405.000000000"), s.first)
	if s.compressed {
		if t.found {
			return filepath.Base(s.path), nil
		}
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

// tailOf finds the last record of a segment that is whole. Of a compressed one no more
// is read than may be wrong in it (rubbish): its size says nothing of what it becomes.
func tailOf(path string) (tail, error) {
	f, err := openLines(path)
	if err != nil {
		return tail{}, fmt.Errorf("reading the end of the evidence: %w", err)
	}
	defer f.Close()
	packed, compressed := f.(*inflater)
	var t tail
	var wrong rubbish
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		text, err := readLine(r)
		t.size += int64(len(text))
		if errors.As(err, &t.damage) {
			return t, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return tail{}, fmt.Errorf("reading the end of the evidence: %w", err)
		}
		if whole, ok := bytes.CutSuffix(text, []byte{'\n'}); ok {
			if l, err := parseLine(whole); err == nil && l.intact() && (!compressed || l.seq > t.last.seq) {
				t.text = append(t.text[:0], l.content...)
				l.content = t.text
				t.last, t.found, t.end = l, true, t.size
			}
		}
		if compressed && t.end != t.size && wrong.add(text) != nil {
			t.damage = packed.damaged(errRubbish)
			return t, nil
		}
		if err != nil {
			return t, nil
		}
	}
}
