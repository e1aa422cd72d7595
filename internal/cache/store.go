package cache

import (
	"context"
	"time"

	"ebox-gateway/internal/call"
)

// Store is a second level behind the memory, which replicas share. It may be slow or
// away: it bounds the time of each call itself, whatever the context says, and its
// failure is a miss.
//
// A store keeps one counter for each Scope. A counter that is made, or made again
// after it was lost, begins with a number that was never there before (the time, in
// microseconds), so that what was kept under the old one stays gone.
type Store interface {
	// Load gives what is kept under k, all variants, and the sum of the counters of
	// k.Scopes as they are now. Entries saved under another mark are left out. The
	// mark counts with no entries too: it is what Save wants to know of the time when
	// the request began. a, unless nil, bounds how long the request waits.
	Load(ctx context.Context, a *call.Allowance, k *Key) ([]*Entry, Mark, error)
	// Save keeps an entry in place of the one with the same Variant. begun is the mark
	// that Load gave before the request was sent; if it is no longer that of k, the
	// entry must never be seen. keep is how long it can be of use. Save is called
	// beside the request, not in its way.
	Save(ctx context.Context, k *Key, e *Entry, begun Mark, keep time.Duration) error
	// Bump moves an epoch on and has every other replica Apply it. The answer to a
	// write waits for it. After an error the store tries again by itself, and until that
	// has succeeded, Load fails and Save keeps nothing.
	Bump(ctx context.Context, a *call.Allowance, s Scope) error
}
