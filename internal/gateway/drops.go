package gateway

import (
	"fmt"
	"strings"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/tenancy"
)

// dropError is a configuration that would drop more enterprises, or lift more
// suspensions, than a slip should be able to: a list that was cut off, or emptied by a
// full disk, looks like one that somebody shortened.
type dropError struct{ error }

// dropLimit is the share of the enterprises, and of the suspensions, that a reload may
// drop unconfirmed.
const dropLimit = 0.05

// tooManyDropped returns a dropError if next drops more than it may unconfirmed, with
// those counts alone that are too high. All suspensions are always too many.
func tooManyDropped(old *generation, next *config.Config) error {
	var what []string
	listed := len(old.cfg.Tenancy.Enterprises)
	if n := droppedEnterprises(old.cfg, next); float64(n) > dropLimit*float64(listed) {
		what = append(what, fmt.Sprintf("drops %d of %d enterprises", n, listed))
	}
	suspended, after := old.resolver.Suspended(), tenancy.SuspendedIn(next.Tenancy)
	lifted, served := 0, listedIn(next.Tenancy)
	for number := range suspended {
		if !after[number] && (next.Tenancy.Mode == config.Any || served[number]) {
			lifted++
		}
	}
	if float64(lifted) > dropLimit*float64(len(suspended)) || lifted > 0 && len(after) == 0 {
		what = append(what, fmt.Sprintf("lifts the suspension of %d of %d enterprises", lifted, len(suspended)))
	}
	if what == nil {
		return nil
	}
	return dropError{fmt.Errorf("the new configuration %s: if that is meant, confirm it with SIGHUP, or with POST "+
		"/configuration/confirm?hash=%s on the admin listener", strings.Join(what, " and "), next.Hash())}
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

func listedIn(t config.Tenancy) map[enterprise.Number]bool {
	numbers := make(map[enterprise.Number]bool, len(t.Enterprises))
	for _, e := range t.Enterprises {
		numbers[e.Number] = true
	}
	return numbers
}
