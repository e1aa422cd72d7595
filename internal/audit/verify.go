package audit

import (
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"ebox-gateway/internal/printable"
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
	// Read, if not nil, is told of the bytes of segments that were read, of which there are Size.
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
	owners := make(map[string]string)
	shipped := make(map[string]mark)
	for _, chain := range chains {
		v := newVerifier(chain, o)
		v.shipped = shipped
		err := v.run()
		if err == nil && o.Bundle {
			err = v.compareBeside()
		}
		if err != nil {
			return reports, findings, err
		}
		r := v.Report
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
		if _, ok := shipped[r.Replica]; !ok && len(shipped) > 0 {
			findings = append(findings, Finding{File: chain, What: fmt.Sprintf("none of the checkpoints that were shipped is "+
				"of the replica %s: they were removed, or are in a file that was not given (--checkpoints)", r.Replica)})
		}
	}
	if len(o.Checkpoints) > 0 && len(shipped) == 0 {
		// All that is left to compare with lies beside the chains, where it could have been cut with them.
		findings = append(findings, Finding{File: o.Checkpoints[0], What: "the checkpoints that were shipped are empty: " +
			"they were removed, or this is another file"})
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
	return reports, findings, nil
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

// Size is how many bytes the segments of chains in some directories have, for Read of a search or
// of verifying.
func Size(dirs []string) (total int64) {
	for _, dir := range dirs {
		chains, _ := Chains(dir) // the reading itself says so
		for _, chain := range chains {
			files, _ := filesOf(chain)
			for _, s := range files.segments {
				total += s.size
			}
		}
	}
	return total
}

// Finding is a place where the evidence is not as it was written.
type Finding struct {
	// File and Line are the place, Seq the record, 0 if it cannot be told.
	File string
	Line int
	Seq  uint64
	// What is wrong there.
	What string
}

// String is file:line: seq N: what. Whoever changed the evidence may have chosen words of it,
// and they end on somebody's terminal.
func (f Finding) String() string {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if f.Seq > 0 {
		place = fmt.Sprintf("%s: seq %d", place, f.Seq)
	}
	return printable.Text(place+": "+f.What, math.MaxInt)
}

// Report is what verifying a chain found.
type Report struct {
	// Dir is the directory, Replica whose chain it is, empty if no record says so.
	Dir, Replica string
	// Findings are the first hundred: a page that was torn out would give thousands. More counts the others.
	Findings []Finding
	More     int
	// Segments and Records count what was read, from First to Last; Compressed is how
	// many of the segments are.
	Segments    int
	Compressed  int
	Records     uint64
	First, Last uint64
	From, To    string
	// Signed is the last record that a signature covers. What comes after it could
	// have been put there or taken away without a trace.
	Signed uint64
	// Ended reports whether the last record is that of an orderly end.
	Ended bool
	// Notes are what the chain itself says: where something may be missing, which Gaps
	// counts, and where the clock was wrong.
	Notes []Finding
	Gaps  int
	// OwnKeys reports whether the keys lay beside the chain.
	OwnKeys bool
	// Checkpoints counts the records that were compared with a checkpoint, Timestamps the time
	// stamps that verify.
	Checkpoints, Timestamps int
}

// mostFindings bounds Report.Findings and Searched.Findings.
const mostFindings = 100

func (r *Report) find(f Finding) {
	if len(r.Findings) == mostFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}
