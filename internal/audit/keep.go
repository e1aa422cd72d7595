package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// What is ended is tended beside the writer, by little and little, so that nobody who
// waits for a record waits for it.
const (
	// tendEvery is how often what is ended is looked at.
	tendEvery = time.Hour
	// step is how much is read before the keeper rests, in bytes: less than a
	// millisecond's work, for which a request on the same core may wait.
	step = 32 << 10
	// restFor is how many times as long as it worked the keeper rests: it takes about a
	// tenth of a core, in which it compresses some 5 MB of records a second.
	restFor = 9
	// syncStep is how much is read between syncs, in bytes, so that the last one holds up
	// nobody who waits for his own.
	syncStep = 16 << 20
)

// keeper compresses the segments of a log that are ended, and drops those that the law
// no longer asks for.
type keeper struct {
	l *Log
	// rest is how many times as long as it worked it rests.
	rest int
	// stop ends it between two steps, with errStopped.
	stop <-chan struct{}
	// asWriter has something done that the writer alone may do.
	asWriter func(do func() error) error
	// told are the troubles that were logged, by file, so that each is once.
	told map[string]string
}

var errStopped = errors.New("tending the evidence: the gateway ends")

// unreadable is the error of a file that is read: another one may be readable.
type unreadable struct{ error }

// tend runs beside the writer until the log is closed. What is too old is not dropped
// at the start: a machine's clock may be wrong then.
func (l *Log) tend() {
	k := &keeper{l: l, rest: restFor, stop: l.finish, asWriter: l.asWriter, told: make(map[string]string)}
	again := time.NewTicker(tendEvery)
	defer again.Stop()
	k.removeUnfinished()
	for {
		k.round()
		select {
		case <-l.ended:
		case <-again.C:
			k.sweep(l.o.Now())
		case <-l.finish:
			return
		}
	}
}

// errand is what another goroutine has the writer do.
type errand struct {
	do   func() error
	done chan<- error
}

// asWriter waits until the writer has done something. It returns errStopped if the log
// is closed before.
func (l *Log) asWriter(do func() error) error {
	done := make(chan error, 1)
	select {
	case l.errands <- errand{do, done}:
		return <-done
	case <-l.finish:
		return errStopped
	}
}

// run does an errand, for the writer.
func (e errand) run(l *Log) {
	if l.trouble.Load() != nil {
		e.done <- errStillFailing
		return
	}
	l.busy.Store(l.o.Now().UnixNano())
	defer l.busy.Store(0)
	e.done <- e.do()
}

// tell logs a trouble, unless it is the one of the last time.
func (k *keeper) tell(file string, err error) {
	if text := err.Error(); k.told[file] != text {
		k.told[file] = text
		k.l.o.Log.Warn("a file of the evidence could not be compressed and stays as it is; it is tried again in an hour", "file", file, "cause", text)
	}
}

// isEnded tells a segment that the writer has left for good.
func (l *Log) isEnded(path string) bool {
	l.files.Lock()
	defer l.files.Unlock()
	return path != l.current
}

// removeUnfinished removes what a process that died was writing.
func (k *keeper) removeUnfinished() {
	names, err := filepath.Glob(filepath.Join(k.l.dir, segmentPrefix+"*"+unfinishedSuffix))
	if err != nil {
		return // not for this pattern
	}
	names = append(names, k.l.w.checkpoints.path+unfinishedSuffix)
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.tell(name, err)
		}
	}
}

// copy copies a file with rests, and syncs now and then. The error is unreadable if it
// is that of the file.
func (k *keeper) copy(to io.Writer, from *os.File, sync func() error) error {
	part := make([]byte, step)
	for unsynced := 0; ; {
		began := time.Now()
		n, err := from.Read(part)
		if n > 0 {
			if _, err := to.Write(part[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable{err}
		}
		if unsynced += n; unsynced >= syncStep {
			unsynced = 0
			if err := sync(); err != nil {
				return err
			}
		}
		if err := k.pause(time.Since(began)); err != nil {
			return err
		}
	}
}

// pause rests from work. It returns errStopped if there is no time for more.
func (k *keeper) pause(worked time.Duration) error {
	select {
	case <-k.stop:
		return errStopped
	default:
	}
	if k.rest == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(k.rest) * worked)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-k.stop:
		return errStopped
	}
}
