package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// Calls are what several Transports know in common: the trace ids of the calls under way, for an answer that names one
// which is not its own is somebody else's, and the hosts that have sent surplus bytes, which a new Transport must not
// have to find out again. It is safe for concurrent use.
type Calls struct {
	mu  sync.Mutex
	ids map[string]int // a call can have several tries under way
	// distrusted has for each address, as *atomic.Pointer[time.Time], until when no connection to it is used twice.
	distrusted sync.Map
}

// NewCalls makes an empty set.
func NewCalls() *Calls { return &Calls{ids: make(map[string]int)} }

// distrustedUntil is what all Transports to an address have in common: until when none of its
// connections is used twice.
func (c *Calls) distrustedUntil(address string) *atomic.Pointer[time.Time] {
	until, _ := c.distrusted.LoadOrStore(address, new(atomic.Pointer[time.Time]))
	return until.(*atomic.Pointer[time.Time])
}

func (c *Calls) add(id string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids[id] += by; c.ids[id] <= 0 {
		delete(c.ids, id)
	}
}

func (c *Calls) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[id] > 0
}
