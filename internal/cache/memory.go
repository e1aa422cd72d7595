package cache

import (
	"bytes"
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// maxVariants is how many variants of one resource are kept. The oldest goes.
	maxVariants = 32
	// resourceBytes and variantBytes are about what a resource and each of its variants
	// take beside the bytes of the answer: the key, the library's lists, and what the
	// allocator rounds up.
	resourceBytes = 160
	variantBytes  = 88
	// mostReady is how many answers are at hand as they were read.
	mostReady = 1024
)

// memory is the first level, bounded by bytes. otter chooses what goes when it is full
// (W-TinyLFU: what is asked for often stays) and drops what has expired.
//
// An answer rests as the bytes that codec.go writes, so that a million small ones are few
// objects to the collector, however many fields they have. The last mostReady that were
// read for a hit are kept as well, in a ring: where the next one is put, the one that was
// read longest ago goes.
type memory struct {
	limit  atomic.Int64
	evicts atomic.Uint64
	epochs *epochs
	kept   resources

	ring [mostReady]atomic.Pointer[ready]
	next atomic.Uint32
}

// resources is what is used of an otter.Cache. A field of that type itself would have each
// package that knows of this one compile all of otter anew.
type resources interface {
	GetIfPresent(digest) ([]variant, bool)
	Compute(digest, func(old []variant, found bool) ([]variant, otter.ComputeOp)) ([]variant, bool)
	SetMaximum(weight uint64)
	WeightedSize() uint64
	EstimatedSize() int
	InvalidateAll()
}

// ready is an answer as it was read, or nil. Its body is that of the bytes.
type ready = atomic.Pointer[Entry]

type digest = [sha256.Size]byte

// variant is one of the answers kept under a key. Without bytes it says that answers to
// this key cannot be stored.
type variant struct {
	wire  []byte
	ready *ready
	mark  Mark
	// until is when it is of no use any more, in nanoseconds since 1970.
	until int64
}

func newMemory(limit int64, e *epochs, now func() time.Time) *memory {
	m := &memory{epochs: e}
	m.limit.Store(limit)
	m.kept = otter.Must(&otter.Options[digest, []variant]{
		MaximumWeight: uint64(max(limit, 1)), // 0 would be no bound at all
		Weigher:       func(_ digest, list []variant) uint32 { return uint32(weight(list)) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(r otter.Entry[digest, []variant]) time.Duration {
			until := r.SnapshotAtNano + 1
			for i := range r.Value {
				until = max(until, r.Value[i].until)
			}
			return time.Duration(until - r.SnapshotAtNano)
		}),
		OnAtomicDeletion: func(d otter.DeletionEvent[digest, []variant]) {
			if d.Cause == otter.CauseOverflow {
				m.evicts.Add(1)
			}
			for i := range d.Value { // the ring must not keep what has gone
				if r := d.Value[i].ready; r != nil {
					r.Store(nil)
				}
			}
		},
		Executor: func(do func()) { do() }, // so that the bound holds when a write returns
		Clock:    clock(now),
	})
	return m
}

// clock is the cache's own time for otter. It has no ticks: what has expired is dropped
// when something else is stored.
type clock func() time.Time

func (c clock) NowNano() int64                      { return c().UnixNano() }
func (c clock) Tick(time.Duration) <-chan time.Time { return nil }

// weight is about what a resource takes, in bytes.
func weight(list []variant) int64 {
	n := int64(resourceBytes)
	for i := range list {
		n += variantBytes + int64(len(list[i].wire))
	}
	return n
}

// load gives the variants kept under k that count, the newest first, and reports whether
// its answers are known not to be storable.
func (m *memory) load(k *Key, mark Mark, now time.Time) (found []*Entry, pass bool) {
	at := now.UnixNano()
	list, _ := m.kept.GetIfPresent(k.id)
	for i := range list {
		v := &list[i]
		if v.mark != mark || at >= v.until {
			continue
		}
		if v.wire == nil {
			pass = true
		} else if e := m.read(v); e != nil {
			found = append(found, e)
		}
	}
	return found, pass
}

// read gives the entry of a variant, nil if its bytes are none.
func (m *memory) read(v *variant) *Entry {
	if e := v.ready.Load(); e != nil {
		return e
	}
	e, ok := readEntry(v.wire)
	if !ok {
		return nil
	}
	e.mark = v.mark
	v.ready.Store(e)
	if last := m.ring[m.next.Add(1)%mostReady].Swap(v.ready); last != nil && last != v.ready {
		last.Store(nil)
	}
	return e
}

// store keeps an entry for a time, in place of the one with the same variant. It does
// nothing if an epoch of the key has moved on since the entry's request began.
func (m *memory) store(k *Key, e *Entry, keep time.Duration, now time.Time) bool {
	return m.add(k, variant{
		wire: e.appendWire(nil), ready: new(ready), mark: e.mark, until: now.Add(keep).UnixNano(),
	})
}

// pass remembers that answers to k cannot be stored, so that nobody waits for one.
func (m *memory) pass(k *Key, mark Mark, until time.Time) {
	m.add(k, variant{mark: mark, until: until.UnixNano()})
}

// add puts a variant in front of those that count beside it.
func (m *memory) add(k *Key, v variant) (added bool) {
	if weight([]variant{v}) > m.limit.Load()/2 {
		return false
	}
	m.kept.Compute(k.id, func(old []variant, _ bool) ([]variant, otter.ComputeOp) {
		// Nobody can replace the list meanwhile, so what a write makes void later than
		// this look is void by its mark.
		if m.epochs.mark(k) != v.mark {
			return nil, otter.CancelOp
		}
		added = true
		list := append(make([]variant, 0, 1+len(old)), v)
		for i := range old {
			o := &old[i]
			same := o.wire == nil || v.wire != nil && bytes.Equal(selectedBy(o.wire), selectedBy(v.wire))
			if o.mark == v.mark && !same && len(list) < maxVariants {
				list = append(list, *o)
			}
		}
		return list, otter.WriteOp
	})
	return added
}

// bytes and count are how much is kept.
func (m *memory) bytes() int64 { return int64(m.kept.WeightedSize()) }
func (m *memory) count() int64 { return int64(m.kept.EstimatedSize()) }

// resize changes the bound; 0 is for none of it.
func (m *memory) resize(limit int64) {
	m.limit.Store(limit)
	m.kept.SetMaximum(uint64(max(limit, 1)))
}

// clear drops everything at once.
func (m *memory) clear() { m.kept.InvalidateAll() }
