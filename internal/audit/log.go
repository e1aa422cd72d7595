package audit

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// Options are what a Log is made of. What is zero gets the default that is named.
type Options struct {
	// Audit is what the configuration says. Dir and Replica are required; sizes, times and years that are 0 are
	// those of the configuration's default, but for StopAfter.
	config.Audit
	// Ship receives every checkpoint, a line at a time, besides the file beside the
	// chain. Nil for none. Shipped is the file of those that were shipped before, if it can
	// be read here: a start looks there for what the chain should hold.
	Ship    io.Writer
	Shipped string
	// Queue is how many records wait in memory at most (20,000). From half of it on,
	// Full says so, and refusals are not recorded; where StopAfter is never, reads are
	// lost from there on.
	Queue int
	// Mask hides the numbers of citizens in a path. Nil hides nothing.
	Mask func(string) string
	// Version is the program's, for the record of the start.
	Version string
	// Now is time.Now if nil, OpenFile os.OpenFile.
	Now      func() time.Time
	OpenFile OpenFile
	// Log receives what is wrong with the evidence. Required.
	Log *slog.Logger
	// patience is how long a write waits for its intent, and how long the disk may take before it
	// counts as failing (5s). Tests wait for longer, since their machine may stop for a while.
	patience time.Duration
}

func (o *Options) complete() {
	standard := config.DefaultAudit()
	o.SegmentSize = cmp.Or(o.SegmentSize, standard.SegmentSize)
	o.CheckpointEvery = cmp.Or(o.CheckpointEvery, standard.CheckpointEvery)
	o.TimestampEvery = cmp.Or(o.TimestampEvery, standard.TimestampEvery)
	o.KeepYears = cmp.Or(o.KeepYears, standard.KeepYears)
	o.Queue = cmp.Or(o.Queue, 20_000)
	o.patience = cmp.Or(o.patience, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mask == nil {
		o.Mask = func(s string) string { return s }
	}
	if o.OpenFile == nil {
		o.OpenFile = openFile
	}
}

// The times of a log.
const (
	// flushEvery is how long a read waits in memory at most. With the sync behind it,
	// a process that is killed loses less than a second.
	flushEvery = 400 * time.Millisecond
	// retryEvery is the pause between two tries to write when the last one failed.
	retryEvery = time.Second
	// flushAt is how many records are written without waiting for flushEvery.
	flushAt = 2048
	// gather is how long the writer waits for more writes before it syncs, if one of the syncs
	// of the last gatherFor was for several: a sync costs the same for one and for a hundred,
	// some 300 µs of CPU, whatever the file is prepared with. A caller that writes
	// alone does not wait. BenchmarkIntent measures it.
	gather    = 4 * time.Millisecond
	gatherFor = 100 * time.Millisecond
)

// ErrNotRecorded is what a write gets whose intent cannot be written and that must not
// be sent without.
var ErrNotRecorded = errors.New("recording the intent of a write: the evidence cannot be written")

// Log is one chain of evidence that is being written. It is safe for concurrent use.
//
// A record goes this way: Done, Intent or Event makes an entry, and add puts it behind those that
// wait. The goroutine of run takes all of them at once (turn), makes lines of them (write), and has
// the lines on disk with one sync (commit). Then they are forgotten, and whoever waits goes on.
type Log struct {
	o      Options
	dir    string
	key    ed25519.PrivateKey
	signer signer
	lock   *os.File

	mu sync.Mutex
	// pending are the records that are in memory and not on disk, lost those that were
	// not taken since the last gap record.
	pending []entry
	batch   *batch // of those pending that somebody waits for; nil if none
	lost    losses
	// failing is why records cannot be written, missing what was removed or replaced, which stays
	// until the process ends.
	failing, missing trouble
	stopAfter        config.StopAfter
	status           Status              // see note
	shipping         [shipReasons]string // why checkpoints cannot be handed out, by way

	wake chan struct{}
	done chan struct{}
	// open ends when the log is closed: nothing is queued then, and the background stops.
	open context.Context
	stop context.CancelFunc

	// begun wakes compressAndDrop when a segment is begun; background is done with it and with stamp.
	begun      chan struct{}
	background sync.WaitGroup
	// notes are the newest checkpoints, for a time-stamping authority.
	notes chan checkpoint

	w writer // of the goroutine of run
}

// losses counts records that the queue did not take.
type losses struct{ reads, writes, events int64 }

// batch is what waits for one sync together.
type batch struct {
	done    chan struct{}
	waiting int // how many wait for it
	err     error
}

// Open opens or begins the chain of a replica: it takes the lock, looks where the
// chain ended, sets aside what a crash left half written, says in the chain what may
// be missing, and signs the start.
func Open(o Options) (*Log, error) {
	l, err := prepare(o)
	if err != nil {
		return nil, err
	}
	l.background.Go(l.compressAndDrop)
	if o.TimestampURL != "" {
		l.background.Go(l.stamp)
	}
	go l.run()
	return l, nil
}

// prepare is Open without its goroutines.
func prepare(o Options) (*Log, error) {
	o.complete()
	if !validReplica(o.Replica) {
		return nil, fmt.Errorf("opening the evidence: %q cannot be the name of a replica: letters, digits, \"-\", \"_\" "+
			"and \".\" are expected; set audit.replica", o.Replica)
	}
	dir := filepath.Join(o.Dir, o.Replica)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the evidence: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("closing the directory of the evidence to others: %w", err)
	}
	l := &Log{o: o, dir: dir, stopAfter: o.StopAfter, wake: make(chan struct{}, 1), begun: make(chan struct{}, 1),
		notes: make(chan checkpoint, 1), done: make(chan struct{})}
	l.open, l.stop = context.WithCancel(context.Background())
	var err error
	if l.lock, err = lock(dir); err != nil {
		return nil, err
	}
	l.w.shipper = newShipper(l)
	if err := l.start(); err != nil {
		l.w.closeFile()
		return nil, errors.Join(err, l.w.shipper.close(l.o.patience/5), l.lock.Close())
	}
	return l, nil
}

// start finds the key and the end of the chain, and signs the start.
func (l *Log) start() error {
	var err error
	if l.key, err = keyOf(l.dir, l.o.KeyFile); err != nil {
		return err
	}
	if l.signer, err = newSigner(l.o.Replica, l.key); err != nil {
		return err
	}
	if err := publish(publicOf(l.key), l.dir); err != nil {
		return err
	}
	if err := l.recover(); err != nil {
		return err
	}
	public := publicOf(l.key)
	l.status.Directory, l.status.Replica, l.status.Key = l.dir, l.o.Replica, Fingerprint(public)
	l.pending = append(l.pending, l.signed(KindStart, signedFields{
		Version: l.o.Version, Key: l.status.Key, PublicKey: public,
	}))
	return l.turn()
}

// signed makes the entry of a record that is signed.
func (l *Log) signed(kind Kind, fields signedFields) entry {
	fields.Replica = l.o.Replica
	return entry{kind, l.o.Now(), &fields}
}

var replicaName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,128}$`)

// validReplica reports whether a name is a file name on every system.
func validReplica(name string) bool {
	return replicaName.MatchString(name) && strings.Trim(name, ".") != ""
}

// Dir is the directory of the chain.
func (l *Log) Dir() string { return l.dir }

// SetStopAfter changes Options.StopAfter.
func (l *Log) SetStopAfter(d config.StopAfter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopAfter = d
}

// Intent records that a write is about to be sent, and returns when that is on disk.
// The error is ErrNotRecorded, or that of ctx; then the write must not be sent. While
// evidence may be late (Options.StopAfter), a failing disk is no error: the record
// waits in memory, as long as there is room for it. It sets Record.Intent if the intent has a
// place in the chain, or in the count of what is missing there, so that Done has to be told
// of the outcome.
func (l *Log) Intent(ctx context.Context, c *call.Record) error {
	b, err := l.add(entry{KindIntent, l.o.Now(), recordOf(KindIntent, c, l.o.Mask)}, true)
	if c.Intent = err == nil; b != nil {
		err = l.await(ctx, b)
	}
	if errors.Is(err, ErrNotRecorded) {
		l.note(func(s *Status) { s.RefusedWrites++ })
	}
	return err
}

// await waits until a batch is on disk, or does not have to be.
func (l *Log) await(ctx context.Context, b *batch) error {
	timer := time.NewTimer(l.o.patience)
	defer timer.Stop()
	select {
	case <-b.done:
		if b.err == nil {
			return nil
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		l.inTrouble(l.errHangs())
	}
	if l.Refused() {
		return ErrNotRecorded
	}
	return nil
}

// Done records a finished call, if it is evidence. It does not wait.
func (l *Log) Done(c *call.Record) {
	if kind, ok := evidenceOf(c); ok {
		_, _ = l.add(entry{kind, c.Start.Add(c.Phases.Total), recordOf(kind, c, l.o.Mask)}, false)
	}
}

// Refusal records a call that the gateway refused, and how many others of its source were left
// out. It does not wait.
func (l *Log) Refusal(at time.Time, c *call.Record, leftOut int) {
	r := recordOf(KindRefusal, c, l.o.Mask)
	r.LeftOut = leftOut
	_, _ = l.add(entry{KindRefusal, at, r}, false)
}

// Event records something other than a call: KindConfiguration, KindAdministration or KindKey. The
// names of its fields are plain words in camelCase other than those that every record has. It
// does not wait.
func (l *Log) Event(kind Kind, fields map[string]string) {
	_, _ = l.add(entry{kind, l.o.Now(), fields}, false)
}

// add queues a record, or counts it as lost. An intent that is neither is ErrNotRecorded. With wait it
// gives the batch that is done when the record is on disk; nil if it was lost, or waits for a disk
// that fails.
//
// Half of the places are kept for what must not be lost: from refusals always; from reads where no
// request is refused; otherwise for whatever was under way when the log was Full.
func (l *Log) add(e entry, wait bool) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.o.Queue
	if e.kind == KindRefusal || e.kind == KindRead && l.stopAfter == config.StopNever {
		limit /= 2
	}
	full := l.open.Err() != nil || len(l.pending) >= limit
	switch {
	case e.kind == KindDropped && l.failing.is():
		return nil, nil // its segment stays, and the record would say later that it went
	case e.kind == KindIntent && (l.refused() || full && l.stopAfter != config.StopNever):
		return nil, ErrNotRecorded
	case full:
		l.lose(e.kind)
		return nil, nil
	}
	l.pending = append(l.pending, e)
	wait = wait && !l.failing.is()
	if wait || len(l.pending) >= flushAt {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	if !wait {
		return nil, nil
	}
	if l.batch == nil {
		l.batch = &batch{done: make(chan struct{})}
	}
	l.batch.waiting++
	return l.batch, nil
}

// lose counts a record that was not taken, under the lock.
func (l *Log) lose(kind Kind) {
	switch kind {
	case KindTimestamp, KindDropped:
		return // there will be another one
	case KindIntent, KindOutcome:
		l.lost.writes++
	case KindRead, KindOpening:
		l.lost.reads++
	default:
		l.lost.events++
	}
	l.status.Lost++
}
