package audit

import (
	"compress/gzip"
	"context"
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

// dropEvery is how often segments are looked for whose legal end is past.
const dropEvery = time.Hour

// compressAndDrop compresses the segments that are ended (gzip, RFC 1952), and drops those whose legal
// end is past. It runs beside the writer until the log is closed, on one file at a time, so that no
// record waits for it. Nothing is dropped at the start: a machine's clock may be wrong then.
func (l *Log) compressAndDrop() {
	again := time.NewTicker(dropEvery)
	defer again.Stop()
	for {
		l.compressEnded()
		select {
		case <-l.begun:
		case <-again.C:
			if _, err := l.drop(l.o.Now()); err != nil && l.open.Err() == nil {
				l.o.Log.Error("an old file of the evidence could not be dropped; it is tried again in an hour",
					"cause", err.Error())
			}
		case <-l.open.Done():
			return
		}
	}
}

// ended are the segments that the writer has left for good: all but the newest.
func (f *chainFiles) ended() []segment { return f.segments[:max(len(f.segments)-1, 0)] }

// compressEnded compresses what is ended, the oldest first. What fails stays as it is, and
// the next round tries again.
func (l *Log) compressEnded() {
	files, err := filesOf(l.dir)
	for _, s := range files.ended() {
		if l.open.Err() != nil {
			return
		}
		if !s.compressed {
			err = errors.Join(err, l.compress(s.path))
		}
	}
	if err != nil && l.open.Err() == nil {
		l.o.Log.Warn("files of the evidence could not be compressed and stay as they are; it is tried again in an hour",
			"directory", l.dir, "cause", err.Error())
	}
}

// compress puts the compressed form of a file into its place: it is written, synced and
// renamed, and then the plain file goes. Whenever the process ends, the plain file or a whole
// compressed one is there. While both are, the plain one counts, and the next round compresses
// it once more. Hashes are over the lines, so the chain does not notice.
func (l *Log) compress(plain string) error {
	compressed := plain + compressedSuffix
	unfinished := compressed + unfinishedSuffix
	err := l.zip(plain, unfinished)
	if err == nil {
		err = os.Rename(unfinished, compressed)
	}
	if err != nil {
		_ = os.Remove(unfinished) // what went wrong before says more; the next try writes over it
		return err
	}
	if err := syncDir(l.o.OpenFile, l.dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(plain), syncDir(l.o.OpenFile, l.dir))
}

// zip writes the compressed form of a file into another, and has that on disk. A gateway that
// ends does not wait for a large file.
func (l *Log) zip(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	defer context.AfterFunc(l.open, func() { _ = in.Close() })()
	out, err := l.o.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close()); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// drop removes the segments whose legal end is past, the oldest first, and the files
// of checkpoints of those years; it gives the number of segments.
func (l *Log) drop(now time.Time) (dropped int, err error) {
	files, err := filesOf(l.dir)
	if err != nil {
		return 0, err
	}
	for _, s := range files.ended() {
		if now.Before(legalEnd(s.day, l.o.KeepYears)) {
			break
		}
		t, err := tailOf(s.path)
		switch {
		case err != nil:
			return dropped, err
		case t.size == 0 && t.damage == "": // a process ended before its first record
		case t.last.seq == 0 || t.damage != "":
			return dropped, fmt.Errorf("dropping %s: it holds no whole record, or cannot be read to its end: look at it "+
				"with gateway audit verify, and take it away", filepath.Base(s.path))
		default:
			// The day of the name is that of the clock when it was begun, which may have been wrong.
			at, err := time.Parse(time.RFC3339Nano, t.last.time)
			if err != nil || now.Before(legalEnd(at, l.o.KeepYears)) {
				return dropped, l.dropCheckpoints(files.checkpoints, now)
			}
			if err := l.signDrop(s, &t.last); err != nil {
				return dropped, err
			}
			dropped++
			l.o.Log.Info("a file of the evidence is dropped: its legal end is past", "file", filepath.Base(s.path))
		}
		if err := l.remove(s); err != nil {
			return dropped, fmt.Errorf("dropping a file of the evidence: %w", err)
		}
	}
	return dropped, l.dropCheckpoints(files.checkpoints, now)
}

// signDrop has the record of a drop, which is signed, on disk before the file goes: it holds where
// the segment ended, and what is left is verified from there.
func (l *Log) signDrop(s segment, last *line) error {
	b, _ := l.add(l.signed(KindDropped, signedFields{File: filepath.Base(s.path), First: s.first, Last: last.seq,
		LastHash: hex.EncodeToString(last.hash[:]), LastTime: last.time}), true)
	if b == nil {
		return errors.New("dropping a file of the evidence: its record cannot be written now")
	}
	<-b.done
	return b.err
}

// remove removes a segment in all its forms.
func (l *Log) remove(s segment) error {
	plain := s.plain()
	for _, path := range []string{plain, plain + compressedSuffix, plain + compressedSuffix + unfinishedSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(l.o.OpenFile, l.dir)
}

// dropCheckpoints removes the files of years that are over: who has the later ones has what
// they said. That of format 1 names no year, grows no more and stays.
func (l *Log) dropCheckpoints(files []string, now time.Time) error {
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), segmentSuffix)
		year, err := time.Parse("2006", strings.TrimPrefix(name, checkpointsPrefix+"-"))
		if err != nil || now.Before(legalEnd(year, l.o.KeepYears)) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("dropping checkpoints: %w", err)
		}
	}
	return nil
}

// legalEnd is when a record of an instant need no longer be kept: the first of January
// after it and years more. A day is added, since the years begin earlier in Brussels
// than the days of the segments.
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
	go l.run()
	dropped, err = l.drop(l.o.Now())
	l.compressEnded()
	return dropped, errors.Join(err, l.Close())
}
