package activity

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// SlotLength is the length of one slot of a series, Slots how many there are.
	SlotLength = 10 * time.Second
	Slots      = 90
	// minute is the slots of the summary of the last minute, beside the running one.
	minute = 6
)

// bounds are the upper ends of the bins into which latencies are counted: three to
// a factor of two, from a hit in memory to the longest time-out.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 7 * time.Millisecond,
	10 * time.Millisecond, 15 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond, 70 * time.Millisecond,
	100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, 700 * time.Millisecond,
	time.Second, 1500 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second,
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

// slot is what happened in one SlotLength.
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

// series is what happened in the last Slots slots.
type series struct {
	mu    sync.Mutex
	slots [Slots]slot
	last  int64 // the newest slot
}

func slotOf(at time.Time) int64 { return at.UnixNano() / int64(SlotLength) }

func (s *series) add(at time.Time, out outcome, took time.Duration) {
	number := slotOf(at)
	bin := binOf(took)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := &s.slots[number%Slots]
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
	return s.last <= slotOf(at)-Slots
}

// window copies the slots that end with the running one, oldest first.
func (s *series) window(running int64) (list [Slots]slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		number := running - Slots + 1 + int64(i)
		if was := &s.slots[number%Slots]; was.number == number {
			list[i] = *was
		}
	}
	return list
}

// Activity is what /activity shows of the last minutes.
type Activity struct {
	// Now is the gateway's clock, From the beginning of the first slot.
	Now         time.Time `json:"now"`
	From        time.Time `json:"from"`
	SlotSeconds int       `json:"slotSeconds"`
	// Total counts what callers asked. Series split it, and count the parts of a
	// federated answer one by one, by the name of the route and of the provider.
	Total  Series   `json:"total"`
	Series []Series `json:"series"`
	// Problems are the last ones, the newest first.
	Problems []Problem `json:"problems"`
}

// Series is one line of the charts. Each list has a number for every slot, the oldest
// first; the last slot is still running.
type Series struct {
	Route    string   `json:"route,omitempty"`
	Provider string   `json:"provider,omitempty"`
	Requests []uint32 `json:"requests"`
	// GatewayErrors and UpstreamErrors are answers of 500 and more by their author.
	GatewayErrors  []uint32 `json:"gatewayErrors"`
	UpstreamErrors []uint32 `json:"upstreamErrors"`
	// P50, P95 and P99 are milliseconds until the first byte of the answer; 0 where
	// there was no request.
	P50 []float64 `json:"p50"`
	P95 []float64 `json:"p95"`
	P99 []float64 `json:"p99"`
	// Minute sums up the last minute, Window everything shown.
	Minute Summary `json:"minute"`
	Window Summary `json:"window"`
}

// Summary is a stretch of a series in a few numbers.
type Summary struct {
	Requests  uint64  `json:"requests"`
	PerSecond float64 `json:"perSecond"`
	// Refused are answers of 400 to 499, by whomever; Gone callers that did not wait.
	GatewayErrors  uint64  `json:"gatewayErrors"`
	UpstreamErrors uint64  `json:"upstreamErrors"`
	Refused        uint64  `json:"refused"`
	Gone           uint64  `json:"gone"`
	P50            float64 `json:"p50"`
	P95            float64 `json:"p95"`
	P99            float64 `json:"p99"`
}

// Errors are those of the gateway and of the upstream.
func (s Summary) Errors() uint64 { return s.GatewayErrors + s.UpstreamErrors }

// Snapshot shows the last minutes, the series in the order of their names. Those
// without a request are left out.
func (a *Recent) Snapshot() Activity {
	now := a.o.Now()
	running := slotOf(now)
	from := time.Unix(0, (running-Slots+1)*int64(SlotLength)).UTC()
	s := Activity{
		Now: now.UTC(), From: from, SlotSeconds: int(SlotLength / time.Second),
		Total: a.show(key{}, a.all, now), Series: []Series{}, Problems: a.Problems(),
	}
	for k, part := range *a.parts.Load() {
		if shown := a.show(k, part, now); shown.Window.Requests > 0 {
			s.Series = append(s.Series, shown)
		}
	}
	slices.SortFunc(s.Series, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Provider, b.Provider))
	})
	return s
}

// Minutes sums up the last minute of every series that had a request.
func (a *Recent) Minutes(each func(route, provider string, last Summary)) {
	now := a.o.Now()
	for k, part := range *a.parts.Load() {
		slots := part.window(slotOf(now))
		if sum := a.summary(slots[Slots-minute-1:], now); sum.Requests > 0 {
			each(k.route, k.provider, sum)
		}
	}
}

func (a *Recent) show(k key, part *series, now time.Time) Series {
	s := Series{
		Route: k.route, Provider: k.provider,
		Requests: make([]uint32, Slots), GatewayErrors: make([]uint32, Slots), UpstreamErrors: make([]uint32, Slots),
		P50: make([]float64, Slots), P95: make([]float64, Slots), P99: make([]float64, Slots),
	}
	slots := part.window(slotOf(now))
	for i := range slots {
		was := &slots[i]
		s.Requests[i], s.GatewayErrors[i], s.UpstreamErrors[i] = was.requests(), was.ends[failedHere], was.ends[failedThere]
		if s.Requests[i] > 0 {
			s.P50[i], s.P95[i], s.P99[i] = was.quantiles()
		}
	}
	s.Minute = a.summary(slots[Slots-minute-1:], now)
	s.Window = a.summary(slots[:], now)
	return s
}

// summary adds slots up, of which the last is the running one.
func (a *Recent) summary(slots []slot, now time.Time) Summary {
	var sum slot
	for i := range slots {
		sum.merge(&slots[i])
	}
	s := Summary{
		Requests: uint64(sum.requests()), GatewayErrors: uint64(sum.ends[failedHere]), UpstreamErrors: uint64(sum.ends[failedThere]),
		Refused: uint64(sum.ends[refusedHere]) + uint64(sum.ends[refusedThere]), Gone: uint64(sum.ends[gone]),
	}
	begun := time.Unix(0, (slotOf(now)-int64(len(slots))+1)*int64(SlotLength))
	if a.started.After(begun) {
		begun = a.started
	}
	s.PerSecond = rounded(float64(s.Requests) / max(now.Sub(begun).Seconds(), 1))
	s.P50, s.P95, s.P99 = sum.quantiles()
	return s
}

func (s *slot) quantiles() (p50, p95, p99 float64) {
	return rounded(s.times.quantile(0.50)), rounded(s.times.quantile(0.95)), rounded(s.times.quantile(0.99))
}

// rounded keeps two digits behind the point.
func rounded(f float64) float64 { return math.Round(f*100) / 100 }
