package audit

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"
)

// VerifyOptions say what a chain is verified against.
type VerifyOptions struct {
	// Keys are trusted. Without any, those that lie beside the chain are taken, which
	// whoever could replace the chain could replace as well.
	Keys []ed25519.PublicKey
	// Checkpoints are files of signed records that were shipped, besides the one beside
	// the chain. They may be of other replicas as well.
	Checkpoints []string
}

// Verify reads the chain in dir and finds every place where a record was changed,
// removed, moved or added, or the chain cut. The error is that of reading.
func Verify(dir string, o VerifyOptions) (Report, error) {
	v := &verifier{keys: o.Keys, shipped: make(map[uint64]checkpoint)}
	defer func() { _ = v.beside.close() }() // it was read
	if len(v.keys) == 0 {
		var err error
		if v.keys, err = publicKeys(dir); err != nil {
			return Report{}, err
		}
		v.report.OwnKeys = true
		if len(v.keys) == 0 {
			v.find(dir, 0, 0, "there is no public key beside the chain: give one")
		}
	}
	// Before the segments are listed, so that none of the checkpoints in it is newer.
	if err := v.openBeside(filepath.Join(dir, checkpointsName)); err != nil {
		return v.report, err
	}
	segments, err := segmentsOf(dir)
	if err != nil {
		return v.report, err
	}
	replica, err := replicaOf(dir, segments)
	if err != nil {
		return v.report, err
	}
	v.replica = replica
	for _, file := range o.Checkpoints {
		if err := v.load(file); err != nil {
			return v.report, err
		}
	}
	for _, s := range segments {
		if err := v.segment(s); err != nil {
			return v.report, err
		}
	}
	if _, _, err := v.upTo(math.MaxUint64); err != nil {
		return v.report, err
	}
	v.conclude(dir)
	return v.report, nil
}

// verifier goes along a chain.
type verifier struct {
	keys    []ed25519.PublicKey
	replica string
	// beside are the checkpoints beside the chain, shipped those that were shipped, by
	// number; newest is the last of either.
	beside  beside
	shipped map[uint64]checkpoint
	newest  newest
	files   []string // of checkpoints
	// dropped are the ends of segments that were dropped, by a signed record.
	dropped []link
	report  Report

	// last is the record before; known tells that its hash is, blind that the line
	// before could not be read, so that its number is not known either.
	last         link
	known, blind bool
	started      bool
	first        link // what the first record names as the one before it
	firstAt      Finding
	lastFile     string
	lastLine     int
}

// signedFields are members of signed records that verifying looks at.
type signedFields struct {
	Replica  string `json:"replica"`
	Last     uint64 `json:"last"`
	LastHash string `json:"lastHash"`
}

func fieldsOf(text []byte) (signedFields, error) {
	var f signedFields
	err := json.Unmarshal(text, &f)
	return f, err
}

// replicaOf finds whose chain it is.
func replicaOf(dir string, segments []segment) (string, error) {
	replica := filepath.Base(dir)
	for _, s := range segments {
		var r rubbish
		var before uint64
		err := eachLine(s.path, func(_ int, text []byte, _ bool) error {
			l, err := parseLine(text)
			follows := l.seq == before+1 || before == 0
			before = l.seq
			if err != nil || !follows || !l.intact() {
				return r.add(text)
			}
			if !l.kind.signed() {
				return nil
			}
			if f, err := fieldsOf(text); err == nil && f.Replica != "" {
				replica = f.Replica
				return errFound
			}
			return nil
		})
		if errors.Is(err, errFound) {
			return replica, nil
		}
		if err != nil && !errors.Is(err, errRubbish) && !errors.As(err, new(*damage)) {
			return "", err
		}
	}
	return replica, nil
}

var errFound = errors.New("found")

// each gives the lines of a file to do, which tells whether they are as they were
// written. What keeps a file from being read to its end is a finding.
func (v *verifier) each(file string, do func(n int, text []byte, whole bool) (sound bool, err error)) error {
	var r rubbish
	at := 0
	err := eachLine(file, func(n int, text []byte, whole bool) error {
		at = n
		sound, err := do(n, text, whole)
		if err == nil && !sound {
			return r.add(text)
		}
		return err
	})
	d, damaged := errors.AsType[*damage](err)
	switch {
	case damaged:
		v.find(file, d.line, 0, "%s", d)
	case errors.Is(err, errRubbish):
		v.find(file, at, 0, "%s", err)
	default:
		return err
	}
	return errUnread
}

// errUnread is a file that was not read to its end, which is a finding already.
var errUnread = errors.New("was not read to its end")

func (v *verifier) segment(s segment) error {
	v.report.Segments++
	if s.compressed {
		v.report.Compressed++
	}
	firstLine := true
	err := v.each(s.path, func(n int, text []byte, whole bool) (bool, error) {
		sound, err := v.line(s, n, text, whole, firstLine)
		firstLine = false
		return sound, err
	})
	if errors.Is(err, errUnread) {
		v.lastFile, v.blind, v.known = s.path, true, false
		return nil
	}
	if err == nil && s.twin {
		err = v.twin(s.path)
	}
	return err
}

// twin compares a segment with its compressed form, where it lies there in both.
func (v *verifier) twin(path string) error {
	plain, err := openLines(path)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	defer plain.Close()
	compressed, err := openLines(path + compressedSuffix)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	defer compressed.Close()
	same, err := sameContent(plain, compressed, func(time.Duration) error { return nil })
	if d, ok := errors.AsType[*damage](err); ok {
		v.find(path+compressedSuffix, 0, 0, "this compressed form of the file before cannot be read from byte %d of %d; the next start of the gateway makes it anew", d.at, d.size)
		return nil
	}
	if err == nil && !same {
		v.find(path+compressedSuffix, 0, 0, "this compressed form of the file before holds other lines: one of the two was put there")
	}
	return err
}

// line verifies one line and its place, and tells whether nothing is wrong with it. The
// error is that of reading the checkpoints beside the chain.
func (v *verifier) line(s segment, n int, text []byte, whole, first bool) (sound bool, err error) {
	v.lastFile, v.lastLine = s.path, n
	l, err := parseLine(text)
	if err != nil || !whole {
		what := "this line is no record: it was changed"
		if !whole {
			what = "the file ends within a record: its end was cut off, or the gateway is writing it at this moment"
		}
		v.find(s.path, n, 0, "%s", what)
		v.blind, v.known = true, false
		return false, nil
	}
	beside, signed, err := v.upTo(l.seq)
	if err != nil {
		return false, err
	}
	before := v.found()
	if first && l.seq != s.first {
		v.find(s.path, n, l.seq, "the file begins with this record, and its name says seq %d", s.first)
	}
	intact := l.intact()
	if !intact {
		v.find(s.path, n, l.seq, "this record was changed: it is not what its hash was made of")
	}
	v.place(s.path, n, &l)
	shipped, ok := v.shipped[l.seq]
	if ok {
		v.compare(s.path, n, &l, shipped)
	}
	if signed {
		v.compare(s.path, n, &l, beside)
	}
	if ok || signed {
		v.report.Checkpoints++
	}
	v.signature(s.path, n, &l, text, intact)
	v.count(s.path, n, &l)
	v.follow(&l)
	return v.found() == before, nil
}

// compare compares a record with the checkpoint of its number.
func (v *verifier) compare(file string, n int, l *line, c checkpoint) {
	if c.hash != l.hash {
		v.find(file, n, l.seq, "this record is not the one of the checkpoint in %s:%d: the chain was made anew", v.files[c.file], c.line)
	}
}

// follow makes a record the last one, unless it is out of order: what comes after it
// follows the one that it does not.
func (v *verifier) follow(l *line) {
	if l.seq > v.last.seq {
		v.last, v.known, v.blind = link{l.seq, l.hash}, true, false
	}
}

// place compares a record with the one before.
func (v *verifier) place(file string, n int, l *line) {
	if !v.started {
		v.started = true
		v.first = link{l.seq - 1, l.prev}
		v.firstAt = Finding{File: file, Line: n, Seq: l.seq}
		v.report.First, v.report.From = l.seq, l.time
		return
	}
	expected := v.last.seq + 1
	switch {
	case v.blind && l.seq > expected+1:
		v.find(file, n, l.seq, "records are missing before this one: the last that could be read was seq %d", v.last.seq)
	case v.blind && l.seq >= expected:
	case l.seq > expected:
		v.find(file, n, l.seq, "seq %d to %d are missing before this record", expected, l.seq-1)
	case l.seq < expected:
		v.find(file, n, l.seq, "this record is out of order: it follows seq %d", v.last.seq)
	case v.known && l.prev != v.last.hash:
		v.find(file, n, l.seq, "the record before this one is not the one that was there: it was replaced")
	}
}

// signature verifies a signature, and that one is there where it has to be.
func (v *verifier) signature(file string, n int, l *line, text []byte, sound bool) {
	if !l.kind.signed() {
		if l.signature != nil {
			v.find(file, n, l.seq, "this record carries a signature, which its kind never does")
		}
		return
	}
	switch {
	case l.signature == nil:
		v.find(file, n, l.seq, "the signature of this record is missing")
	case !verifies(v.keys, l):
		v.find(file, n, l.seq, "the signature of this record does not verify: it was changed, or made with another key")
	case sound:
		v.report.Signed = l.seq
		v.noteDropped(l, text)
	}
}

func (v *verifier) count(file string, n int, l *line) {
	v.report.Records++
	v.report.Last, v.report.To = max(v.report.Last, l.seq), l.time
	v.report.Ended = l.kind == KindStop
	if l.kind == KindGap {
		v.report.Gaps = append(v.report.Gaps, Finding{file, n, l.seq, gapText(l.content)})
	}
}

// conclude looks at the two ends.
func (v *verifier) conclude(dir string) {
	if v.started && v.first.seq > 0 {
		ok := false
		for _, d := range v.dropped {
			ok = ok || d == v.first
		}
		if !ok {
			v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq, "everything before this record is missing, and no signed record says that it was dropped in order")
		}
	} else if v.started && v.first.hash != (digest{}) {
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq, "this record names one before it, and its number says that it is the first")
	}
	if v.newest.seq > v.last.seq {
		file, n := v.lastFile, v.lastLine
		if file == "" {
			file = dir
		}
		v.find(file, n, v.last.seq, "the end of the chain was cut off: it ends here, and the checkpoint in %s:%d shows that it went to seq %d at %s", v.files[v.newest.file], v.newest.line, v.newest.seq, v.newest.time)
	}
	if !v.started && v.newest.seq == 0 {
		v.find(dir, 0, 0, "there is no record here")
	}
}
