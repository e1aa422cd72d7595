package audit

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VerifyOptions say what chains are verified against.
type VerifyOptions struct {
	// Keys are trusted. Without any, those that lie beside the chain are taken, which
	// whoever could replace the chain could replace as well.
	Keys []ed25519.PublicKey
	// Checkpoints are files of checkpoints that were shipped, besides those beside the
	// chain. They may be of several replicas.
	Checkpoints []string
	// Authorities are the roots that certificates of time-stamping authorities must lead to.
	// Nil asks only that the token itself is sound.
	Authorities *x509.CertPool
	// Bundle says that the directories were made by Export: the chains in them may begin
	// with any record.
	Bundle bool
	// Read, if not nil, is told of the bytes that were read; Size says how many there will be.
	Read func(int64)
}

// VerifyAll verifies every chain in the directories that are given: directories of audit.dir,
// or of one replica in it. findings are those that belong to no single chain: a replica that
// has checkpoints and no chain, or two chains, and what else lies there. Replicas that are
// only in the checkpoints are missed where a whole directory of audit.dir is given.
func VerifyAll(dirs []string, o VerifyOptions) (reports []Report, findings []Finding, err error) {
	var chains []string
	whole := false
	for _, dir := range dirs {
		list, err := Chains(dir)
		if err != nil {
			return nil, nil, err
		}
		chains = append(chains, list...)
		if len(list) == 1 && list[0] == dir {
			continue
		}
		whole = true
		strange, err := strangeIn(dir, list, o.Bundle)
		if err != nil {
			return nil, nil, err
		}
		findings = append(findings, strange...)
	}
	shipped, wrong, err := replicasIn(o.Checkpoints, o.Read)
	if err != nil {
		return nil, nil, err
	}
	owners := make(map[string]string)
	for _, chain := range chains {
		r, err := verifyChain(chain, o)
		if err != nil {
			return reports, findings, err
		}
		reports = append(reports, r)
		if r.Replica == "" {
			continue // which is a finding already
		}
		if other, ok := owners[r.Replica]; ok {
			findings = append(findings,
				Finding{File: chain, What: fmt.Sprintf("this is a second chain of the replica %s: the other one is %s",
					r.Replica, other)})
		}
		owners[r.Replica] = chain
	}
	for _, replica := range slices.Sorted(maps.Keys(shipped)) {
		if _, ok := owners[replica]; ok || !whole || o.Bundle {
			continue
		}
		last := shipped[replica]
		findings = append(findings, Finding{last.file, last.line, last.seq,
			fmt.Sprintf("the replica %s has checkpoints, and its chain is not here: "+
				"it was removed, or lies on a volume that was not given (name that directory too)", replica)})
	}
	return reports, append(findings, wrong...), nil
}

// strangeIn finds what lies beside the chains of a directory and is none.
func strangeIn(dir string, chains []string, bundle bool) ([]Finding, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for evidence: %w", err)
	}
	var findings []Finding
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		what := ""
		switch {
		case slices.Contains(chains, path), e.Name() == "lost+found": // made by the file system
		case e.IsDir():
			what = "this directory holds no record: a replica's evidence was removed from it, or never began"
		case e.Type()&os.ModeSymlink != 0:
			what = "this is a symbolic link, and was not followed: evidence lies where the gateway wrote it"
		case bundle && e.Name() != pageName && e.Name() != sumsName:
			what = "this is no file of a bundle: it was put there"
		}
		if what != "" {
			findings = append(findings, Finding{File: path, What: what})
		}
	}
	return findings, nil
}

// Size is how many bytes the segments of chains in some directories have: those that searching
// them reads, for Query.Read.
func Size(dirs []string) int64 {
	total, _ := sizeOf(dirs)
	return total
}

// Size is how many bytes verifying the directories reads, for Read.
func (o *VerifyOptions) Size(dirs []string) int64 {
	total, chains := sizeOf(dirs)
	for _, chain := range chains {
		files, _ := filesOf(chain) // the reading itself says so
		total += sizeOfFiles(files.checkpoints)
	}
	// Each file that was shipped is read for each chain, and once for the replicas in it.
	return total + int64(1+len(chains))*sizeOfFiles(o.Checkpoints)
}

func sizeOf(dirs []string) (total int64, chains []string) {
	for _, dir := range dirs {
		list, _ := Chains(dir) // the reading itself says so
		chains = append(chains, list...)
		for _, chain := range list {
			files, _ := filesOf(chain)
			for _, s := range files.segments {
				total += s.size
			}
		}
	}
	return total, chains
}

func sizeOfFiles(paths []string) (total int64) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	return total
}

// verifier goes along a chain.
type verifier struct {
	dir     string
	replica string
	trust   trust
	// marks are the files of checkpoints; those of this chain are compared as it is read.
	marks []*marks
	// noted are the last signed records, for the time stamps of their notes.
	noted  []noted
	roots  *x509.CertPool
	bundle *bundleFiles // nil if it is none
	// dropped are the ends of segments that were dropped, by a signed record.
	dropped []link
	report  Report
	read    func(int64)

	chain
	// format is that of the segment before; clock the time of the last record that is of
	// the gateway's own clock.
	format   int
	clock    time.Time
	firstAt  Finding // where the first record stands
	lastFile string
	lastLine int
}

// chain follows the numbers and hashes of records. It is shared by verifying and searching.
type chain struct {
	// last is the record before; known tells that its hash is, blind that the line
	// before could not be read, so that its number is not known either.
	last         link
	known, blind bool
	started      bool
	first        link // what the first record names as the one before it
}

func newVerifier(dir string, o VerifyOptions) *verifier {
	v := &verifier{dir: dir, trust: trust{keys: o.Keys}, roots: o.Authorities, read: o.Read}
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
	// Before the segments are listed, so that none of the checkpoints in it is newer.
	for _, file := range files.checkpoints {
		v.marks = append(v.marks, v.openMarks(file, true))
	}
	for _, file := range o.Checkpoints {
		v.marks = append(v.marks, v.openMarks(file, false))
	}
	defer v.close()
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

func (v *verifier) close() {
	for _, m := range v.marks {
		m.stop()
	}
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

// signedFields are members of signed records that verifying looks at.
type signedFields struct {
	Replica  string `json:"replica"`
	Last     uint64 `json:"last"`
	LastHash string `json:"lastHash"`
}

// replicaOf finds whose chain it is: by the first record of a segment, or of format 1 by the
// first signed one. Empty if neither can be read. No other than the name of a file is
// believed: anybody can make a record whose hash is right, and a bundle has a directory of
// that name.
func replicaOf(segments []segment) (replica string, err error) {
	for _, s := range segments {
		err := eachLine(s.path, nil, func(_ int, text []byte, _ bool) error {
			l, err := parseLine(text)
			if err != nil || !l.intact() || !l.kind.signed() && l.kind != KindSegment {
				return nil
			}
			var f signedFields
			if json.Unmarshal(text, &f) == nil && validReplica(f.Replica) {
				replica = f.Replica
				return errStopped
			}
			return nil
		})
		if errors.Is(err, errStopped) {
			return replica, nil
		}
		if err != nil && !errors.As(err, new(*damage)) {
			return "", err
		}
	}
	return "", nil
}

func (v *verifier) segment(s *segment) error {
	v.report.Segments++
	if s.compressed {
		v.report.Compressed++
	}
	n := 0
	err := eachLine(s.path, v.read, func(i int, text []byte, whole bool) error {
		n = i
		return v.line(s, i, text, whole)
	})
	if d, ok := errors.AsType[*damage](err); ok {
		v.find(s.path, d.line, 0, "%s", d)
		v.lastFile, v.blind, v.known = s.path, true, false
		return nil
	}
	if err == nil && n == 0 {
		v.find(s.path, 0, 0, "this file is empty: its records were removed, or the process died before its first one")
	}
	if err == nil && s.twin {
		err = v.twin(s.path)
	}
	return err
}

// twin compares a segment with its compressed form, where it lies there in both.
func (v *verifier) twin(path string) error {
	plain, err := sumOf(path, nil)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	compressed, err := sumOf(path+compressedSuffix, nil)
	switch d, damaged := errors.AsType[*damage](err); {
	case damaged:
		v.find(path+compressedSuffix, 0, 0, "this compressed form of the file before cannot be read from byte %d of %d",
			d.at, d.size)
	case err != nil:
		return fmt.Errorf("reading the evidence: %w", err)
	case plain != compressed:
		v.find(path+compressedSuffix, 0, 0, "this compressed form of the file before holds other lines: one "+
			"of the two was put there")
	}
	return nil
}

// line verifies one line and its place. The error is a *NewerError.
func (v *verifier) line(s *segment, n int, text []byte, whole bool) error {
	v.lastFile, v.lastLine = s.path, n
	l, err := parseLine(text)
	if err != nil || !whole {
		what := "this line is no record: it was changed"
		if !whole {
			what = "the file ends within a record: its end was cut off, or the gateway is writing it at this moment"
		}
		v.find(s.path, n, 0, "%s", what)
		v.blind, v.known = true, false
		return nil
	}
	intact := l.intact()
	if !intact {
		v.find(s.path, n, l.seq, "this record was changed: it is not what its hash was made of")
	}
	if n == 1 {
		if err := v.firstLine(s, text, &l); err != nil {
			return err
		}
	} else if l.kind == KindSegment {
		v.find(s.path, n, l.seq, "a file begins with this record, and it does not stand at the beginning of one")
	}
	if !v.started {
		v.firstAt = Finding{File: s.path, Line: n, Seq: l.seq}
		v.report.First, v.report.From = l.seq, l.time
	}
	if what := v.place(&l); what != "" {
		v.find(s.path, n, l.seq, "%s", what)
	}
	if err := v.compare(s.path, n, &l); err != nil {
		return err
	}
	v.signature(s.path, n, &l, text, intact)
	if l.kind == KindTimestamp && intact {
		if err := v.stamp(s.path, n, &l, text); err != nil {
			return err
		}
	}
	v.count(s.path, n, &l)
	v.follow(&l)
	return nil
}

// firstLine compares the first record of a segment with the name of its file.
func (v *verifier) firstLine(s *segment, text []byte, l *line) error {
	h, err := headerOf(s.path, text, l)
	if errors.As(err, new(*NewerError)) {
		return err
	}
	for _, what := range s.misnamed(l, h) {
		v.find(s.path, 1, l.seq, "%s", what)
	}
	if h.Format == 1 && v.format > 1 {
		v.find(s.path, 1, l.seq, "the record with which every file begins is missing")
	}
	if h.Replica != "" && h.Replica != v.replica {
		v.find(s.path, 1, l.seq, "this file is of the replica %s, and those before it of %s", h.Replica, v.replica)
	}
	v.format = h.Format
	return nil
}

// misnamed compares what the name of a segment says with its first record. The first record
// of format 1 may be that of a request that began the day before.
func (s *segment) misnamed(l *line, h header) (what []string) {
	if l.seq != s.first {
		what = append(what, fmt.Sprintf("the file begins with this record, and its name says seq %d", s.first))
	}
	day := h.Time.UTC().Truncate(24 * time.Hour)
	if s.day.Equal(day) || h.Format == 1 && s.day.Equal(day.Add(24*time.Hour)) {
		return what
	}
	return append(what, fmt.Sprintf("the file begins with a record of %s, and its name says %s: it was renamed",
		day.Format(time.DateOnly), s.day.Format(time.DateOnly)))
}

// compare compares a record with the checkpoints of its number.
func (v *verifier) compare(file string, n int, l *line) error {
	compared := false
	for _, marks := range v.marks {
		for {
			m, err := marks.upTo(l.seq)
			if err != nil {
				return err
			}
			if m == nil {
				break
			}
			if m.seq < l.seq {
				continue // of what is no longer here, which is told or was dropped in order
			}
			compared = true
			switch {
			case m.hash != l.hash:
				v.find(file, n, l.seq, "this record is not the one of the checkpoint in %s:%d: the chain was made anew",
					m.file, m.line)
			case m.time != l.time:
				v.find(m.file, m.line, l.seq, "this checkpoint says %s, and its record in %s:%d %s", m.time, file, n, l.time)
			}
		}
	}
	if compared {
		v.report.Checkpoints++
	}
	return nil
}

// follow makes a record the last one, unless it is out of order: what comes after it
// follows the one that it does not.
func (c *chain) follow(l *line) {
	if l.seq > c.last.seq {
		c.last, c.known, c.blind = link{l.seq, l.hash}, true, false
	}
}

// place compares a record with the one before, and says what is wrong.
func (c *chain) place(l *line) string {
	if !c.started {
		c.started, c.first = true, link{l.seq - 1, l.prev}
		return ""
	}
	expected := c.last.seq + 1
	switch {
	case c.blind && l.seq > expected+1:
		return fmt.Sprintf("records are missing before this one: the last that could be read was seq %d", c.last.seq)
	case c.blind && l.seq >= expected:
		return ""
	case l.seq > expected:
		return fmt.Sprintf("seq %d to %d are missing before this record", expected, l.seq-1)
	case l.seq < expected:
		return fmt.Sprintf("this record is out of order: it follows seq %d", c.last.seq)
	case c.known && l.prev != c.last.hash:
		return "the record before this one is not the one that was there: it was replaced"
	}
	return ""
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

func (v *verifier) count(file string, n int, l *line) {
	r := &v.report
	r.Records++
	r.Last, r.To = max(r.Last, l.seq), l.time
	r.Ended = l.kind == KindStop
	note := func(text string) { r.Notes = append(r.Notes, Finding{file, n, l.seq, text}) }
	if l.kind == KindGap {
		r.Gaps++
		note(gapText(l.content))
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
	case v.started && v.first.seq == 0 && v.first.hash != (digest{}):
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq,
			"this record names one before it, and its number says that it is the first")
	case v.started && v.first.seq > 0 && v.bundle == nil && !slices.Contains(v.dropped, v.first):
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq, "everything before this record is missing, and no signed "+
			"record says that it was dropped in order "+
			"(of a bundle for an auditor it need not be there: say --bundle)")
	}
	var newest *mark
	for _, marks := range v.marks {
		for {
			m, err := marks.upTo(math.MaxUint64)
			if err != nil {
				return err
			}
			if m == nil {
				break
			}
			if newest == nil || m.seq > newest.seq {
				newest = m
			}
		}
	}
	if newest != nil && newest.seq > v.last.seq && v.bundle == nil {
		v.find(cmp.Or(v.lastFile, v.dir), v.lastLine, v.last.seq, "the end of the chain was cut off: it ends here, and the "+
			"checkpoint in %s:%d shows that it went to seq %d at %s",
			newest.file, newest.line, newest.seq, newest.time)
	}
	if !v.started && newest == nil {
		v.find(v.dir, 0, 0, "there is no record here")
	}
	if v.bundle == nil {
		return nil
	}
	if n := len(v.noted); n == 0 || v.noted[n-1].seq != v.last.seq {
		v.find(v.dir, 0, v.last.seq, "the last record of this bundle is not signed: its end was cut off")
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
