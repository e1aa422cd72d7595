package audit

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// verifier goes along a chain.
type verifier struct {
	dir     string
	replica string
	trust   trust
	// marks are the checkpoints, by the number of the record that they sign, newest is the last.
	marks  map[uint64][]mark
	newest mark
	// noted are the last signed records, for the time stamps of their notes.
	noted  []noted
	roots  *x509.CertPool
	bundle *bundleFiles // nil if it is none
	// dropped are the ends of segments that were dropped, by a signed record.
	dropped []link
	report  Report
	chain   chain
	// format is that of the segment before; clock the time of the last record that is of
	// the gateway's own clock.
	format   int
	clock    time.Time
	firstAt  Finding // where the first record stands
	lastFile string
	lastLine int
}

func newVerifier(dir string, o VerifyOptions) *verifier {
	v := &verifier{dir: dir, trust: trust{keys: o.Keys}, roots: o.Authorities, marks: make(map[uint64][]mark)}
	v.chain = chain{find: v.report.find, read: o.Read}
	v.report.Dir = dir
	return v
}

func verifyChain(dir string, o VerifyOptions) (Report, error) {
	v := newVerifier(dir, o)
	if o.Bundle {
		v.bundle = &bundleFiles{each: v.compareBeside}
	}
	err := v.run(o)
	return v.report, err
}

// run verifies the chain.
func (v *verifier) run(o VerifyOptions) error {
	dir := v.dir
	if len(o.Keys) == 0 {
		var err error
		if v.trust.keys, err = publicKeys(dir); err != nil {
			return err
		}
		v.report.OwnKeys = true
		if len(v.trust.keys) == 0 {
			v.find(dir, 0, 0, "there is no public key beside the chain: give one")
		}
	}
	files, err := filesOf(dir)
	if err != nil {
		return err
	}
	if v.replica, err = replicaOf(files.segments); err != nil {
		return err
	}
	v.report.Replica = v.replica
	v.nameOfDir()
	// Before the segments are listed, so that none of a gateway that runs is newer than they are.
	for _, file := range files.checkpoints {
		if err := v.readMarks(file, true); err != nil {
			return err
		}
	}
	for _, file := range o.Checkpoints {
		if err := v.readMarks(file, false); err != nil {
			return err
		}
	}
	if files, err = filesOf(dir); err != nil {
		return err
	}
	for _, path := range files.foreign {
		switch {
		case strings.HasPrefix(filepath.Base(path), segmentPrefix):
			v.find(path, 0, 0, "%s", (&NewerError{File: path}).Error())
		case v.bundle == nil:
			v.find(path, 0, 0, "this is no file of the gateway's: it was put there")
		}
	}
	for i := range files.segments {
		if err := v.segment(&files.segments[i]); err != nil {
			return err
		}
	}
	return v.conclude(files.foreign)
}

// nameOfDir compares the name of the directory with the replica that signed.
func (v *verifier) nameOfDir() {
	full, err := filepath.Abs(v.dir)
	if err != nil {
		full = v.dir
	}
	if name := filepath.Base(full); v.replica != "" && name != v.replica {
		v.find(v.dir, 0, 0, "the directory is named %s, and the chain in it is signed as that of the replica %s: it was "+
			"copied or renamed", name, v.replica)
	}
}

func (v *verifier) segment(s *segment) error {
	v.report.Segments++
	if s.compressed {
		v.report.Compressed++
	}
	v.lastFile, v.lastLine = s.path, 0
	lines, err := v.chain.segment(s, func(n int, text []byte, l *line, intact bool) error {
		v.lastLine = n
		return v.line(s, n, text, l, intact)
	})
	if err == nil && lines == 0 {
		v.find(s.path, 0, 0, "this file is empty: its records were removed, or the process died before its first one")
	}
	return err
}

// line verifies what a record says beside its place in the chain.
func (v *verifier) line(s *segment, n int, text []byte, l *line, intact bool) error {
	if n == 1 {
		v.firstLine(s, text, l)
	} else if l.kind == KindSegment {
		v.find(s.path, n, l.seq, "a file begins with this record, and it does not stand at the beginning of one")
	}
	if v.firstAt.File == "" {
		v.firstAt = Finding{File: s.path, Line: n, Seq: l.seq}
		v.report.First, v.report.From = l.seq, l.time
	}
	v.compare(s.path, n, l)
	v.signature(s.path, n, l, text, intact)
	if l.kind == KindTimestamp && intact {
		if err := v.stamp(s.path, n, l, text); err != nil {
			return err
		}
	}
	v.count(s.path, n, l, text)
	return nil
}

// firstLine compares the first record of a segment with those before.
func (v *verifier) firstLine(s *segment, text []byte, l *line) {
	h, _ := headerOf(s.path, text, l) // one that was changed is told already
	if h.Format == 1 && v.format > 1 {
		v.find(s.path, 1, l.seq, "the record with which every file begins is missing")
	}
	if h.Replica != "" && h.Replica != v.replica {
		v.find(s.path, 1, l.seq, "this file is of the replica %s, and those before it of %s", h.Replica, v.replica)
	}
	v.format = h.Format
}

// compare compares a record with the checkpoints of its number.
func (v *verifier) compare(file string, n int, l *line) {
	marks := v.marks[l.seq]
	if len(marks) > 0 {
		v.report.Checkpoints++
	}
	for _, m := range marks {
		switch {
		case m.hash != l.hash:
			v.find(file, n, l.seq, "this record is not the one of the checkpoint in %s:%d: the chain was made anew",
				m.file, m.line)
		case m.time != l.time:
			v.find(m.file, m.line, l.seq, "this checkpoint says %s, and its record in %s:%d %s", m.time, file, n, l.time)
		}
	}
}

// signature verifies a signature, and that one is there where it has to be.
func (v *verifier) signature(file string, n int, l *line, text []byte, intact bool) {
	if !l.kind.signed() {
		if l.signature != nil {
			v.find(file, n, l.seq, "this record carries a signature, which its kind never does")
		}
		return
	}
	var f signedFields
	_ = json.Unmarshal(text, &f) // a record that was changed, which is told already
	switch {
	case l.signature == nil:
		v.find(file, n, l.seq, "the signature of this record is missing")
	case !v.trust.record(f.Replica, l):
		v.find(file, n, l.seq, "the signature of this record does not verify: it was changed, or made with another key")
	case f.Replica != v.replica:
		v.find(file, n, l.seq, "this record is of the replica %s, and the chain that of %s", f.Replica, v.replica)
	case intact:
		v.report.Signed = l.seq
		v.note(l)
		var end digest
		if l.kind == KindDropped && len(f.LastHash) == hexLen && unhex(&end, []byte(f.LastHash)) {
			v.dropped = append(v.dropped, link{f.Last, end})
		}
	}
}

// ahead is how far the clock of a record may be ahead of the one that verifies, and back how
// far behind the record before, until it is said.
const ahead, back = 5 * time.Minute, time.Second

func (v *verifier) count(file string, n int, l *line, text []byte) {
	r := &v.report
	r.Records++
	r.Last, r.To = max(r.Last, l.seq), l.time
	r.Ended = l.kind == KindStop
	note := func(what string) { r.Notes = append(r.Notes, Finding{file, n, l.seq, what}) }
	if l.kind == KindGap {
		r.Gaps++
		note(gapText(text))
	}
	if !l.kind.signed() && l.kind != KindGap && l.kind != KindSegment {
		return // its time is that of a request, which may be before the one that was written before
	}
	at, err := time.Parse(time.RFC3339Nano, l.time)
	switch {
	case err != nil:
		v.find(file, n, l.seq, "the time of this record is none")
		return
	case v.clock.Sub(at) > back:
		note(fmt.Sprintf("the clock was set back by %s before this record", v.clock.Sub(at).Round(time.Second)))
	case time.Until(at) > ahead && time.Until(v.clock) <= ahead:
		note(fmt.Sprintf("this record says %s, which is still to come: the clock was wrong, there or here", l.time))
	}
	v.clock = at
}

// conclude looks at the two ends, and at what lies beside the segments of a bundle.
func (v *verifier) conclude(beside []string) error {
	switch {
	case v.chain.started && v.chain.first.seq == 0 && v.chain.first.hash != (digest{}):
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq,
			"this record names one before it, and its number says that it is the first")
	case v.chain.started && v.chain.first.seq > 0 && v.bundle == nil && !slices.Contains(v.dropped, v.chain.first):
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq, "everything before this record is missing, and no signed "+
			"record says that it was dropped in order (of a bundle for an auditor it need not be there: say --bundle)")
	}
	if newest := v.newest; newest.seq > v.chain.last.seq && v.bundle == nil {
		v.find(cmp.Or(v.lastFile, v.dir), v.lastLine, v.chain.last.seq, "the end of the chain was cut off: it ends here, "+
			"and the checkpoint in %s:%d shows that it went to seq %d at %s",
			newest.file, newest.line, newest.seq, newest.time)
	}
	if !v.chain.started && len(v.marks) == 0 {
		v.find(v.dir, 0, 0, "there is no record here")
	}
	if v.bundle == nil {
		return nil
	}
	if n := len(v.noted); n == 0 || v.noted[n-1].seq != v.chain.last.seq {
		v.find(v.dir, 0, v.chain.last.seq, "the last record of this bundle is not signed: its end was cut off")
	} else if err := v.bundle.add(noteName, []byte(v.noted[n-1].message)); err != nil {
		return err
	}
	for _, path := range beside {
		if name := filepath.Base(path); !v.bundle.seen[name] && !strings.HasPrefix(name, segmentPrefix) {
			v.find(path, 0, 0, "this is no file of a bundle: it was put there")
		}
	}
	return nil
}
