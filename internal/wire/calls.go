package wire

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Calls are what several Transports know in common: the trace ids of the calls under way, for an answer that names one
// which is not its own is somebody else's, and the hosts that have sent surplus bytes, which a new Transport must not
// have to find out again. It is safe for concurrent use.
type Calls struct {
	seed   maphash.Seed
	shards [16]struct {
		mu  sync.Mutex
		ids map[string]int // a call can have several tries under way
		_   [40]byte       // a cache line each
	}
	// distrusted has for each address, as *atomic.Int64, until when on nano's clock no connection to it is used twice.
	distrusted sync.Map
}

// NewCalls makes an empty set.
func NewCalls() *Calls {
	c := &Calls{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].ids = make(map[string]int)
	}
	return c
}

// distrustedUntil is what all Transports to an address have in common: until when none of its
// connections is used twice.
func (c *Calls) distrustedUntil(address string) *atomic.Int64 {
	until, _ := c.distrusted.LoadOrStore(address, new(atomic.Int64))
	return until.(*atomic.Int64)
}

func (c *Calls) add(id string, by int) {
	s := &c.shards[maphash.String(c.seed, id)%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.ids[id] + by; n > 0 {
		s.ids[id] = n
	} else {
		delete(s.ids, id)
	}
}

func (c *Calls) has(id string) bool {
	s := &c.shards[maphash.String(c.seed, id)%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id] > 0
}
