package simulator

import (
	"cmp"
	"fmt"
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

// mandate is an enterprise mandate in Mahis.
type mandate struct {
	mandateKey
	// From and Until are days, as in 2026-01-31; empty is open. It is ended from Until on.
	From, Until string
}

// mandateKey tells mandates apart: Enterprise lets Representative act for it.
type mandateKey struct {
	Enterprise enterprise.Number
	// Representative is the office that acts; zero stands for every registered client's.
	Representative enterprise.Number
	// Kind is mandateEbox or mandateDmfa.
	Kind string
}

// setMandate adds a mandate or replaces the one between the same enterprises of
// the same kind.
func (s *Simulator) setMandate(m mandate) error {
	if m.Enterprise == 0 || m.Kind != mandateEbox && m.Kind != mandateDmfa {
		return fmt.Errorf("setting a mandate: enterprise and kind (%s or %s) are required", mandateEbox, mandateDmfa)
	}
	for _, day := range []string{m.From, m.Until} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return fmt.Errorf("setting a mandate: from and until are days, as in 2026-01-31: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mandates[m.mandateKey] = m
	return nil
}

// removeMandates removes every mandate of a kind that an enterprise has given;
// with kind "" of both.
func (s *Simulator) removeMandates(e enterprise.Number, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.mandates, func(k mandateKey, _ mandate) bool {
		return k.Enterprise == e && (kind == "" || k.Kind == kind)
	})
}

// mandateList lists all mandates, by enterprise and kind.
func (s *Simulator) mandateList() []mandate {
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
	return found.refusal(s.today())
}

// hasRepresentative reports whether anybody at all represents the enterprise by an active
// mandate of the kind.
func (s *Simulator) hasRepresentative(e enterprise.Number, kind string) bool {
	for k, m := range s.mandates {
		if k.Enterprise == e && k.Kind == kind && m.refusal(s.today()) == "" {
			return true
		}
	}
	return false
}

// inMahis reports whether Mahis has any mandate of the enterprise, in force or not.
func (s *Simulator) inMahis(e enterprise.Number) bool {
	for k := range s.mandates {
		if k.Enterprise == e || k.Representative == e {
			return true
		}
	}
	return false
}

func (m mandate) refusal(today string) string {
	switch {
	case m.Until != "" && m.Until <= today:
		return "The mandate for this enterprise has ended. Both sides can renew it in Mahis."
	case today < m.From:
		return "The mandate for this enterprise waits for its validation in Mahis."
	}
	return ""
}
