package activity

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slotLength is the length of one slot of a series, slotCount how many there are.
	slotLength = 10 * time.Second
	slotCount  = 90
	// minute is the slots of the summary of the last minute, beside the running one.
	minute = 6
)

// bounds are the upper ends of the bins into which latencies are counted: three to
// a factor of two, from a hit in memory to the longest time-out.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond,
	5 * time.Millisecond, 7 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond,
	20 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond, 70 * time.Millisecond,
	100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond,
	500 * time.Millisecond, 700 * time.Millisecond, time.Second, 1500 * time.Millisecond,
	2 * time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second,
	10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute,
}

// bins counts latencies; the last bin has no end.
type bins [len(bounds) + 1]uint32

func binOf(d time.Duration) int {
	i, _ := slices.BinarySearch(bounds[:], d)
	return i
}

// quantile is the latency that a share q of the requests did not exceed, in
// milliseconds, read off between the ends of its bin; 0 if there are none.
func (b *bins) quantile(q float64) float64 {
	var total uint64
	for _, n := range b {
		total += uint64(n)
	}
	if total == 0 {
		return 0
	}
	rank := q * float64(total)
	seen := 0.0
	for i, n := range b {
		if n == 0 || seen+float64(n) < rank {
			seen += float64(n)
			continue
		}
		if i == len(bounds) {
			return milliseconds(bounds[i-1]) // at least
		}
		low := 0.0
		if i > 0 {
			low = milliseconds(bounds[i-1])
		}
		return low + (milliseconds(bounds[i])-low)*(rank-seen)/float64(n)
	}
	return milliseconds(bounds[len(bounds)-1])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// slot is what happened in one slotLength.
type slot struct {
	// number counts the slots since 1970. One that is too old is empty.
	number int64
	ends   [gone + 1]uint32
	times  bins
}

func (s *slot) requests() (n uint32) {
	for _, e := range s.ends {
		n += e
	}
	return n
}

func (s *slot) merge(other *slot) {
	for i, n := range other.ends {
		s.ends[i] += n
	}
	for i, n := range other.times {
		s.times[i] += n
	}
}

// series is what happened in the last slotCount slots.
type series struct {
	mu    sync.Mutex
	slots [slotCount]slot
	last  int64 // the newest slot
	// served is when the upstream last served an enterprise, in nanoseconds since 1970; 0
	// if it has not since the start.
	served atomic.Int64
}

func slotOf(at time.Time) int64 { return at.UnixNano() / int64(slotLength) }

func (s *series) add(at time.Time, out outcome, took time.Duration) {
	number := slotOf(at)
	bin := binOf(took)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := &s.slots[number%slotCount]
	if now.number > number {
		return // older than the window
	}
	if now.number != number {
		*now = slot{number: number}
	}
	s.last = max(s.last, number)
	now.ends[out]++
	now.times[bin]++
}

func (s *series) idleAt(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last <= slotOf(at)-slotCount
}

// window is the slots that end with the running one, oldest first.
type window [slotCount]slot

// addTo adds what a series has to a window.
func (s *series) addTo(w *window, running int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range w {
		number := running - slotCount + 1 + int64(i)
		if was := &s.slots[number%slotCount]; was.number == number {
			w[i].merge(was)
		}
	}
}
