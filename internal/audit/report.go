package audit

import (
	"encoding/json"
	"fmt"
	"math"

	"ebox-gateway/internal/printable"
)

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
	// Findings are the first thousand; More counts the others.
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
	// Ended tells that the last record is that of an orderly end.
	Ended bool
	// Notes are what the chain itself says: where something may be missing, which Gaps
	// counts, and where the clock was wrong.
	Notes []Finding
	Gaps  int
	// OwnKeys tells that the keys lay beside the chain.
	OwnKeys bool
	// Checkpoints counts the records that were compared with a checkpoint, Timestamps the time
	// stamps that verify.
	Checkpoints, Timestamps int
}

// mostFindings bounds Report.Findings.
const mostFindings = 1000

func (r *Report) find(f Finding) {
	if len(r.Findings) == mostFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

func (v *verifier) find(file string, n int, seq uint64, format string, args ...any) {
	v.report.find(Finding{file, n, seq, fmt.Sprintf(format, args...)})
}

// gap is what the record of a gap says: what may be missing before it, and why.
type gap struct {
	Reason     string   `json:"reason"`
	Since      string   `json:"since,omitempty"`
	LostReads  int64    `json:"lostReads,omitempty"`
	LostWrites int64    `json:"lostWrites,omitempty"`
	LostEvents int64    `json:"lostEvents,omitempty"`
	SetAside   []string `json:"setAside,omitempty"`
	// MissingUpTo is the last record that was written to what was taken away.
	MissingUpTo uint64 `json:"missingUpTo,omitempty"`
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
