package audit

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// A segment that is ended is compressed (gzip, RFC 1952) to about a seventh. The
// plain file goes only when the compressed one is on disk under its name and reads as
// the same: whenever the process dies, one whole copy is there, and the next start
// finishes what was begun. Hashes are over the lines, so the chain does not notice.
const (
	// compressedSuffix follows the name of a segment, unfinishedSuffix that of a
	// compressed one that is being written.
	compressedSuffix = ".gz"
	unfinishedSuffix = ".tmp"
)

var errDiffer = errors.New("the file and its compressed form hold different records: both are left, and gateway audit verify shows which one is right")

// round compresses what is ended, the oldest first. What cannot be written ends it;
// the plain files are as good as before, and the next round tries again.
func (k *keeper) round() {
	segments, err := segmentsOf(k.l.dir)
	if err != nil {
		k.tell(k.l.dir, err)
		return
	}
	for _, s := range segments {
		if s.compressed || !k.l.isEnded(s.path) {
			continue
		}
		err := k.compress(s)
		switch {
		case err == nil:
			delete(k.told, s.path)
			continue
		case errors.Is(err, errStopped):
			return
		}
		k.tell(s.path, err)
		if _, ok := errors.AsType[unreadable](err); !ok && !errors.Is(err, errDiffer) {
			return
		}
	}
}

// compress puts the compressed form of a segment into its place.
func (k *keeper) compress(s segment) error {
	target := s.path + compressedSuffix
	if s.twin { // a process died between its last two steps
		same, err := k.sameLines(s.path, target)
		switch {
		case err == nil && same:
			return k.replace(s.path, "", target)
		case err == nil:
			return errDiffer
		case !errors.As(err, new(*damage)):
			return err
		}
	}
	unfinished := target + unfinishedSuffix
	err := k.write(s.path, unfinished)
	if err == nil {
		var same bool
		if same, err = k.sameLines(s.path, unfinished); err == nil && !same {
			err = errors.New("compressing the evidence: what was written does not read as the same")
		}
	}
	if err == nil {
		err = k.replace(s.path, unfinished, target)
	}
	if err != nil {
		_ = os.Remove(unfinished) // what went wrong before says more; the next try writes over it
	}
	return err
}

// write compresses one file into another and has that on disk, by the name that it
// has for now.
func (k *keeper) write(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("compressing the evidence: %w", unreadable{err})
	}
	defer in.Close()
	out, err := k.l.o.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	defer func() {
		if failed := out.Close(); err == nil && failed != nil {
			err = fmt.Errorf("compressing the evidence: %w", failed)
		}
	}()
	buffer := bufio.NewWriterSize(out, step)
	z := gzip.NewWriter(buffer)
	if err := k.copy(z, in, out.Sync); err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	if err := errors.Join(z.Close(), buffer.Flush(), out.Sync()); err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	return nil
}

// replace gives the compressed file its name, unless it has it, and removes the plain
// one once that is on disk. A segment that was dropped meanwhile does not come back.
func (k *keeper) replace(plain, unfinished, target string) error {
	k.l.files.Lock()
	defer k.l.files.Unlock()
	if _, err := os.Lstat(plain); err != nil {
		if errors.Is(err, fs.ErrNotExist) && unfinished != "" {
			return os.Remove(unfinished)
		}
		return err
	}
	if unfinished != "" {
		if err := os.Rename(unfinished, target); err != nil {
			return fmt.Errorf("compressing the evidence: %w", err)
		}
	}
	err := syncDir(k.l.o.OpenFile, k.l.dir)
	if err == nil {
		err = os.Remove(plain)
	}
	if err == nil {
		err = syncDir(k.l.o.OpenFile, k.l.dir)
	}
	if err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	return nil
}

// sameLines compares a file and a compressed one. The error is a *damage if the
// compressed one is.
func (k *keeper) sameLines(plain, compressed string) (bool, error) {
	a, err := os.Open(plain)
	if err != nil {
		return false, unreadable{fmt.Errorf("compressing the evidence: %w", err)}
	}
	defer a.Close()
	b, err := newInflater(compressed)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return sameContent(a, b, k.pause)
}

// sameContent compares two readers, with a pause after each step.
func sameContent(a, b io.Reader, pause func(worked time.Duration) error) (bool, error) {
	one, other := make([]byte, step), make([]byte, step)
	for {
		began := time.Now()
		n, errOne := io.ReadFull(a, one)
		if errOne != nil && !isEnd(errOne) {
			return false, unreadable{fmt.Errorf("reading the evidence: %w", errOne)}
		}
		m, errOther := io.ReadFull(b, other)
		if errOther != nil && !isEnd(errOther) {
			return false, errOther
		}
		if string(one[:n]) != string(other[:m]) || isEnd(errOne) != isEnd(errOther) {
			return false, nil
		}
		if isEnd(errOne) {
			return true, nil
		}
		if err := pause(time.Since(began)); err != nil {
			return false, err
		}
	}
}

// isEnd tells the two ends that io.ReadFull knows.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
