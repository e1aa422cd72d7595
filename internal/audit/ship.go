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
	waiting []byte        // lines that are not in the file yet
	file    *logfile.File // of the year; nil before the first line and after a failure
	path    string        // of it

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

const (
	// maxWaiting bounds what waits for the file, in bytes.
	maxWaiting = 1 << 20
	// shipQueue is how many checkpoints may wait for their receiver.
	shipQueue = 256
)

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

// ship hands out a checkpoint. The file beside the chain gets it with shipWaiting.
func (l *Log) ship(line []byte) {
	s := &l.w.shipper
	if len(s.waiting)+len(line) <= maxWaiting {
		s.waiting = append(s.waiting, line...)
	}
	if s.away == nil {
		return
	}
	select {
	case s.away <- line:
	default:
		l.shipped(shipAway, errMissed)
	}
}

// shipWaiting appends what waits to the file of the year beside the chain.
func (l *Log) shipWaiting(now time.Time) {
	s := &l.w.shipper
	if len(s.waiting) == 0 {
		return
	}
	err := s.open(filepath.Join(l.dir, checkpointsPrefix+"-"+strconv.Itoa(now.UTC().Year())+segmentSuffix))
	if err == nil {
		_, err = s.file.Write(s.waiting)
	}
	if err == nil {
		s.waiting = s.waiting[:0]
	} else {
		s.giveUp()
	}
	l.shipped(shipBeside, err)
}

// open opens the file of a year, and cuts off what a crash or a full disk has left of a line.
func (s *shipper) open(path string) (err error) {
	if s.file != nil && s.path == path {
		return nil
	}
	s.giveUp()
	s.file, err = logfile.Open(path, 0, 0)
	s.path = path
	return err
}

// giveUp closes the file beside the chain. The next line opens it anew.
func (s *shipper) giveUp() {
	_ = s.file.Close() // nothing of it is buffered
	s.file = nil
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
	s.giveUp()
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
