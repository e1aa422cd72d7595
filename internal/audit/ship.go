package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"ebox-gateway/internal/logfile"
)

// shipper hands checkpoints out once the records that they sign are on disk: to the file
// beside the chain, and to whatever takes them off the machine. That this fails stops
// nothing, since the chain has the signatures too.
type shipper struct {
	file *logfile.File // of the year; nil before the first line, and where it was taken away
	path string        // of it

	// away goes to a goroutine of its own: who takes lines off the machine may be a
	// pipe that nobody reads. Nil if nobody does.
	away chan []byte
	done chan struct{}
}

// The reasons for which checkpoints are not where they should be: the file beside the chain
// cannot be written, was taken away, or who takes them off the machine does not.
const (
	shipBeside = iota
	shipTaken
	shipAway
	shipReasons
)

// shipQueue is how many checkpoints may wait for their receiver.
const shipQueue = 256

func newShipper(l *Log) shipper {
	var s shipper
	if to := l.o.Ship; to != nil {
		s.away, s.done = make(chan []byte, shipQueue), make(chan struct{})
		go func() {
			defer close(s.done)
			for line := range s.away {
				_, err := to.Write(line)
				l.shipped(shipAway, err)
			}
		}()
	}
	return s
}

// errMissed is a receiver that is too slow.
var errMissed = errors.New("whoever receives them does not read; some were not handed out")

// ship gives a checkpoint to the file beside the chain and to the receiver. If one of them does not take
// it, it is in the chain all the same.
func (l *Log) ship(now time.Time, line []byte) {
	s := &l.w.shipper
	l.shipped(shipBeside, s.write(filepath.Join(l.dir,
		checkpointsPrefix+"-"+strconv.Itoa(now.UTC().Year())+segmentSuffix), line))
	if s.away == nil {
		return
	}
	select {
	case s.away <- line:
	default:
		l.shipped(shipAway, errMissed)
	}
}

// write appends a line to the file of a year.
func (s *shipper) write(path string, line []byte) (err error) {
	if s.path != path {
		s.closeFile()
		s.path = path
		if s.file, err = logfile.Open(path, 0, 0); err != nil {
			return err // and writing tries again
		}
	}
	_, err = s.file.Write(line)
	return err
}

// closeFile closes the file beside the chain. The next line opens it anew.
func (s *shipper) closeFile() {
	_ = s.file.Close() // nothing of it is buffered
	s.file, s.path = nil, ""
}

// inPlace looks whether the file beside the chain is the one that was written to.
func (s *shipper) inPlace() error {
	if s.file == nil || s.file.InPlace() {
		return nil
	}
	return fmt.Errorf("the file %s was removed, replaced or cut while the gateway wrote to it: put it back from a copy, "+
		"find out who took it, and restart the gateway", filepath.Base(s.path))
}

// shipped notes how handing out went, by one of its ways. The log has a line for each new reason.
func (l *Log) shipped(way int, err error) {
	text := ""
	if err != nil {
		text = fmt.Sprintf("handing out checkpoints: %v", err)
	}
	l.mu.Lock()
	isNew := l.shipping[way] != text
	l.shipping[way] = text
	l.mu.Unlock()
	if isNew && err != nil {
		l.o.Log.Error("checkpoints are not where they should be; the evidence itself has them", "cause", text)
	}
}

// close waits for the receiver for some time.
func (s *shipper) close(patience time.Duration) error {
	s.closeFile()
	if s.away == nil {
		return nil
	}
	close(s.away)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("handing out checkpoints: %w", errMissed)
	}
}
