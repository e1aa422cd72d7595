package simulator

import (
	"cmp"
	"slices"
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
func (s *Simulator) SetMandate(m Mandate) {
	s.mahis.mu.Lock()
	defer s.mahis.mu.Unlock()
	s.mahis.mandates[mandateKey{m.Enterprise, m.Representative, m.Kind}] = m
}

// RemoveMandates removes every mandate of a kind that an enterprise has given;
// with kind "" of both.
func (s *Simulator) RemoveMandates(e enterprise.Number, kind string) {
	s.mahis.mu.Lock()
	defer s.mahis.mu.Unlock()
	for k := range s.mahis.mandates {
		if k.represented == e && (kind == "" || k.kind == kind) {
			delete(s.mahis.mandates, k)
		}
	}
}

// Mandates lists all mandates, by enterprise and kind.
func (s *Simulator) Mandates() []Mandate {
	s.mahis.mu.RLock()
	defer s.mahis.mu.RUnlock()
	list := make([]Mandate, 0, len(s.mahis.mandates))
	for _, m := range s.mahis.mandates {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Mandate) int {
		return cmp.Or(cmp.Compare(a.Enterprise, b.Enterprise), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Representative, b.Representative))
	})
	return list
}

// refusal says why one enterprise may not act for another, and who can mend it; empty if it
// may. The mandate for every client counts where the two have none of their own.
func (m *mandateRegister) refusal(represented, representative enterprise.Number, kind string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	found, ok := m.mandates[mandateKey{represented, representative, kind}]
	if !ok {
		found, ok = m.mandates[mandateKey{represented, 0, kind}]
	}
	if !ok {
		return "There is no mandate of type e-Box Document Consumer for this enterprise in Mahis."
	}
	return found.refusal(m.now())
}

// represented tells whether anybody at all represents the enterprise by an
// active mandate of the kind.
func (m *mandateRegister) represented(e enterprise.Number, kind string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.now()
	for k, found := range m.mandates {
		if k.represented == e && k.kind == kind && found.refusal(now) == "" {
			return true
		}
	}
	return false
}

// knows tells whether Mahis has any mandate of the enterprise, in force or not.
func (m *mandateRegister) knows(e enterprise.Number) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for k := range m.mandates {
		if k.represented == e || k.representative == e {
			return true
		}
	}
	return false
}

func (m Mandate) refusal(now time.Time) string {
	switch {
	case !m.Until.IsZero() && !now.Before(m.Until):
		return "The mandate for this enterprise has ended. Both sides can renew it in Mahis."
	case m.Unvalidated, now.Before(m.From):
		return "The mandate for this enterprise waits for its validation in Mahis."
	case m.TermsRefused:
		return "The enterprise has not accepted the terms of use for Document Consumers in its e-Box."
	}
	return ""
}
