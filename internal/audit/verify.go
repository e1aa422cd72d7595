package audit

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
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
	// Read, if not nil, is told of the bytes that were read; Size says how many there are.
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
		strange, err := strangeIn(dir, list)
		if err != nil {
			return nil, nil, err
		}
		findings = append(findings, strange...)
	}
	shipped, err := loadShipped(o)
	if err != nil {
		return nil, nil, err
	}
	owners := make(map[string]string)
	for _, chain := range chains {
		r, err := verifyChain(chain, o, shipped)
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
	for _, replica := range shipped.replicas() {
		if _, ok := owners[replica]; ok || !whole {
			continue
		}
		list := shipped.of[replica]
		last := list[len(list)-1]
		findings = append(findings, Finding{File: last.file, Line: last.line, Seq: last.seq,
			What: fmt.Sprintf("the replica %s has checkpoints, and its chain is not here: "+
				"it was removed, or lies on a volume that was not given (name that directory too)", replica)})
	}
	for _, f := range shipped.wrong {
		findings = append(findings, f)
	}
	return reports, findings, nil
}

// strangeIn finds what lies beside the chains of a directory and is none.
func strangeIn(dir string, chains []string) ([]Finding, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for evidence: %w", err)
	}
	var findings []Finding
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case slices.Contains(chains, path), e.Name() == "lost+found": // made by the file system
		case e.IsDir():
			findings = append(findings, Finding{File: path, What: "this directory holds no record: a replica's evidence was " +
				"removed from it, or never began"})
		case e.Type()&os.ModeSymlink != 0:
			findings = append(findings, Finding{File: path, What: "this is a symbolic link, and was not followed: evidence " +
				"lies where the gateway wrote it"})
		}
	}
	return findings, nil
}

// Size is how many bytes verifying these directories with files of checkpoints reads, for
// VerifyOptions.Read; with nil for the files, how many searching them does, for Query.Read.
func Size(dirs, checkpoints []string) (total int64) {
	add := func(path string) {
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	for _, dir := range dirs {
		chains, err := Chains(dir)
		if err != nil {
			continue // the reading itself says so
		}
		for _, chain := range chains {
			files, err := filesOf(chain)
			if err != nil {
				continue
			}
			for _, s := range files.segments {
				total += s.size
			}
			if checkpoints != nil {
				for _, path := range files.checkpoints {
					add(path)
				}
			}
		}
	}
	for _, path := range checkpoints {
		add(path)
	}
	return total
}

// Verify verifies one chain.
func Verify(dir string, o VerifyOptions) (Report, error) {
	shipped, err := loadShipped(o)
	if err != nil {
		return Report{}, err
	}
	r, err := verifyChain(dir, o, shipped)
	for _, f := range shipped.wrong {
		r.find(f)
	}
	return r, err
}

// mark is a checkpoint and where it stands.
type mark struct {
	checkpoint
	file string
	line int
	sure bool // it verifies
	text []byte
}

// shipped are checkpoints that left the machine, by replica and in the order of their numbers.
type shipped struct {
	of    map[string][]mark
	wrong []Finding
}

func (s *shipped) replicas() []string {
	names := make([]string, 0, len(s.of))
	for name := range s.of {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// loadShipped reads the files of checkpoints. Those that the keys do not verify may be of a
// replica whose key lies beside its chain: they are kept with their text.
func loadShipped(o VerifyOptions) (*shipped, error) {
	s := &shipped{of: make(map[string][]mark)}
	keys := trust{keys: o.Keys}
	for _, file := range o.Checkpoints {
		marks, wrong, err := readMarks(file, &keys, o.Read)
		if err != nil {
			return nil, err
		}
		s.wrong = append(s.wrong, wrong...)
		for _, m := range marks {
			s.of[m.replica] = append(s.of[m.replica], m)
		}
	}
	for _, list := range s.of {
		sortMarks(list)
	}
	return s, nil
}

func sortMarks(list []mark) {
	slices.SortStableFunc(list, func(a, b mark) int { return cmp.Compare(a.seq, b.seq) })
}

// readMarks reads a file of checkpoints.
func readMarks(file string, keys *trust, read func(int64)) (marks []mark, wrong []Finding, err error) {
	err = eachLine(file, read, func(n int, text []byte, whole bool) error {
		c, err := keys.open(text)
		switch {
		case errors.Is(err, errNoCheckpoint) && whole:
			wrong = append(wrong, Finding{File: file, Line: n, What: "this line is no checkpoint: it was changed, or " +
				"something else writes into this file"})
		case errors.Is(err, errNoCheckpoint): // a crash may have torn it; the chain has the record
		default:
			m := mark{checkpoint: c, file: file, line: n, sure: err == nil}
			if err != nil {
				m.text = slices.Clone(text)
			}
			marks = append(marks, m)
		}
		return nil
	})
	if d, ok := errors.AsType[*damage](err); ok {
		return marks, append(wrong, Finding{File: file, Line: d.line, What: d.Error()}), nil
	}
	return marks, wrong, err
}

// verifier goes along a chain.
type verifier struct {
	dir     string
	replica string
	trust   trust
	// marks are the checkpoints of this chain in the order of their numbers; next is the
	// first that was not compared yet.
	marks []mark
	next  int
	// dropped are the ends of segments that were dropped, by a signed record.
	dropped []link
	report  Report
	read    func(int64)

	chain
	// format is that of the segment before; clock the time of the last record that is of
	// the gateway's own clock.
	format   int
	clock    time.Time
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
	firstAt      Finding
}

func verifyChain(dir string, o VerifyOptions, from *shipped) (Report, error) {
	v := &verifier{dir: dir, trust: trust{keys: o.Keys}, read: o.Read}
	v.report.Dir = dir
	if len(o.Keys) == 0 {
		var err error
		if v.trust.keys, err = publicKeys(dir); err != nil {
			return v.report, err
		}
		v.report.OwnKeys = true
		if len(v.trust.keys) == 0 {
			v.find(dir, 0, 0, "there is no public key beside the chain: give one")
		}
	}
	// Before the segments are listed, so that none of the checkpoints in it is newer.
	files, err := filesOf(dir)
	if err != nil {
		return v.report, err
	}
	var beside []mark
	for _, file := range files.checkpoints {
		marks, wrong, err := readMarks(file, &v.trust, o.Read)
		if err != nil {
			return v.report, err
		}
		for _, f := range wrong {
			v.report.find(f)
		}
		v.inOrder(marks)
		beside = append(beside, marks...)
	}
	if files, err = filesOf(dir); err != nil {
		return v.report, err
	}
	for _, path := range files.foreign {
		if strings.HasPrefix(filepath.Base(path), segmentPrefix) {
			v.find(path, 0, 0, "%s", (&NewerError{File: path}).Error())
			continue
		}
		v.find(path, 0, 0, "this is no file of the gateway's: it was put there")
	}
	if v.replica, err = replicaOf(files.segments); err != nil {
		return v.report, err
	}
	v.report.Replica = v.replica
	v.nameOfDir()
	v.collect(beside, from)
	for i := range files.segments {
		if err := v.segment(&files.segments[i]); err != nil {
			return v.report, err
		}
	}
	v.conclude()
	return v.report, nil
}

// inOrder finds checkpoints of a file beside the chain that are not where the gateway put them.
func (v *verifier) inOrder(marks []mark) {
	for i := 1; i < len(marks); i++ {
		if before := marks[i-1].seq; marks[i].seq <= before {
			v.find(marks[i].file, marks[i].line, marks[i].seq, "this checkpoint is out of order: it follows that of seq %d",
				before)
		}
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

// collect takes the checkpoints of this chain. One that does not verify is a finding.
func (v *verifier) collect(beside []mark, from *shipped) {
	v.marks = append(beside, from.of[v.replica]...)
	sortMarks(v.marks)
	sound := v.marks[:0]
	for _, m := range v.marks {
		if !m.sure {
			_, err := v.trust.open(m.text)
			m.sure, m.text = err == nil, nil
		}
		if !m.sure {
			v.find(m.file, m.line, m.seq, "%s", errNotSigned)
			continue
		}
		if m.replica != v.replica && v.replica != "" {
			v.find(m.file, m.line, m.seq, "this checkpoint is of the replica %s", m.replica)
			continue
		}
		if n := len(sound); n > 0 && sound[n-1].seq == m.seq {
			if sound[n-1].link != m.link || sound[n-1].time != m.time {
				v.find(m.file, m.line, m.seq, "this checkpoint and %s:%d are of two different chains",
					sound[n-1].file, sound[n-1].line)
			}
			continue
		}
		sound = append(sound, m)
	}
	v.marks = sound
}

// signedFields are members of signed records that verifying looks at.
type signedFields struct {
	Replica  string `json:"replica"`
	Last     uint64 `json:"last"`
	LastHash string `json:"lastHash"`
}

// replicaOf finds whose chain it is: by the first record of a segment, or of format 1 by the
// first signed one. Empty if neither can be read.
func replicaOf(segments []segment) (replica string, err error) {
	for _, s := range segments {
		err := eachLine(s.path, nil, func(_ int, text []byte, _ bool) error {
			l, err := parseLine(text)
			if err != nil || !l.intact() || !l.kind.signed() && l.kind != KindSegment {
				return nil
			}
			var f signedFields
			if json.Unmarshal(text, &f) == nil && f.Replica != "" {
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
	k := keeper{}
	plain, err := k.sum(path)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	compressed, err := k.sum(path + compressedSuffix)
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
	v.place(&v.report, s.path, n, &l)
	v.compare(s.path, n, &l)
	v.signature(s.path, n, &l, text, intact)
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

// compare compares a record with the checkpoint of its number.
func (v *verifier) compare(file string, n int, l *line) {
	for v.next < len(v.marks) && v.marks[v.next].seq < l.seq {
		v.next++
	}
	if v.next == len(v.marks) || v.marks[v.next].seq != l.seq {
		return
	}
	m := &v.marks[v.next]
	v.next++
	v.report.Checkpoints++
	switch {
	case m.hash != l.hash:
		v.find(file, n, l.seq, "this record is not the one of the checkpoint in %s:%d: the chain was made anew",
			m.file, m.line)
	case m.time != l.time:
		v.find(m.file, m.line, l.seq, "this checkpoint says %s, and its record in %s:%d %s", m.time, file, n, l.time)
	}
}

// follow makes a record the last one, unless it is out of order: what comes after it
// follows the one that it does not.
func (c *chain) follow(l *line) {
	if l.seq > c.last.seq {
		c.last, c.known, c.blind = link{l.seq, l.hash}, true, false
	}
}

// place compares a record with the one before.
func (c *chain) place(r *Report, file string, n int, l *line) {
	find := func(format string, args ...any) { r.find(Finding{file, n, l.seq, fmt.Sprintf(format, args...)}) }
	if !c.started {
		c.started = true
		c.first = link{l.seq - 1, l.prev}
		c.firstAt = Finding{File: file, Line: n, Seq: l.seq}
		r.First, r.From = l.seq, l.time
		return
	}
	expected := c.last.seq + 1
	switch {
	case c.blind && l.seq > expected+1:
		find("records are missing before this one: the last that could be read was seq %d", c.last.seq)
	case c.blind && l.seq >= expected:
	case l.seq > expected:
		find("seq %d to %d are missing before this record", expected, l.seq-1)
	case l.seq < expected:
		find("this record is out of order: it follows seq %d", c.last.seq)
	case c.known && l.prev != c.last.hash:
		find("the record before this one is not the one that was there: it was replaced")
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

// conclude looks at the two ends.
func (v *verifier) conclude() {
	if v.started && v.first.seq > 0 && !slices.Contains(v.dropped, v.first) {
		f := v.firstAt
		v.find(f.File, f.Line, f.Seq, "everything before this record is missing, and no signed record says that "+
			"it was dropped in order")
	} else if v.started && v.first.seq == 0 && v.first.hash != (digest{}) {
		v.find(v.firstAt.File, v.firstAt.Line, v.firstAt.Seq,
			"this record names one before it, and its number says that it is the first")
	}
	if n := len(v.marks); n > 0 && v.marks[n-1].seq > v.last.seq {
		newest := &v.marks[n-1]
		file := cmp.Or(v.lastFile, v.dir)
		v.find(file, v.lastLine, v.last.seq, "the end of the chain was cut off: it ends here, and the checkpoint in %s:%d "+
			"shows that it went to seq %d at %s", newest.file, newest.line, newest.seq, newest.time)
	}
	if !v.started && len(v.marks) == 0 {
		v.find(v.dir, 0, 0, "there is no record here")
	}
}
