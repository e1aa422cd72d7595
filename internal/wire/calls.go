package wire

import (
	"hash/maphash"
	"sync"
)

// Calls are the trace ids of the calls under way. An answer that names one which is not its own is somebody else's.
// It is safe for concurrent use.
type Calls struct {
	seed   maphash.Seed
	shards [16]struct {
		mu  sync.Mutex
		ids map[string]int // a call can have several tries under way
		_   [40]byte       // a cache line each
	}
}

// NewCalls makes an empty set.
func NewCalls() *Calls {
	c := &Calls{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].ids = make(map[string]int)
	}
	return c
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
