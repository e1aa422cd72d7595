package cache

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardCount = 64
	// maxVariants is how many variants of one resource are kept. The oldest goes.
	maxVariants = 32
	// sweepStep is how many resources each new one has looked at, whether they are of
	// use yet: the dead go as fast as the living come.
	sweepStep = 4
)

// memory is the first level: resources by key, bounded by bytes. Each shard keeps them
// in order of arrival and evicts by SIEVE: a hand goes from the oldest to the newest and
// takes what was not asked for since it came by last. A hit writes one bit, and so needs
// no lock but a reader's.
type memory struct {
	limit  atomic.Int64
	bytes  atomic.Int64
	count  atomic.Int64
	evicts atomic.Uint64
	epochs *epochs
	shards [shardCount]shard
}

type shard struct {
	mu        sync.RWMutex
	resources map[string]*resource
	// newest and oldest are the ends of the list; hand is where the next victim is
	// looked for, nil for the oldest. sweep is the same for what is of no use.
	newest, oldest, hand, sweep *resource
}

// resource is what is kept under one key. variants is replaced as a whole; whoever has
// it may go on reading it.
type resource struct {
	key      Key
	variants []*Entry
	until    time.Time // when the last of them is of no use
	size     int64
	// passUntil says until when an answer is not to be waited for: the last could not be
	// stored.
	passUntil time.Time
	passMark  Mark

	asked        atomic.Bool
	newer, older *resource
}

func newMemory(limit int64, e *epochs) *memory {
	m := &memory{epochs: e}
	m.limit.Store(limit)
	for i := range m.shards {
		m.shards[i].resources = make(map[string]*resource)
	}
	return m
}

// shard takes other bits than the scope of a resource does.
func (m *memory) shard(k *Key) *shard { return &m.shards[k.hash>>58] }

// load gives the variants kept under k, and whether its answers are known not to be
// storable.
func (m *memory) load(k *Key, mark Mark, now time.Time) (variants []*Entry, pass bool) {
	s := m.shard(k)
	s.mu.RLock()
	r := s.resources[k.id]
	if r == nil {
		s.mu.RUnlock()
		return nil, false
	}
	variants, pass = r.variants, r.passMark == mark && now.Before(r.passUntil)
	if !now.Before(r.until) {
		variants = nil
	}
	s.mu.RUnlock()
	if !r.asked.Load() {
		r.asked.Store(true)
	}
	return variants, pass
}

// store keeps an entry for a time, in place of the one with the same variant. It does
// nothing if an epoch of the key has moved on since the entry's request began.
func (m *memory) store(k *Key, e *Entry, keep time.Duration, now time.Time) bool {
	if e.size() > m.limit.Load()/2 {
		return false
	}
	s := m.shard(k)
	s.mu.Lock()
	if m.epochs.mark(k) != e.mark {
		s.mu.Unlock()
		return false
	}
	r := m.resource(s, k)
	kept := make([]*Entry, 0, len(r.variants)+1)
	kept = append(kept, e)
	for _, other := range r.variants { // newest first
		if other.mark == e.mark && !sameVariant(other, e) && len(kept) < maxVariants {
			kept = append(kept, other)
		}
	}
	r.variants, r.passUntil = kept, time.Time{}
	if until := now.Add(keep); until.After(r.until) {
		r.until = until
	}
	m.resize(r)
	s.sweepSome(m, now)
	s.mu.Unlock()
	m.shrink(k, r)
	return true
}

// pass remembers that answers to k cannot be stored, so that nobody waits for one.
func (m *memory) pass(k *Key, mark Mark, until, now time.Time) {
	s := m.shard(k)
	s.mu.Lock()
	r := m.resource(s, k)
	r.passUntil, r.passMark = until, mark
	if until.After(r.until) {
		r.until = until
	}
	m.resize(r)
	s.sweepSome(m, now)
	s.mu.Unlock()
	m.shrink(k, r)
}

func sameVariant(a, b *Entry) bool {
	if len(a.Selecting) != len(b.Selecting) {
		return false
	}
	for i := range a.Selecting {
		if a.Selecting[i] != b.Selecting[i] {
			return false
		}
	}
	return true
}

// resource gives the resource of a key, new if there is none. The shard is locked.
func (m *memory) resource(s *shard, k *Key) *resource {
	if r, ok := s.resources[k.id]; ok {
		return r
	}
	r := &resource{key: *k, older: s.newest}
	s.resources[k.id] = r
	if s.newest != nil {
		s.newest.newer = r
	} else {
		s.oldest = r
	}
	s.newest = r
	m.count.Add(1)
	return r
}

// resize counts a resource anew.
func (m *memory) resize(r *resource) {
	size := int64(300 + len(r.key.id))
	for _, e := range r.variants {
		size += e.size()
	}
	m.bytes.Add(size - r.size)
	r.size = size
}

// remove takes a resource out. The shard is locked.
func (m *memory) remove(s *shard, r *resource) {
	delete(s.resources, r.key.id)
	if r.newer != nil {
		r.newer.older = r.older
	} else {
		s.newest = r.older
	}
	if r.older != nil {
		r.older.newer = r.newer
	} else {
		s.oldest = r.newer
	}
	if s.hand == r {
		s.hand = r.newer
	}
	if s.sweep == r {
		s.sweep = r.newer
	}
	m.bytes.Add(-r.size)
	m.count.Add(-1)
}

// sweepSome looks at a few resources, whether they are of use yet.
func (s *shard) sweepSome(m *memory, now time.Time) {
	for range sweepStep {
		r := s.sweep
		if r == nil {
			if r = s.oldest; r == nil {
				return
			}
		}
		s.sweep = r.newer
		if m.dead(r, now) {
			m.remove(s, r)
		}
	}
}

// dead tells that a resource is past its time, or was invalidated.
func (m *memory) dead(r *resource, now time.Time) bool {
	if !now.Before(r.until) {
		return true
	}
	mark := m.epochs.mark(&r.key)
	for _, e := range r.variants {
		if e.mark == mark {
			return false
		}
	}
	return r.passMark != mark || !now.Before(r.passUntil)
}

// shrink evicts until everything fits, from the shard of k first, but not just, which
// has only come, unless nothing else is left.
func (m *memory) shrink(k *Key, just *resource) {
	first := int(k.hash >> 58)
	for i := 0; m.bytes.Load() > m.limit.Load() && i < 2*shardCount; i++ {
		s := &m.shards[(first+i)%shardCount]
		s.mu.Lock()
		for m.bytes.Load() > m.limit.Load() && m.evict(s, just) {
		}
		s.mu.Unlock()
	}
}

// evict takes one resource out of a shard; false if there is none to take.
func (m *memory) evict(s *shard, just *resource) bool {
	for range 2*len(s.resources) + 1 {
		r := s.hand
		if r == nil {
			if r = s.oldest; r == nil {
				return false
			}
		}
		s.hand = r.newer
		if r == just || r.asked.Swap(false) {
			continue
		}
		m.remove(s, r)
		m.evicts.Add(1)
		return true
	}
	return false
}

// clear drops everything at once.
func (m *memory) clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for s.oldest != nil {
			m.remove(s, s.oldest)
		}
		s.mu.Unlock()
	}
}
