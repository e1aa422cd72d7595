package audit

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	// compressStep is how much is compressed before the compressor rests, in bytes:
	// less than a millisecond's work, for which a request on the same core may wait.
	compressStep = 32 << 10
	// restFor is how many times as long as it worked the compressor rests: it takes
	// about a tenth of a core, in which it does some 5 MB of records a second.
	restFor = 9
	// syncStep is how much is compressed between syncs, in bytes, so that the last one
	// holds up nobody who waits for his own.
	syncStep = 16 << 20
)

// compressor compresses the segments of a log that are ended.
type compressor struct {
	l *Log
	// rest is how many times as long as it worked it rests.
	rest int
	// stop ends it between two steps, with errStopped.
	stop <-chan struct{}
	// told are the troubles that were logged, by file, so that each is once.
	told map[string]string
}

var (
	errStopped = errors.New("compressing the evidence: the gateway ends")
	errDiffer  = errors.New("the file and its compressed form hold different records: both are left, and gateway audit verify shows which one is right")
)

// unreadable is a segment that cannot be read: the next one may be.
type unreadable struct{ error }

// compressEnded runs beside the writer until the log is closed.
func (l *Log) compressEnded() {
	c := &compressor{l: l, rest: restFor, stop: l.finish, told: make(map[string]string)}
	again := time.NewTicker(sweepEvery)
	defer again.Stop()
	c.removeUnfinished()
	for {
		c.round()
		select {
		case <-l.ended:
		case <-again.C:
		case <-l.finish:
			return
		}
	}
}

// round compresses what is ended, the oldest first. What cannot be written ends it;
// the plain files are as good as before, and the next round tries again.
func (c *compressor) round() {
	segments, err := segmentsOf(c.l.dir)
	if err != nil {
		c.tell(c.l.dir, err)
		return
	}
	for _, s := range segments {
		if s.compressed || !c.l.isEnded(s.path) {
			continue
		}
		err := c.compress(s)
		switch {
		case err == nil:
			delete(c.told, s.path)
			continue
		case errors.Is(err, errStopped):
			return
		}
		c.tell(s.path, err)
		if _, ok := errors.AsType[unreadable](err); !ok && !errors.Is(err, errDiffer) {
			return
		}
	}
}

func (c *compressor) tell(file string, err error) {
	if text := err.Error(); c.told[file] != text {
		c.told[file] = text
		c.l.o.Log.Warn("a file of the evidence could not be compressed and stays as it is; it is tried again in an hour", "file", file, "cause", text)
	}
}

// isEnded tells a segment that the writer has left for good.
func (l *Log) isEnded(path string) bool {
	l.files.Lock()
	defer l.files.Unlock()
	return path != l.current
}

// removeUnfinished removes what a process that died was writing.
func (c *compressor) removeUnfinished() {
	names, err := filepath.Glob(filepath.Join(c.l.dir, segmentPrefix+"*"+unfinishedSuffix))
	if err != nil {
		return // not for this pattern
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			c.tell(name, err)
		}
	}
}

// compress puts the compressed form of a segment into its place.
func (c *compressor) compress(s segment) error {
	target := s.path + compressedSuffix
	if s.twin { // a process died between its last two steps
		same, err := c.sameLines(s.path, target)
		switch {
		case err == nil && same:
			return c.replace(s.path, "", target)
		case err == nil:
			return errDiffer
		case !errors.As(err, new(*damage)):
			return err
		}
	}
	unfinished := target + unfinishedSuffix
	err := c.write(s.path, unfinished)
	if err == nil {
		var same bool
		if same, err = c.sameLines(s.path, unfinished); err == nil && !same {
			err = errors.New("compressing the evidence: what was written does not read as the same")
		}
	}
	if err == nil {
		err = c.replace(s.path, unfinished, target)
	}
	if err != nil {
		_ = os.Remove(unfinished) // what went wrong before says more; the next try writes over it
	}
	return err
}

// write compresses one file into another and has that on disk, by the name that it
// has for now.
func (c *compressor) write(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return unreadable{fmt.Errorf("compressing the evidence: %w", err)}
	}
	defer in.Close()
	out, err := c.l.o.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	defer func() {
		if failed := out.Close(); err == nil && failed != nil {
			err = fmt.Errorf("compressing the evidence: %w", failed)
		}
	}()
	buffer := bufio.NewWriterSize(out, compressStep)
	z := gzip.NewWriter(buffer)
	step := make([]byte, compressStep)
	for unsynced := 0; ; {
		began := time.Now()
		n, err := in.Read(step)
		if n > 0 {
			if _, err := z.Write(step[:n]); err != nil {
				return fmt.Errorf("compressing the evidence: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unreadable{fmt.Errorf("compressing the evidence: %w", err)}
		}
		if unsynced += n; unsynced >= syncStep {
			unsynced = 0
			if err := out.Sync(); err != nil {
				return fmt.Errorf("compressing the evidence: %w", err)
			}
		}
		if err := c.pause(time.Since(began)); err != nil {
			return err
		}
	}
	if err := errors.Join(z.Close(), buffer.Flush(), out.Sync()); err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	return nil
}

// pause rests from work. It returns errStopped if there is no time for more.
func (c *compressor) pause(worked time.Duration) error {
	select {
	case <-c.stop:
		return errStopped
	default:
	}
	if c.rest == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(c.rest) * worked)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.stop:
		return errStopped
	}
}

// replace gives the compressed file its name, unless it has it, and removes the plain
// one once that is on disk. A segment that was dropped meanwhile does not come back.
func (c *compressor) replace(plain, unfinished, target string) error {
	c.l.files.Lock()
	defer c.l.files.Unlock()
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
	err := syncDir(c.l.o.OpenFile, c.l.dir)
	if err == nil {
		err = os.Remove(plain)
	}
	if err == nil {
		err = syncDir(c.l.o.OpenFile, c.l.dir)
	}
	if err != nil {
		return fmt.Errorf("compressing the evidence: %w", err)
	}
	return nil
}

// sameLines compares a file and a compressed one. The error is a *damage if the
// compressed one is.
func (c *compressor) sameLines(plain, compressed string) (bool, error) {
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
	return sameContent(a, b, c.pause)
}

// sameContent compares two readers, with a pause after each step.
func sameContent(a, b io.Reader, pause func(worked time.Duration) error) (bool, error) {
	one, other := make([]byte, compressStep), make([]byte, compressStep)
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
