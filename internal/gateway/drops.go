package gateway

import (
	"fmt"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

// DropError is a configuration that would drop more enterprises, or lift more
// suspensions, than a slip should be able to: a list that was cut off, or emptied by a
// full disk, looks like one that somebody shortened.
type DropError struct {
	// Hash is the configuration's.
	Hash string
	// Dropped of Listed enterprises would be gone; Lifted of Suspended ones would be
	// served again.
	Dropped, Listed, Lifted, Suspended int
}

func (e *DropError) Error() string {
	var what []string
	if e.Dropped > 0 {
		what = append(what, fmt.Sprintf("drops %d of %d enterprises", e.Dropped, e.Listed))
	}
	if e.Lifted > 0 {
		what = append(what, fmt.Sprintf("lifts the suspension of %d of %d enterprises", e.Lifted, e.Suspended))
	}
	return "the new configuration " + strings.Join(what, " and ") +
		": if that is meant, confirm it with SIGHUP, or with POST /configuration/confirm?hash=" + e.Hash +
		" on the admin listener"
}

// dropLimit is the share of the enterprises, and of the suspensions, that a reload may
// drop unconfirmed.
const dropLimit = 0.05

// tooManyDropped returns a DropError if next drops more than it may unconfirmed, with
// those counts alone that are too high. All suspensions are always too many.
func tooManyDropped(old *generation, next *config.Config) error {
	e := &DropError{Hash: next.Hash()}
	if n, listed := droppedEnterprises(old.cfg, next),
		len(old.cfg.Tenancy.Enterprises); float64(n) > dropLimit*float64(listed) {
		e.Dropped, e.Listed = n, listed
	}
	suspended, after := old.resolver.Suspended(), tenancy.SuspendedIn(next.Tenancy)
	n := liftedSuspensions(suspended, after, next.Tenancy)
	if float64(n) > dropLimit*float64(len(suspended)) || n > 0 && len(after) == 0 {
		e.Lifted, e.Suspended = n, len(suspended)
	}
	if e.Dropped == 0 && e.Lifted == 0 {
		return nil
	}
	return e
}

// droppedEnterprises counts those of old that next has not.
func droppedEnterprises(old, next *config.Config) (n int) {
	if old.Tenancy.Mode != config.Listed || next.Tenancy.Mode != config.Listed {
		return 0
	}
	kept := listedIn(next.Tenancy)
	for _, e := range old.Tenancy.Enterprises {
		if !kept[e.Number] {
			n++
		}
	}
	return n
}

// liftedSuspensions counts the suspended enterprises that next serves again.
func liftedSuspensions(suspended, after map[enterprise.Number]bool, next config.Tenancy) (n int) {
	listed := listedIn(next)
	for number := range suspended {
		if !after[number] && (next.Mode == config.Any || listed[number]) {
			n++
		}
	}
	return n
}

func listedIn(t config.Tenancy) map[enterprise.Number]bool {
	numbers := make(map[enterprise.Number]bool, len(t.Enterprises))
	for _, e := range t.Enterprises {
		numbers[e.Number] = true
	}
	return numbers
}
