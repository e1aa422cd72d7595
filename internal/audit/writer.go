package audit

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// writer is what the one goroutine that writes knows. The chain as it is on disk moves
// on only when a sync has succeeded: after a failure the file is cut back to it, and
// what came after is written once more, under the same numbers.
type writer struct {
	file File   // of the segment, nil if it is not open
	path string // of the segment, empty if none is begun
	day  time.Time
	size int64 // of the segment, as synced
	// at is the last record that is on disk, signed the number of the last one that is signed.
	at     link
	signed uint64
	// gap is to be said in the chain before anything else, nil if nothing is.
	gap *gap
	buf []byte
	// lastSigned is when the last signature was made, lastLook when the files were last
	// looked at, lastTry when writing failed last, shared when a sync last served several writes.
	lastSigned, lastLook, lastTry, shared time.Time
	shipper                               shipper
	failure                               error // of the end
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			if l.o.Now().Sub(l.w.shared) < gatherFor {
				time.Sleep(gather)
			}
			_ = l.turn() // who waits for it is told
		case <-tick.C:
			_ = l.turn()
		case <-l.open.Done():
			l.end()
			return
		}
	}
}

var errStillFailing = errors.New("writing the evidence: the last try failed a moment ago")

// turn writes what waits, and tells those who wait for it. Shortly after a failure it does
// nothing but say so, unless it is the last one.
func (l *Log) turn() error {
	w := &l.w
	l.mu.Lock()
	b, lost, failing := l.batch, l.lost, l.failing
	waiting := l.pending // what is added meanwhile comes behind it, and does not move it
	l.batch = nil
	l.mu.Unlock()

	now, err := l.o.Now(), errStillFailing
	if !failing.is() || now.Sub(w.lastTry) >= retryEvery || l.open.Err() != nil {
		err = l.write(now, waiting, lost, failing)
		if err != nil {
			// The next try opens the file anew and cuts it back: after a sync that failed, what
			// the system says of the file is not to be trusted.
			w.giveUp()
			w.lastTry = now
			l.inTrouble(err)
		}
	}
	if b != nil {
		if b.waiting > 1 {
			w.shared = now
		}
		b.err = err
		close(b.done)
	}
	return err
}

// write makes lines of what waits and has them on disk. What is due besides, a signature,
// another segment, is done on the way.
func (l *Log) write(now time.Time, waiting []entry, lost losses, failing trouble) error {
	w := &l.w
	unsaid := lost.gap(failing)
	due := w.at.seq > w.signed && now.Sub(w.lastSigned) >= l.o.CheckpointEvery
	look := now.Sub(w.lastLook) >= l.o.CheckpointEvery
	if len(waiting) == 0 && unsaid == nil && !due && !failing.is() &&
		(!look || l.inPlace(now) == nil && w.shipper.inPlace() == nil) {
		return nil
	}
	late := time.AfterFunc(l.o.patience, func() { l.inTrouble(l.silence()) })
	defer late.Stop()
	if err := l.openSegment(now); err != nil {
		return err
	}
	d := l.draft()
	if w.size == 0 {
		l.put(d, KindSegment, now, l.header(now, waiting))
	}
	for _, g := range [...]*gap{w.gap, unsaid} {
		if g != nil {
			l.put(d, KindGap, now, g)
		}
	}
	for i := range waiting {
		l.put(d, waiting[i].kind, waiting[i].at, waiting[i].about)
	}
	if due && d.signed() < d.end.seq { // the last one that waited may be the signed end
		l.put(d, KindCheckpoint, now, &signedFields{Replica: l.o.Replica})
	}
	if err := l.commit(now, d); err != nil {
		return err
	}
	if w.gap != nil || unsaid != nil {
		w.gap = nil
		l.note(func(s *Status) { s.LastGap = now })
	}
	l.settle(len(waiting), lost)
	return nil
}

// draft are records that follow the end of the chain and are not on disk yet.
type draft struct {
	text []byte
	end  link         // the last of them
	made []checkpoint // those that are signed
}

func (l *Log) draft() *draft { return &draft{text: l.w.buf[:0], end: l.w.at} }

// put adds a record to a draft. That of a signed kind is signed.
func (l *Log) put(d *draft, kind Kind, at time.Time, about any) {
	d.text = d.end.append(d.text, kind, at, about)
	if kind.signed() {
		c := checkpoint{replica: l.o.Replica, link: d.end, time: at.UTC().Format(time.RFC3339Nano)}
		d.text = appendSignature(d.text, l.signer.sign(&c))
		d.made = append(d.made, c)
	}
	d.text = appendEnd(d.text)
}

// signed is the number of the last record that is signed, 0 if none is.
func (d *draft) signed() uint64 {
	if len(d.made) == 0 {
		return 0
	}
	return d.made[len(d.made)-1].seq
}

// commit appends lines to the open segment and has them on disk; the chain then ends with them,
// and the notes of those that are signed may be handed out.
func (l *Log) commit(now time.Time, d *draft) error {
	w := &l.w
	if _, err := w.file.Write(d.text); err != nil {
		// A full disk has taken half a line. What is cut off here is cut off again, and
		// synced, before the next try; now it is for those who verify meanwhile.
		_ = w.file.Truncate(w.size)
		return fmt.Errorf("writing the evidence: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("syncing the evidence: %w", err)
	}
	w.size += int64(len(d.text))
	w.at = d.end
	if w.buf = d.text; cap(w.buf) > 4<<20 {
		w.buf = nil // after a flood
	}
	for _, c := range d.made {
		w.signed, w.lastSigned = c.seq, now
		l.ship(now, c.line())
		select {
		case l.notes <- c:
		default: // the authority has not answered for the one before
		}
	}
	l.note(func(s *Status) { s.Sequence, s.Signed = w.at.seq, w.signed })
	return nil
}

// settle drops what is on disk. Nothing of a request outlives its record.
func (l *Log) settle(n int, lost losses) {
	l.mu.Lock()
	if l.pending = slices.Delete(l.pending, 0, n); len(l.pending) == 0 && cap(l.pending) > 2*flushAt {
		l.pending = nil // after a flood
	}
	l.lost.reads -= lost.reads
	l.lost.writes -= lost.writes
	l.lost.events -= lost.events
	l.status.Written += uint64(n)
	failed := l.failing
	l.failing = trouble{}
	l.mu.Unlock()
	if failed.is() {
		l.o.Log.Info("the evidence is written again", "directory", l.dir, "after",
			l.o.Now().Sub(failed.since).Round(time.Millisecond).String())
	}
}

// end writes what waits and signs the orderly end.
func (l *Log) end() {
	l.stop()
	l.mu.Lock()
	l.pending = append(l.pending, l.signed(KindStop, signedFields{}))
	l.mu.Unlock()
	w := &l.w
	failure := l.turn()
	if failure != nil {
		l.o.Log.Error("records of the evidence are lost with the process", "records", len(l.pending)-1, "cause",
			failure.Error())
	}
	if w.file != nil {
		failure = errors.Join(failure, w.file.Close())
	}
	l.background.Wait() // it works under the lock of the directory as well
	w.failure = errors.Join(failure, w.shipper.close(l.o.patience/5), l.lock.Close())
}

// Close writes what waits, signs the end and gives the chain up. What cannot be
// written within some seconds is lost, and the next start says so.
func (l *Log) Close() error {
	var err error
	l.closeOnce.Do(func() {
		l.stop()
		timer := time.NewTimer(l.o.patience)
		defer timer.Stop()
		select {
		case <-l.done:
			err = l.w.failure
		case <-timer.C:
			err = fmt.Errorf("closing the evidence: %w", l.silence())
		}
	})
	return err
}

// gap is what a chain says of records that were lost, nil if none were.
func (l losses) gap(failing trouble) *gap {
	if l == (losses{}) {
		return nil
	}
	g := &gap{Reason: "more was to be recorded than the queue holds",
		LostReads: l.reads, LostWrites: l.writes, LostEvents: l.events}
	if failing.is() {
		g.Reason = "the evidence could not be written: " + failing.cause
		g.Since = failing.since.UTC().Format(time.RFC3339Nano)
	}
	return g
}
