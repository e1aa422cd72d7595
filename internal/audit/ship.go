package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// shipper hands signed records out once they are on disk: to the file beside the
// chain, and to whatever takes them off the machine. That this fails stops nothing,
// since the chain has them too.
type shipper struct {
	path string
	open OpenFile
	// waiting are lines that are not in the file yet.
	waiting []byte
	file    File
	// size is that of the file as synced, -1 if it is not known.
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
	// shipQueue is how many times signed records may wait for their receiver.
	shipQueue = 256
	// shipPatience is how long the end of the process waits for the receiver.
	shipPatience = time.Second
)

func newShipper(dir string, open OpenFile, to io.Writer, failing func(error)) shipper {
	s := shipper{path: filepath.Join(dir, checkpointsName), open: open, size: -1}
	if to != nil {
		s.away, s.done = make(chan []byte, shipQueue), make(chan struct{})
		go func() {
			defer close(s.done)
			for lines := range s.away {
				if _, err := to.Write(lines); err != nil {
					failing(fmt.Errorf("shipping checkpoints: %w", err))
				}
			}
		}()
	}
	return s
}

func (s *shipper) add(lines []byte) {
	if len(s.waiting)+len(lines) <= maxWaiting {
		s.waiting = append(s.waiting, lines...)
	}
	if s.away == nil {
		return
	}
	select {
	case s.away <- append([]byte(nil), lines...):
	default:
		s.missed = true
	}
}

// errMissed is a receiver that is too slow.
var errMissed = errors.New("shipping checkpoints: whoever receives them does not read; some were not handed out")

// flush appends what waits to the file.
func (s *shipper) flush() error {
	if s.missed {
		s.missed = false
		return errMissed
	}
	if len(s.waiting) == 0 {
		return nil
	}
	if err := s.openFile(); err != nil {
		return fmt.Errorf("opening the file of checkpoints: %w", err)
	}
	_, err := s.file.Write(s.waiting)
	if err := errors.Join(err, s.file.Sync()); err != nil {
		_ = s.giveUp() // what went wrong before says more
		return fmt.Errorf("writing the file of checkpoints: %w", err)
	}
	s.size += int64(len(s.waiting))
	s.waiting = s.waiting[:0]
	return nil
}

// openFile opens the file, and cuts off what a crash or a full disk has left of a line:
// together with the next one it would look like tampering.
func (s *shipper) openFile() error {
	if s.file != nil {
		return nil
	}
	f, err := s.open(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && s.size < 0 {
		s.size, err = wholeLines(s.path, info.Size())
	}
	if err == nil && info.Size() > s.size {
		err = f.Truncate(s.size)
	}
	if err != nil {
		_ = f.Close() // what went wrong before says more
		return err
	}
	s.file, s.size = f, min(s.size, info.Size())
	return nil
}

// wholeLines is where the last whole line of a file ends, which is no longer than a
// record can be.
func wholeLines(path string, size int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end := make([]byte, min(size, maxLine))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return 0, err
	}
	return size - int64(len(end)-1-bytes.LastIndexByte(end, '\n')), nil
}

// giveUp closes the file, which the next flush opens anew.
func (s *shipper) giveUp() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

func (s *shipper) close() error {
	err := s.giveUp()
	if s.away == nil {
		return err
	}
	close(s.away)
	timer := time.NewTimer(shipPatience)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		err = errors.Join(err, errMissed)
	}
	return err
}

// shipSigned hands out what was signed and is on disk.
func (l *Log) shipSigned() {
	s := &l.w.checkpoints
	idle := len(s.waiting) == 0 && !s.missed
	err := s.flush()
	switch {
	case err != nil && (s.failed == nil || s.failed.Error() != err.Error()):
		s.failed = err
		l.shippingFails(err)
	case err == nil && !idle:
		s.failed = nil
		l.totals.shipping.Store(nil)
	}
}

func (l *Log) shippingFails(err error) {
	text := err.Error()
	l.totals.shipping.Store(&text)
	l.o.Log.Error("checkpoints of the evidence could not be handed out; the evidence itself has them", "cause", text)
}
