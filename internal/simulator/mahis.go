package simulator

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ebox-gateway/internal/enterprise"
)

// The kinds of enterprise mandates that stand in Mahis.
const (
	// mandateEbox is "e-Box Document Consumer".
	mandateEbox = "e-box"
	// mandateDmfa is the type that grant/citizen looks for.
	mandateDmfa = "dmfa"
)

// mandate is an enterprise mandate in Mahis: Enterprise lets Representative act
// for it.
type mandate struct {
	// Enterprise is represented.
	Enterprise enterprise.Number
	// Representative is the office that acts; zero stands for every registered client's.
	Representative enterprise.Number
	// Kind is mandateEbox or mandateDmfa.
	Kind string
	// From and Until bound it; zero is open. It is ended from Until on.
	From, Until time.Time
	// Unvalidated says that the represented enterprise has not signed yet,
	// TermsRefused that it has not accepted the terms of use in its e-Box: the
	// providers refuse both.
	Unvalidated, TermsRefused bool
}

type mandateKey struct {
	represented, representative enterprise.Number
	kind                        string
}

// setMandate adds a mandate or replaces the one between the same enterprises of
// the same kind.
func (s *Simulator) setMandate(m mandate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mandates[mandateKey{m.Enterprise, m.Representative, m.Kind}] = m
}

// removeMandates removes every mandate of a kind that an enterprise has given;
// with kind "" of both.
func (s *Simulator) removeMandates(e enterprise.Number, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.mandates, func(k mandateKey, _ mandate) bool {
		return k.represented == e && (kind == "" || k.kind == kind)
	})
}

// Mandates lists all mandates, by enterprise and kind.
func (s *Simulator) mandateList() []mandate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.mandates), func(a, b mandate) int {
		return cmp.Or(cmp.Compare(a.Enterprise, b.Enterprise), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Representative, b.Representative))
	})
}

// refusal says why one enterprise may not act for another, and who can mend it; empty if it
// may. The mandate for every client counts where the two have none of their own.
func (s *Simulator) refusal(represented, representative enterprise.Number, kind string) string {
	found, ok := s.mandates[mandateKey{represented, representative, kind}]
	if !ok {
		found, ok = s.mandates[mandateKey{represented, 0, kind}]
	}
	if !ok {
		return "There is no mandate of type e-Box Document Consumer for this enterprise in Mahis."
	}
	return found.refusal(s.now())
}

// hasRepresentative reports whether anybody at all represents the enterprise by an active
// mandate of the kind.
func (s *Simulator) hasRepresentative(e enterprise.Number, kind string) bool {
	for k, m := range s.mandates {
		if k.represented == e && k.kind == kind && m.refusal(s.now()) == "" {
			return true
		}
	}
	return false
}

// inMahis reports whether Mahis has any mandate of the enterprise, in force or not.
func (s *Simulator) inMahis(e enterprise.Number) bool {
	for k := range s.mandates {
		if k.represented == e || k.representative == e {
			return true
		}
	}
	return false
}

func (m mandate) refusal(now time.Time) string {
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
