package directory

import (
	"time"

	"ebox-gateway/internal/problem"
)

// State returns the provider's state at a moment.
func (p *Provider) State(now time.Time) State { return Active }

// MaintenanceEnd returns when the maintenance that is going on at a moment ends.
// Windows that overlap or touch are one. False means that there is none.
func (p *Provider) MaintenanceEnd(now time.Time) (time.Time, bool) { return time.Time{}, false }

// Problem returns why the provider cannot be called at a moment: nil if it can,
// 404 if it is not active yet or no more, 503 in maintenance, with its end, and
// if its host is not allowed.
func (p *Provider) Problem(now time.Time) *problem.Problem { return nil }

// Unknown is the problem of an id that no provider has: 404, naming the ids that
// can be called.
func Unknown(id string, known []string) *problem.Problem { return nil }
