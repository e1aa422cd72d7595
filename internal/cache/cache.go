package cache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/flight"
)

const (
	// maxRefreshes bounds what is fetched in the background at once, and maxSaves what
	// is on its way to the second level; what is beyond is left undone.
	maxRefreshes = 64
	maxSaves     = 64
	// refreshTime bounds one such fetch, saveTime one such write.
	refreshTime = time.Minute
	saveTime    = time.Second
	// passTime is how long it is remembered that an answer cannot be stored.
	passTime = 30 * time.Second
)

// Options are what a Cache takes from outside. All of them are required.
type Options struct {
	// Memory bounds the first level, in bytes; 0 is for none.
	Memory int64
	// Classify says what an error of the way to the upstream means.
	Classify func(error) call.Failure
	// Done is given the record of each call that was made in the background.
	Done func(*call.Record)
	Log  *slog.Logger
	Now  func() time.Time
}

// Cache keeps answers, in memory and in a second level if there is one. It is safe for
// concurrent use.
type Cache struct {
	o       Options
	epochs  *epochs
	memory  *memory
	flights flight.Group[asking, *Entry]
	second  atomic.Pointer[Store]

	refreshes, saves chan struct{}
	ctx              context.Context // done when the cache is closed
	cancel           context.CancelFunc
	closing          sync.Mutex
	beside           sync.WaitGroup

	counts counts
}

// counts only grow.
type counts struct {
	hits, misses, stale, validated, collapsed, stored, bumps, failures atomic.Uint64
}

// Stats is how the cache stands. All but the first two only grow.
type Stats struct {
	Bytes     int64  `json:"bytes"`
	Resources int64  `json:"resources"`
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
	// Stale counts hits past their lifetime, Validated what the upstream confirmed,
	// Collapsed what another request's answer was good for.
	Stale     uint64 `json:"stale"`
	Validated uint64 `json:"validated"`
	Collapsed uint64 `json:"collapsed"`
	Stored    uint64 `json:"stored"`
	Evicted   uint64 `json:"evicted"`
	// Invalidations counts what writes, refusals and purges made void here.
	Invalidations uint64 `json:"invalidations"`
	// StoreFailures counts what the second level did not do.
	StoreFailures uint64 `json:"storeFailures,omitempty"`
}

// New makes a Cache. Close ends what it does beside the requests.
func New(o Options) *Cache {
	e := new(epochs)
	c := &Cache{
		o: o, epochs: e, memory: newMemory(o.Memory, e, o.Now),
		refreshes: make(chan struct{}, maxRefreshes), saves: make(chan struct{}, maxSaves),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends what is done beside requests and waits for it.
func (c *Cache) Close() {
	c.closing.Lock()
	c.cancel()
	c.closing.Unlock()
	c.beside.Wait()
}

// aside does something beside the request, if there is a place; false if not.
func (c *Cache) aside(places chan struct{}, do func()) bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	select {
	case places <- struct{}{}:
	default:
		return false
	}
	c.beside.Go(func() {
		defer func() { <-places }()
		do()
	})
	return true
}

// UseStore replaces the second level; nil for none. What is under way ends with the
// one that it began with.
func (c *Cache) UseStore(s Store) {
	if s == nil {
		c.second.Store(nil)
		return
	}
	c.second.Store(&s)
}

func (c *Cache) store() Store {
	if s := c.second.Load(); s != nil {
		return *s
	}
	return nil
}

// Resize changes the bound of the first level, in bytes; 0 is for none.
func (c *Cache) Resize(limit int64) {
	c.memory.resize(limit)
}

// Stats gives the counts of the cache.
func (c *Cache) Stats() Stats {
	n := &c.counts
	return Stats{
		Bytes: c.memory.bytes(), Resources: c.memory.count(),
		Hits: n.hits.Load(), Misses: n.misses.Load(), Stale: n.stale.Load(), Validated: n.validated.Load(),
		Collapsed: n.collapsed.Load(), Stored: n.stored.Load(), Evicted: c.memory.evicts.Load(),
		Invalidations: n.bumps.Load(), StoreFailures: n.failures.Load(),
	}
}

// Apply takes in what another replica has invalidated. It does not go on to the store.
func (c *Cache) Apply(s Scope) { c.epochs.bump(s) }

// Flush drops everything in memory, after invalidations of other replicas may have been
// lost. What the store keeps, stays: its own counters tell what still counts.
func (c *Cache) Flush() {
	c.epochs.bump(Everything)
	c.memory.clear()
}

// Invalidate makes everything of a scope void, here and in every replica: what is stored
// and what requests under way will bring. The error is the second level's, which sees to
// it by itself later (Store.Bump). a, unless nil, bounds how long it is waited for.
func (c *Cache) Invalidate(ctx context.Context, a *call.Allowance, s Scope) error {
	c.counts.bumps.Add(1)
	// The second level goes first. The other way round, a request that began in between
	// could bring back from there what was void already.
	var err error
	if store := c.store(); store != nil {
		if err = store.Bump(context.WithoutCancel(ctx), a, s); err != nil {
			c.counts.failures.Add(1)
		}
	}
	c.epochs.bump(s)
	return err
}
