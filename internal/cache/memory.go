package cache

import (
	"sync/atomic"
	"time"
)

const (
	shardCount = 64
	// maxVariants is how many variants of one resource are kept. The oldest goes.
	maxVariants = 32
	// sweepStep is how many entries each new one has looked at, whether they are of
	// use yet, so that useless ones leave at least as fast as new ones come.
	sweepStep = 4
	// readyCount is how many entries are kept ready to be given, beside their form in
	// the slots.
	readyCount = 1 << 12
)

// memory is the first level, bounded by bytes. Each shard keeps its entries in order of
// arrival and evicts by SIEVE: a hand goes from the oldest to the newest and takes what
// was not asked for since it came by last. A hit writes one bit, and so needs no lock but
// a reader's.
//
// An entry rests as two pieces without a pointer, its head as codec.go writes it and its
// body, in a slot of a table: millions of them are a few hundred thousand objects to the
// collector rather than hundreds of millions. What is asked for often stays ready besides,
// so that a hit reads nothing anew.
type memory struct {
	limit  atomic.Int64
	bytes  atomic.Int64
	count  atomic.Int64
	evicts atomic.Uint64
	epochs *epochs
	shards [shardCount]shard
	ready  [readyCount]atomic.Pointer[readyEntry]
}

// readyEntry is an entry as it was read from a slot.
type readyEntry struct {
	head  string
	entry *Entry
}

func newMemory(limit int64, e *epochs) *memory {
	m := &memory{epochs: e}
	m.limit.Store(limit)
	for i := range m.shards {
		m.shards[i].reset()
	}
	return m
}

// shard takes other bits than the scope of a resource does.
func (m *memory) shard(k *Key) *shard { return &m.shards[k.hash>>58] }

// load appends to found the variants kept under k that count, the newest first, and tells
// whether its answers are known not to be storable.
func (m *memory) load(found []*Entry, k *Key, mark Mark, now time.Time) (variants []*Entry, pass bool) {
	at := now.UnixNano()
	s := m.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for n := s.index[k.hash]; n != 0; {
		sl := s.at(n)
		if sl.mark == mark && at < sl.until && sl.is(k) {
			if !sl.asked.Load() {
				sl.asked.Store(true)
			}
			if sl.pass {
				pass = true
			} else if e := m.entry(sl, n); e != nil {
				found = append(found, e)
			}
		}
		n = sl.next
	}
	return found, pass
}

// entry gives the entry of a slot, whose shard is locked, at least for reading. That
// keeps what was removed from becoming ready afterwards.
func (m *memory) entry(sl *slot, n uint32) *Entry {
	place := m.readyPlace(sl, n)
	if r := place.Load(); r != nil && r.of(sl) {
		return r.entry
	}
	e, ok := readEntry(sl.head[sl.idLen:])
	if !ok {
		return nil // it was written by this process, so this cannot be
	}
	e.Body, e.mark = sl.body, sl.mark
	place.Store(&readyEntry{sl.head, e})
	return e
}

func (m *memory) readyPlace(sl *slot, n uint32) *atomic.Pointer[readyEntry] {
	return &m.ready[(sl.hash>>32^uint64(n))%readyCount]
}

// of tells whether this is what rests in a slot: the same pieces, not just equal ones.
func (r *readyEntry) of(sl *slot) bool {
	body := r.entry.Body
	return r.head == sl.head && len(body) == len(sl.body) && (len(body) == 0 || &body[0] == &sl.body[0])
}

// store keeps an entry for a time, in place of the one with the same variant. It does
// nothing if an epoch of the key has moved on since the entry's request began.
func (m *memory) store(k *Key, e *Entry, keep time.Duration, now time.Time) bool {
	if e.size() > m.limit.Load()/2 {
		return false
	}
	var buf [1024]byte
	b := append(buf[:0], k.id...)
	b = e.appendVariant(b)
	selected := len(b)
	b = e.appendHead(b)
	s := m.shard(k)
	s.mu.Lock()
	if m.epochs.mark(k) != e.mark {
		s.mu.Unlock()
		return false
	}
	kept := 0
	for n := s.index[k.hash]; n != 0; {
		sl := s.at(n)
		old := n
		n = sl.next
		if !sl.is(k) {
			continue
		}
		if sl.pass || sl.mark != e.mark || sl.variant() == string(b[len(k.id):selected]) || kept >= maxVariants-1 {
			m.remove(s, old)
			continue
		}
		kept++
	}
	just := m.add(s, k, &slot{
		head: string(b), body: e.Body, variantEnd: uint32(selected), mark: e.mark, until: now.Add(keep).UnixNano(),
	})
	s.sweepSome(m, now)
	s.mu.Unlock()
	m.shrink(k, just)
	return true
}

// pass remembers that answers to k cannot be stored, so that nobody waits for one.
func (m *memory) pass(k *Key, mark Mark, until, now time.Time) {
	if m.limit.Load() == 0 {
		return
	}
	s := m.shard(k)
	s.mu.Lock()
	for n := s.index[k.hash]; n != 0; {
		sl := s.at(n)
		old := n
		n = sl.next
		if sl.pass && sl.is(k) {
			m.remove(s, old)
		}
	}
	just := m.add(s, k, &slot{head: k.id, mark: mark, until: until.UnixNano(), pass: true})
	s.sweepSome(m, now)
	s.mu.Unlock()
	m.shrink(k, just)
}

// add puts a new entry into a slot. The shard is locked.
func (m *memory) add(s *shard, k *Key, with *slot) uint32 {
	with.idLen, with.hash = uint32(len(k.id)), k.hash
	with.scopes = [...]Scope{k.scopes[0], k.scopes[2], k.scopes[3]}
	n := s.insert(with)
	m.bytes.Add(s.at(n).size())
	m.count.Add(1)
	return n
}

// remove takes an entry out. The shard is locked.
func (m *memory) remove(s *shard, n uint32) {
	sl := s.at(n)
	place := m.readyPlace(sl, n)
	if r := place.Load(); r != nil && r.of(sl) {
		place.CompareAndSwap(r, nil)
	}
	m.bytes.Add(-sl.size())
	m.count.Add(-1)
	s.delete(n)
}

// sweepSome looks at a few entries, whether they are of use yet.
func (s *shard) sweepSome(m *memory, now time.Time) {
	at := now.UnixNano()
	for range sweepStep {
		n := s.sweep
		if n == 0 {
			if n = s.oldest; n == 0 {
				return
			}
		}
		sl := s.at(n)
		s.sweep = sl.newer
		if at >= sl.until || m.epochs.markOf(sl) != sl.mark {
			m.remove(s, n)
		}
	}
}

// shrink evicts until everything fits, from the shard of k first, but not just, which
// has only come, unless nothing else is left.
func (m *memory) shrink(k *Key, just uint32) {
	first := int(k.hash >> 58)
	for i := 0; m.bytes.Load() > m.limit.Load() && i < 2*shardCount; i++ {
		s := &m.shards[(first+i)%shardCount]
		if i > 0 {
			just = 0
		}
		s.mu.Lock()
		for m.bytes.Load() > m.limit.Load() && m.evict(s, just) {
		}
		s.mu.Unlock()
	}
}

// evict takes one entry out of a shard; false if there is none to take.
func (m *memory) evict(s *shard, just uint32) bool {
	for range 2*s.count + 1 {
		n := s.hand
		if n == 0 {
			if n = s.oldest; n == 0 {
				return false
			}
		}
		sl := s.at(n)
		s.hand = sl.newer
		if n == just || sl.asked.Swap(false) {
			continue
		}
		m.remove(s, n)
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
		for s.oldest != 0 {
			m.remove(s, s.oldest)
		}
		s.reset()
		s.mu.Unlock()
	}
}
