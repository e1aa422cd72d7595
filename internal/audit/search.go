package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"ebox-gateway/internal/ebox"
)

// Query says which records are sought. A record has to meet all that is given.
type Query struct {
	// Message is also looked for among what a write created, Enterprise among all that a
	// request named.
	Message, Attachment, Enterprise, Caller, Actor, Purpose, Provider, RequestID string
	// From and To bound the time, To exclusive. Zero is no bound.
	From, To time.Time
	// Events asks for refusals and the records that are not about calls as well.
	Events bool
	// Read, if not nil, is told of the bytes that were read or passed over.
	Read func(int64)
}

// Found is a call of the evidence, or an event: who did what, when, for whom.
type Found struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	Record
	// Intent is the record of a write's intent; Outcome is false where there is none of
	// what became of it: it may have taken effect.
	Intent  uint64 `json:"intent,omitempty"`
	Outcome bool   `json:"outcome"`
	// File and Line are where the record stands; Replica is whose it is.
	File    string `json:"file"`
	Line    int    `json:"line"`
	Replica string `json:"replica"`
	// Text is the record itself.
	Text string `json:"-"`
}

// Searched is what a search went over.
type Searched struct {
	// Segments counts the files that were read, Skipped those whose days are out of
	// the time that was asked for.
	Segments, Skipped int
	Records           uint64
	// Findings are places in what was read that do not verify.
	Findings []Finding
}

// Search goes over the chain in dir and gives what it finds, in the chain's order: a
// write with its outcome at the outcome, and without one at the end. The hash chain of
// what it reads is verified on the way, the signatures are not. A search ends early
// with the error of give.
func Search(dir string, q Query, give func(*Found) error) (Searched, error) {
	files, replica, err := openChain(dir)
	if err != nil {
		return Searched{}, err
	}
	s := &search{q: q, give: give, replica: replica, open: make(map[string]*Found)}
	s.chain = chain{find: s.find, read: q.Read}
	s.prepare()
	for i := range files.segments {
		seg := &files.segments[i]
		head, err := headerOf(seg)
		if err != nil {
			return s.result, err
		}
		if s.passes(head) {
			s.result.Skipped++
			s.chain = chain{find: s.find, read: q.Read} // it goes on elsewhere
			if q.Read != nil {
				q.Read(seg.size)
			}
			continue
		}
		s.result.Segments++
		if err := s.segment(seg); err != nil {
			return s.result, err
		}
	}
	for _, f := range slices.SortedFunc(maps.Values(s.open), func(a, b *Found) int { return cmp.Compare(a.Seq, b.Seq) }) {
		if err := s.give(f); err != nil {
			return s.result, err
		}
	}
	return s.result, nil
}

// search is one search under way.
type search struct {
	q       Query
	give    func(*Found) error
	replica string
	chain   chain
	result  Searched
	// needles are texts that the line of a record that is sought has to hold.
	needles [][]byte
	// open are writes whose outcome did not come yet, by request.
	open map[string]*Found
}

// prepare makes the texts that can be looked for before a line is read as JSON. What JSON
// writes in more than one way is looked for in what was read alone.
func (s *search) prepare() {
	for _, v := range []string{s.q.Message, s.q.Attachment, s.q.Enterprise, s.q.Caller, s.q.Actor, s.q.Purpose,
		s.q.Provider, s.q.RequestID} {
		if text, err := json.Marshal(v); err == nil && v != "" && string(text) == `"`+v+`"` {
			s.needles = append(s.needles, text)
		}
	}
}

// slack is how far the time of a record may be from the day of its segment: a request
// that took long is recorded under the time at which it ended, and written after.
const slack = 24 * time.Hour

// passes reports whether a segment cannot hold anything of the time that was asked for, by its first
// record: all of a segment is written on one day, and the first record says whether
// something earlier waited for it. The name of the file says nothing here.
func (s *search) passes(h header) bool {
	if h.Time.IsZero() {
		return false // it was changed, and is looked at
	}
	from := h.Time
	if !h.Earliest.IsZero() {
		from = h.Earliest
	}
	day := dayOf(h.Time)
	return !s.q.To.IsZero() && from.Add(-slack).After(s.q.To) || !s.q.From.IsZero() &&
		day.Add(24*time.Hour+slack).Before(s.q.From)
}

func (s *search) segment(seg *segment) error {
	for l, err := range s.chain.records(seg) {
		if err != nil {
			return err
		}
		s.result.Records++
		if s.mayMatch(l) {
			if err := s.record(l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) find(f Finding) {
	if len(s.result.Findings) < mostFindings {
		s.result.Findings = append(s.result.Findings, f)
	}
}

// mayMatch is false only for lines that cannot be what is sought. The outcome of a
// write belongs to the intent that was found, whatever it says itself.
func (s *search) mayMatch(l *line) bool {
	switch l.kind {
	case KindRead, KindOpening, KindIntent:
	case KindOutcome:
		if len(s.open) > 0 {
			return true
		}
	case KindRefusal:
		if !s.q.Events {
			return false
		}
	default:
		return s.q.Events
	}
	return !slices.ContainsFunc(s.needles, func(n []byte) bool { return !bytes.Contains(l.text, n) })
}

func (s *search) record(l *line) error {
	f := &Found{}
	if err := json.Unmarshal(l.text, f); err != nil {
		return nil //nolint:nilerr // a changed record, which was told already
	}
	f.File, f.Line, f.Replica, f.Text = l.file, l.n, s.replica, string(l.text)
	sought := s.matches(f)
	if l.kind == KindIntent {
		if sought {
			f.Intent = f.Seq
			s.open[f.RequestID] = f
		}
		return nil
	}
	f.Outcome = true
	if intent, ok := s.open[f.RequestID]; ok && l.kind == KindOutcome {
		delete(s.open, f.RequestID)
		f.Intent, f.Text = intent.Intent, intent.Text+"\n"+f.Text
		sought = true
	}
	if !sought {
		return nil
	}
	return s.give(f)
}

func (s *search) matches(f *Found) bool {
	q := &s.q
	is := func(want, got string) bool { return want == "" || want == got }
	if !is(q.Enterprise, f.Enterprise) && !slices.Contains(f.Named, q.Enterprise) || !is(q.Caller, f.Caller) ||
		!is(q.Actor, f.Actor) || !is(q.Purpose, f.Purpose) || !is(q.Provider, f.Provider) ||
		!is(q.Attachment, f.Attachment) || q.RequestID != "" && q.RequestID != f.RequestID && q.RequestID != f.ParentID {
		return false
	}
	if !q.From.IsZero() && f.Time.Before(q.From) || !q.To.IsZero() && !f.Time.Before(q.To) {
		return false
	}
	if q.Message == "" {
		return true
	}
	return slices.Contains(f.Messages, q.Message) || slices.Contains(f.Created, q.Message)
}

// ParseTime reads a day (Brussels), as 2026-01-31, or an instant in RFC 3339. As the
// end of a time, a day is meant to its end.
func ParseTime(s string, end bool) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, s, ebox.Brussels()); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, errors.New("is neither a day, as 2026-01-31, nor an instant, as 2026-01-31T14:00:00+01:00")
	}
	return at, nil
}
