package audit

import (
	"sync/atomic"
	"time"
)

// totals are what Status shows and only the writer, or the queue, knows.
type totals struct {
	seq, signed, records, lost atomic.Uint64
	// shipping is why checkpoints cannot be handed out, nil if they can.
	shipping atomic.Pointer[string]
}

// Status is how the evidence stands. It is fit for JSON.
type Status struct {
	Directory string `json:"directory"`
	Replica   string `json:"replica"`
	// Key is the SHA-256 of the public key that verifies.
	Key string `json:"key"`
	// Sequence is the number of the last record on disk, Signed of the last signed one.
	Sequence uint64 `json:"sequence"`
	Signed   uint64 `json:"signed"`
	// Written counts calls and events recorded since the start, Lost those that were
	// not taken because too many waited, Waiting those that are in memory.
	Written uint64 `json:"written"`
	Lost    uint64 `json:"lost"`
	Waiting int    `json:"waiting"`
	// Failing says why records cannot be written, since when, and Refusing whether
	// requests are refused for it, or since more records wait than may (Full).
	Failing  string    `json:"failing,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Refusing bool      `json:"refusing,omitempty"`
	Full     bool      `json:"full,omitempty"`
	// Shipping says why checkpoints cannot be handed out.
	Shipping string `json:"shipping,omitempty"`
}

// Status tells how the evidence stands.
func (l *Log) Status() Status {
	s := Status{
		Directory: l.dir, Replica: l.o.Replica, Key: Fingerprint(l.key.Public()),
		Full: l.Full(), Sequence: l.totals.seq.Load(), Signed: l.totals.signed.Load(),
		Written: l.totals.records.Load(), Lost: l.totals.lost.Load(),
	}
	s.Refusing = s.Full || l.Refused()
	if t := l.trouble.Load(); t != nil {
		s.Failing, s.Since = t.cause, t.since
	}
	if why := l.totals.shipping.Load(); why != nil {
		s.Shipping = *why
	}
	l.mu.Lock()
	s.Waiting = l.held
	l.mu.Unlock()
	return s
}
