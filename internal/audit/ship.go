package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"ebox-gateway/internal/logfile"
)

// shipper hands checkpoints out once the records that they sign are on disk: to the file
// beside the chain, and to whatever takes them off the machine. That this fails stops
// nothing, since the chain has the signatures too.
type shipper struct {
	// waiting are lines that are not in the file yet.
	waiting []byte
	// path and size are those of the file as it was left.
	path string
	size int64

	// away goes to a goroutine of its own: who takes lines off the machine may be a
	// pipe that nobody reads. Nil if nobody does.
	away   chan []byte
	done   chan struct{}
	missed bool
	failed error
}

const (
	// maxWaiting bounds what waits for the file, in bytes.
	maxWaiting = 1 << 20
	// shipQueue is how many checkpoints may wait for their receiver.
	shipQueue = 256
	// shipPatience is how long the end of the process waits for the receiver.
	shipPatience = time.Second
)

func newShipper(l *Log) shipper {
	var s shipper
	if to := l.o.Ship; to != nil {
		s.away, s.done = make(chan []byte, shipQueue), make(chan struct{})
		go func() {
			defer close(s.done)
			for line := range s.away {
				if _, err := to.Write(line); err != nil {
					l.shippingFails(fmt.Errorf("shipping checkpoints: %w", err))
				}
			}
		}()
	}
	return s
}

func (s *shipper) add(line []byte) {
	if len(s.waiting)+len(line) <= maxWaiting {
		s.waiting = append(s.waiting, line...)
	}
	if s.away == nil {
		return
	}
	select {
	case s.away <- line:
	default:
		s.missed = true
	}
}

// errMissed is a receiver that is too slow.
var errMissed = errors.New("shipping checkpoints: whoever receives them does not read; some were not handed out")

// flush appends what waits to the file of the year beside the chain. It is opened each time,
// once a minute: so it is never one that was renamed or removed.
func (l *Log) flush(now time.Time) (err error) {
	s := &l.w.ship
	if s.missed {
		s.missed = false
		return errMissed
	}
	if len(s.waiting) == 0 {
		return nil
	}
	path := filepath.Join(l.dir, checkpointsPrefix+"-"+strconv.Itoa(now.UTC().Year())+segmentSuffix)
	f, err := l.o.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the file of checkpoints: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := wholeLines(f, path)
	if err != nil {
		return fmt.Errorf("opening the file of checkpoints: %w", err)
	}
	if s.path == path && size < s.size {
		l.isMissing(fmt.Errorf("the file %s was removed, replaced or cut while the gateway ran", filepath.Base(path)))
	}
	s.path, s.size = path, size
	if _, err := f.Write(s.waiting); err != nil {
		return fmt.Errorf("writing the file of checkpoints: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing the file of checkpoints: %w", err)
	}
	s.size += int64(len(s.waiting))
	s.waiting = s.waiting[:0]
	return nil
}

// wholeLines cuts off what a crash or a full disk has left of a line, which together with
// the next one would look like tampering, and gives the size.
func wholeLines(f File, path string) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	in, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	end, err := logfile.WholeLines(in, info.Size())
	if err == nil && end < info.Size() {
		err = f.Truncate(end)
	}
	return end, err
}

func (s *shipper) close() error {
	if s.away == nil {
		return nil
	}
	close(s.away)
	timer := time.NewTimer(shipPatience)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		return errMissed
	}
}

// shipSigned hands out what was signed and is on disk.
func (l *Log) shipSigned(now time.Time) {
	s := &l.w.ship
	idle := len(s.waiting) == 0 && !s.missed
	err := l.flush(now)
	switch {
	case err != nil && (s.failed == nil || s.failed.Error() != err.Error()):
		s.failed = err
		l.shippingFails(err)
	case err == nil && !idle:
		s.failed = nil
		l.note(func(s *Status) { s.Shipping = "" })
	}
}

func (l *Log) shippingFails(err error) {
	text := err.Error()
	l.note(func(s *Status) { s.Shipping = text })
	l.o.Log.Error("checkpoints of the evidence could not be handed out; the evidence itself has them", "cause", text)
}
