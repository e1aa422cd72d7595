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
	waiting []byte // lines that are not in the file yet

	// away goes to a goroutine of its own: who takes lines off the machine may be a
	// pipe that nobody reads. Nil if nobody does.
	away chan []byte
	done chan struct{}
}

// The ways by which checkpoints are handed out.
const (
	shipBeside = iota
	shipAway
	shipWays
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

// shipWaiting appends what waits to the file of the year beside the chain. That is opened each
// time, once a minute, so that it is never one that was renamed or removed; what a crash or a full
// disk has left of a line is cut off.
func (l *Log) shipWaiting(now time.Time) {
	s := &l.w.shipper
	if len(s.waiting) == 0 {
		return
	}
	path := filepath.Join(l.dir, checkpointsPrefix+"-"+strconv.Itoa(now.UTC().Year())+segmentSuffix)
	f, err := logfile.Open(path, 0, 0)
	if err == nil {
		_, err = f.Write(s.waiting)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		s.waiting = s.waiting[:0]
	}
	l.shipped(shipBeside, err)
}

// shipped notes how handing out by one of the ways went. The log has a line for each new reason.
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
		l.o.Log.Error("checkpoints of the evidence could not be handed out; the evidence itself has them", "cause", text)
	}
}

// close waits for the receiver for some time.
func (s *shipper) close(patience time.Duration) error {
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
