package simulator

import (
	"sync"
	"time"

	"ebox-gateway/internal/enterprise"
)

// The kinds of enterprise mandates that stand in Mahis.
const (
	// MandateEbox is "e-Box Document Consumer".
	MandateEbox = "e-box"
	// MandateDmfa is the type that grant/citizen looks for.
	MandateDmfa = "dmfa"
)

// Mandate is an enterprise mandate in Mahis: Enterprise lets Representative act
// for it.
type Mandate struct {
	// Enterprise is represented.
	Enterprise enterprise.Number
	// Representative is the office that acts; zero stands for every registered client's.
	Representative enterprise.Number
	// Kind is MandateEbox or MandateDmfa.
	Kind string
	// From and Until bound it; zero is open. It is ended from Until on.
	From, Until time.Time
	// Unvalidated says that the represented enterprise has not signed yet,
	// TermsRefused that it has not accepted the terms of use in its e-Box: the
	// providers refuse both.
	Unvalidated, TermsRefused bool
}

// mandateRegister is Mahis: the mandates between enterprises, by what they are about.
type mandateRegister struct {
	now func() time.Time

	mu       sync.RWMutex
	mandates map[mandateKey]Mandate
}

type mandateKey struct {
	represented, representative enterprise.Number
	kind                        string
}

// SetMandate adds a mandate or replaces the one between the same enterprises of
// the same kind.
func (s *Simulator) SetMandate(m Mandate) { s.mahis.set(m) }

// RemoveMandates removes every mandate of a kind that an enterprise has given;
// with kind "" of both.
func (s *Simulator) RemoveMandates(e enterprise.Number, kind string) { s.mahis.remove(e, kind) }

// Mandates lists all mandates.
func (s *Simulator) Mandates() []Mandate { return s.mahis.list() }

// SetGrantHealth says whether grant/citizen's /health answers UP or DOWN.
func (s *Simulator) SetGrantHealth(up bool) { s.citizen.setHealth(up) }
