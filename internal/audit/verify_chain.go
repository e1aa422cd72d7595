package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// verifier goes along a chain.
type verifier struct {
	Report
	o VerifyOptions
	// marks are the checkpoints, by the number of the record that they sign, newest is the last.
	marks  map[uint64][]mark
	newest mark
	// shipped are the newest checkpoints of each replica in the files that were shipped.
	shipped map[string]mark
	// noted are the last signed records, for the time stamps of their notes.
	noted []checkpoint
	// beside are the files of a bundle that only repeat what its records say, by name.
	beside map[string][]byte
	// dropped are the ends of segments that were dropped, by a signed record.
	dropped []link
	chain   chain
	// format is that of the segment before; clock the time of the last record that is of
	// the gateway's own clock.
	format int
	clock  time.Time
	// firstPlace and lastPlace are places of the first and the last record, for findings about the ends.
	firstPlace, lastPlace Finding
}

// mark is what a checkpoint says, and where it stands.
type mark struct {
	link
	time string
	file string
	line int
}

// mostNoted is how many signed records may stand between one and its time stamp.
const mostNoted = 1024

func newVerifier(dir string, o VerifyOptions) *verifier {
	v := &verifier{Report: Report{Dir: dir}, o: o, marks: make(map[uint64][]mark), shipped: make(map[string]mark),
		beside: make(map[string][]byte)}
	v.chain = chain{find: v.find, read: o.Read}
	return v
}

// run verifies the chain.
func (v *verifier) run() error {
	if len(v.o.Keys) == 0 {
		var err error
		if v.o.Keys, err = publicKeys(v.Dir); err != nil {
			return err
		}
		v.OwnKeys = true
		if len(v.o.Keys) == 0 {
			v.find(Finding{File: v.Dir, What: "there is no public key beside the chain: give one"})
		}
	}
	files, err := filesOf(v.Dir)
	if err != nil {
		return err
	}
	if v.Replica, err = files.replicaOf(); err != nil {
		return err
	}
	full, err := filepath.Abs(v.Dir)
	if err != nil {
		return fmt.Errorf("finding the directory of the evidence: %w", err)
	}
	if name := filepath.Base(full); v.Replica != "" && name != v.Replica {
		v.find(Finding{File: v.Dir, What: fmt.Sprintf("the directory is named %s, and the chain in it is signed as that "+
			"of the replica %s: it was copied or renamed", name, v.Replica)})
	}
	// Before the segments are listed, so that none of a gateway that runs is newer than they are.
	for _, file := range files.checkpoints {
		if err := v.readMarks(file, true, true); err != nil {
			return err
		}
	}
	first := len(v.shipped) == 0
	for _, file := range v.o.Checkpoints {
		if err := v.readMarks(file, false, first); err != nil {
			return err
		}
	}
	if files, err = filesOf(v.Dir); err != nil {
		return err
	}
	for _, path := range files.foreign {
		switch {
		case strings.HasPrefix(filepath.Base(path), segmentPrefix):
			v.find(Finding{File: path, What: fmt.Sprintf(newerName, path)})
		case !v.o.Bundle:
			v.find(Finding{File: path, What: "this is no file of the gateway's: it was put there"})
		}
	}
	for i := range files.segments {
		if err := v.segment(&files.segments[i]); err != nil {
			return err
		}
	}
	v.conclude()
	return nil
}

// readMarks reads the checkpoints of the chain in one file; some 200 MB of memory hold a million
// of them, which is two years of a gateway that is never idle. Lines that are not what the
// gateway wrote become findings. own is a file beside the chain, which holds only its own
// checkpoints, in order; what is wrong with one that was shipped is reported with the first chain.
func (v *verifier) readMarks(file string, own, tell bool) error {
	var before uint64
	for l, err := range linesOf(file, nil) {
		if err != nil {
			return err
		}
		c, ok := readCheckpoint(l)
		switch {
		case ok:
		case !tell || l.damage == "" && !l.whole: // which a crash may have torn
			continue
		case l.damage != "":
			v.find(l.finding("%s", l.wrong()))
			continue
		default:
			v.find(l.finding("this line is no checkpoint: it was changed, or something else writes into this file"))
			continue
		}
		m := mark{c.link, strings.Clone(c.time), file, l.n} // a part of time would keep the whole line
		if !own && c.seq >= v.shipped[c.replica].seq {
			v.shipped[c.replica] = m
		}
		if !own && c.replica != v.Replica {
			continue
		}
		find := func(what string, args ...any) {
			f := l.finding(what, args...)
			f.Seq = c.seq
			v.find(f)
		}
		if !c.verifies(v.o.Keys) {
			find("this checkpoint does not verify: it was changed, or signed by another key")
			continue
		}
		if c.replica != v.Replica && v.Replica != "" {
			find("this checkpoint is of the replica %s", c.replica)
			continue
		}
		if own && c.seq <= before {
			find("this checkpoint is out of order: it follows that of seq %d", before)
		}
		before = c.seq
		v.marks[c.seq] = append(v.marks[c.seq], m)
		if c.seq > v.newest.seq {
			v.newest = m
		}
	}
	return nil
}

func (v *verifier) segment(s *segment) error {
	v.Segments++
	if s.compressed {
		v.Compressed++
	}
	v.lastPlace = Finding{File: s.path}
	for l, err := range v.chain.records(s) {
		if err != nil {
			return err
		}
		v.line(l)
	}
	if s.size == 0 && !s.compressed && v.lastPlace.Line == 0 { // else it was written since it was listed
		v.find(Finding{File: s.path,
			What: "this file is empty: its records were removed, or the process ended before its first one"})
	}
	return nil
}

// line verifies what a record says beside its place in the chain.
func (v *verifier) line(l *line) {
	v.lastPlace.Line = l.n
	if l.n == 1 {
		v.firstLine(l)
	} else if l.kind == KindSegment {
		v.find(l.finding("a file begins with this record, and it does not stand at the beginning of one"))
	}
	if v.firstPlace.File == "" {
		v.firstPlace = l.finding("")
		v.First, v.From = l.seq, l.time
	}
	v.compare(l)
	v.signature(l)
	if l.kind == KindTimestamp && l.intact {
		v.stamp(l)
	}
	v.count(l)
}

// firstLine compares the first record of a segment with those before.
func (v *verifier) firstLine(l *line) {
	h, _ := l.header() // one that was changed is told already
	if h.Format == 1 && v.format > 1 {
		v.find(l.finding("the record with which every file begins is missing"))
	}
	if h.Replica != "" && h.Replica != v.Replica {
		v.find(l.finding("this file is of the replica %s, and those before it of %s", h.Replica, v.Replica))
	}
	v.format = h.Format
}

// compare compares a record with the checkpoints of its number.
func (v *verifier) compare(l *line) {
	marks := v.marks[l.seq]
	if len(marks) > 0 {
		v.Checkpoints++
	}
	for _, m := range marks {
		switch {
		case m.hash != l.hash:
			v.find(l.finding("this record is not the one of the checkpoint in %s:%d: the chain was made anew", m.file, m.line))
		case m.time != l.time:
			v.find(Finding{m.file, m.line, l.seq,
				fmt.Sprintf("this checkpoint says %s, and its record in %s:%d %s", m.time, l.file, l.n, l.time)})
		}
	}
}

// signature verifies a signature, and that one is there where it has to be.
func (v *verifier) signature(l *line) {
	if !l.kind.signed() {
		if l.signature != nil {
			v.find(l.finding("this record carries a signature, which its kind never does"))
		}
		return
	}
	var f signedFields
	_ = json.Unmarshal(l.text, &f) // a record that was changed, which is told already
	c := checkpointOf(f.Replica, l)
	switch {
	case l.signature == nil:
		v.find(l.finding("the signature of this record is missing"))
	case !c.verifies(v.o.Keys):
		v.find(l.finding("the signature of this record does not verify: it was changed, or made with another key"))
	case f.Replica != v.Replica:
		v.find(l.finding("this record is of the replica %s, and the chain that of %s", f.Replica, v.Replica))
	case l.intact:
		v.Signed = l.seq
		v.note(c)
		var end digest
		if l.kind == KindDropped && len(f.LastHash) == hexLen && unhex(&end, []byte(f.LastHash)) {
			v.dropped = append(v.dropped, link{f.Last, end})
		}
	}
}

// note keeps the note of a signed record for its time stamp.
func (v *verifier) note(c checkpoint) {
	if c.note == "" {
		return // format 1 had no notes
	}
	if len(v.noted) == mostNoted {
		v.noted = append(v.noted[:0], v.noted[mostNoted/2:]...)
	}
	v.noted = append(v.noted, c)
}

// stamp verifies a time stamp.
func (v *verifier) stamp(l *line) {
	var f struct {
		Of    uint64 `json:"of,string"`
		Token []byte `json:"token"`
	}
	if json.Unmarshal(l.text, &f) != nil {
		v.find(l.finding("this time stamp cannot be read"))
		return
	}
	if f.Of <= v.chain.first.seq {
		return // of a record that is not here
	}
	i := slices.IndexFunc(v.noted, func(c checkpoint) bool { return c.seq == f.Of })
	if i < 0 {
		v.find(l.finding("this is the time stamp of seq %d, which is not a signed record shortly before it", f.Of))
		return
	}
	of := v.noted[i]
	stamped, err := openStamp(f.Token, of, v.o.Authorities)
	if err != nil {
		v.find(l.finding("of the time stamp of seq %d: %v", f.Of, err))
		return
	}
	v.Timestamps++
	if at, err := time.Parse(time.RFC3339Nano, of.time); err == nil && stamped.Sub(at).Abs() > ahead {
		v.Notes = append(v.Notes, l.finding(
			"seq %d says %s, and the authority stamped it at %s: the clock was wrong",
			f.Of, of.time, stamped.UTC().Format(time.RFC3339)))
	}
	if v.o.Bundle {
		name := fmt.Sprintf("%s%012d", stampPrefix, f.Of)
		v.beside[name+".note"], v.beside[name+".tsr"] = []byte(of.note), f.Token
	}
}

// ahead is how far the clock of a record may be ahead of the one that verifies, and back how
// far behind the record before, until it is said.
const ahead, back = 5 * time.Minute, time.Second

// count counts a record, and notes what it says of gaps and of the clock.
func (v *verifier) count(l *line) {
	r := &v.Report
	r.Records++
	r.Last, r.To = max(r.Last, l.seq), l.time
	r.Ended = l.kind == KindStop
	note := func(format string, args ...any) { r.Notes = append(r.Notes, l.finding(format, args...)) }
	if l.kind == KindGap {
		r.Gaps++
		note("%s", gapText(l.text))
	}
	if !l.kind.signed() && l.kind != KindGap && l.kind != KindSegment {
		return // its time is that of a request, which may be before the one that was written before
	}
	at, err := time.Parse(time.RFC3339Nano, l.time)
	switch {
	case err != nil:
		v.find(l.finding("the time of this record is none"))
		return
	case v.clock.Sub(at) > back:
		note("the clock was set back by %s before this record", v.clock.Sub(at).Round(time.Second))
	case time.Until(at) > ahead && time.Until(v.clock) <= ahead:
		note("this record says %s, which is still to come: the clock was wrong, there or here", l.time)
	}
	v.clock = at
}

// gapText is what a gap record says, in a sentence.
func gapText(text []byte) string {
	var g gap
	if json.Unmarshal(text, &g) != nil {
		return "a gap"
	}
	says := g.Reason
	if g.LostReads+g.LostWrites+g.LostEvents > 0 {
		says += fmt.Sprintf(" (lost: %d reads, %d writes, %d events)", g.LostReads, g.LostWrites, g.LostEvents)
	}
	if g.Since != "" {
		says += ", since " + g.Since
	}
	return says
}

// conclude looks at the two ends.
func (v *verifier) conclude() {
	first, last := v.firstPlace, v.lastPlace
	switch {
	case v.chain.started && v.chain.first.seq == 0 && v.chain.first.hash != (digest{}):
		first.What = "this record names one before it, and its number says that it is the first"
		v.find(first)
	case v.chain.started && v.chain.first.seq > 0 && !v.o.Bundle && !slices.Contains(v.dropped, v.chain.first):
		first.What = "everything before this record is missing, and no signed record says that it was dropped in order " +
			"(of a bundle for an auditor it need not be there: say --bundle)"
		v.find(first)
	}
	if newest := v.newest; newest.seq > v.chain.last.seq && !v.o.Bundle {
		last.File, last.Seq = cmp.Or(last.File, v.Dir), v.chain.last.seq
		last.What = fmt.Sprintf("the end of the chain was cut off: it ends here, and the checkpoint in %s:%d shows that it "+
			"went to seq %d at %s", newest.file, newest.line, newest.seq, newest.time)
		v.find(last)
	}
	if !v.chain.started && len(v.marks) == 0 {
		v.find(Finding{File: v.Dir, What: "there is no record here"})
	}
	if !v.o.Bundle {
		return
	}
	if n := len(v.noted); n > 0 && v.noted[n-1].seq == v.chain.last.seq {
		v.beside[noteName] = []byte(v.noted[n-1].note)
		return
	}
	v.find(Finding{File: v.Dir, Seq: v.chain.last.seq,
		What: "the last record of this bundle is not signed: its end was cut off"})
}
