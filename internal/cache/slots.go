package cache

import (
	"sync"
	"sync/atomic"
)

// chunkSlots is by how many slots a shard's table grows.
const chunkSlots = 256

// slotBytes is about what an entry takes beside its head and its body: its slot, its place
// in the index, and what the allocator rounds up.
const slotBytes = 256

// shard is a part of the memory with a lock of its own: a table of slots, numbered from
// 1, that never move; what is free in it; and a list from the oldest to the newest. Numbers
// stand where pointers would, since the collector follows those.
type shard struct {
	mu     sync.RWMutex
	chunks []*[chunkSlots]slot
	used   uint32 // how many slots of the chunks were ever in use
	free   uint32 // the first of those that are not, linked by next
	count  int
	// index gives the first slot of a key's hash; the others follow by next, the newest
	// first.
	index map[uint64]uint32
	// newest and oldest are the ends of the list; hand is where the next victim is looked
	// for, 0 for the oldest. sweep is the same for what is of no use.
	newest, oldest, hand, sweep uint32
}

// slot is one variant kept under a key, or the word that its answers cannot be kept.
type slot struct {
	// head is the key's id, the variant and the rest of the entry but for its body.
	head              string
	body              []byte
	idLen, variantEnd uint32

	hash  uint64
	mark  Mark
	until int64 // when it is of no use any more, in nanoseconds since 1970
	// scopes are those of the key that do not follow from its hash.
	scopes [3]Scope

	next, newer, older uint32
	pass               bool
	asked              atomic.Bool
}

func (sl *slot) is(k *Key) bool { return sl.hash == k.hash && sl.head[:sl.idLen] == k.id }

func (sl *slot) variant() string { return sl.head[sl.idLen:sl.variantEnd] }

func (sl *slot) size() int64 { return int64(slotBytes + len(sl.head) + cap(sl.body)) }

// markOf is the mark of the key that a slot is kept under.
func (e *epochs) markOf(sl *slot) (m Mark) {
	for _, s := range [...]Scope{sl.scopes[0], sl.scopes[1], sl.scopes[2], scopeOfResource(sl.hash), Everything} {
		m += Mark(e.counts[s].Load())
	}
	return m
}

func (s *shard) at(n uint32) *slot { return &s.chunks[(n-1)/chunkSlots][(n-1)%chunkSlots] }

// reset empties the shard and gives its table back.
func (s *shard) reset() {
	s.chunks, s.used, s.free, s.count = nil, 0, 0, 0
	s.index = make(map[uint64]uint32)
	s.newest, s.oldest, s.hand, s.sweep = 0, 0, 0, 0
}

// insert fills a slot from with and puts it in front: of its hash, and of the list.
func (s *shard) insert(with *slot) uint32 {
	n := s.free
	if n != 0 {
		s.free = s.at(n).next
	} else {
		if s.used++; s.used > uint32(len(s.chunks)*chunkSlots) {
			s.chunks = append(s.chunks, new([chunkSlots]slot))
		}
		n = s.used
	}
	sl := s.at(n)
	sl.head, sl.body, sl.idLen, sl.variantEnd = with.head, with.body, with.idLen, with.variantEnd
	sl.hash, sl.mark, sl.until, sl.scopes, sl.pass = with.hash, with.mark, with.until, with.scopes, with.pass
	sl.asked.Store(false)
	sl.next, sl.newer, sl.older = s.index[sl.hash], 0, s.newest
	s.index[sl.hash] = n
	if s.newest != 0 {
		s.at(s.newest).newer = n
	} else {
		s.oldest = n
	}
	s.newest = n
	s.count++
	return n
}

// delete frees a slot.
func (s *shard) delete(n uint32) {
	sl := s.at(n)
	switch first := s.index[sl.hash]; {
	case first != n:
		for first != 0 {
			before := s.at(first)
			if first = before.next; first == n {
				before.next = sl.next
			}
		}
	case sl.next != 0:
		s.index[sl.hash] = sl.next
	default:
		delete(s.index, sl.hash)
	}
	if sl.newer != 0 {
		s.at(sl.newer).older = sl.older
	} else {
		s.newest = sl.older
	}
	if sl.older != 0 {
		s.at(sl.older).newer = sl.newer
	} else {
		s.oldest = sl.newer
	}
	if s.hand == n {
		s.hand = sl.newer
	}
	if s.sweep == n {
		s.sweep = sl.newer
	}
	sl.head, sl.body = "", nil
	sl.next, s.free = s.free, n
	s.count--
}
