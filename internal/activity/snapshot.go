package activity

import (
	"maps"
	"math"
	"slices"
	"time"

	"ebox-gateway/internal/enterprise"
)

// Activity is what /activity shows of the last minutes.
type Activity struct {
	// Now is the gateway's clock, From the beginning of the first slot.
	Now         time.Time `json:"now"`
	From        time.Time `json:"from"`
	SlotSeconds int       `json:"slotSeconds"`
	// Total counts what callers asked. Routes and Providers split it, each in its own
	// way, and count the parts of a federated answer one by one.
	Total     Series   `json:"total"`
	Routes    []Series `json:"routes"`
	Providers []Series `json:"providers"`
	// Problems are the last ones of each group, the newest first.
	Problems []Problem `json:"problems"`
	// Groups are the kinds of problems, those of errors first and then by the last time.
	Groups []Group `json:"groups"`
}

// Series is one line of the charts. Each list has a number for every slot, the oldest
// first; the last slot is still running.
type Series struct {
	// Name is that of the route, empty for what no route took, or the provider's id.
	Name     string   `json:"name"`
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
	// Incomplete are answers over all Document Providers that lack some of them. Refused
	// are answers of 400 to 499, by whomever; Gone callers that did not wait.
	Incomplete uint64 `json:"incomplete"`
	// GatewayErrors are answers of 500 and more of the gateway's own, of which NotSent are
	// those for which nobody was asked: there was no token, or the circuit was open.
	GatewayErrors  uint64  `json:"gatewayErrors"`
	NotSent        uint64  `json:"notSent"`
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
	var all window
	a.all.addTo(&all, running)
	problems, groups := a.Problems()
	return Activity{
		Now: now.UTC(), From: time.Unix(0, (running-slotCount+1)*int64(slotLength)).UTC(),
		SlotSeconds: int(slotLength / time.Second), Total: a.show("", &all, now),
		Routes:    a.split(now, func(k key) (string, bool) { return k.route, true }),
		Providers: a.split(now, func(k key) (string, bool) { return k.provider, k.provider != "" }),
		Problems:  problems, Groups: groups,
	}
}

// split adds the series up by their names, those that have one.
func (a *Recent) split(now time.Time, name func(key) (string, bool)) []Series {
	windows := make(map[string]*window)
	for k, part := range a.series() {
		of, named := name(k)
		if !named || part.idleAt(now) {
			continue
		}
		if windows[of] == nil {
			windows[of] = new(window)
		}
		part.addTo(windows[of], slotOf(now))
	}
	list := []Series{}
	for _, of := range slices.Sorted(maps.Keys(windows)) {
		list = append(list, a.show(of, windows[of], now))
	}
	return list
}

// Lately is how a route, and provider, has been doing.
type Lately struct {
	Route, Provider string
	// Minute is the last minute, Now its last ten to twenty seconds, Before what was
	// before the minute.
	Minute, Now, Before Summary
	// FailedFor counts the enterprises for which requests failed in the last minute, up to
	// a hundred of each kind of failure; FailedOne is the number if it is one.
	FailedFor int
	FailedOne string
	// FailedHow is how most of them failed: "connection refused", "status 500".
	FailedHow string
}

// Minutes sums up every route, and provider, that had a request in the last minute.
func (a *Recent) Minutes(each func(Lately)) {
	now := a.o.Now()
	for k, part := range a.series() {
		var w window
		part.addTo(&w, slotOf(now))
		sum := a.summary(w[slotCount-minute-1:], now)
		if sum.Requests == 0 {
			continue
		}
		l := Lately{Route: k.route, Provider: k.provider, Minute: sum, Now: a.summary(w[slotCount-2:], now),
			Before: a.summary(w[:slotCount-minute-1], now)}
		if sum.Errors() > 0 {
			var one enterprise.Number
			l.FailedFor, one, l.FailedHow = a.groups.failing(k.route, k.provider, now.Add(-minute*slotLength))
			if l.FailedFor == 1 {
				l.FailedOne = one.String()
			}
		}
		each(l)
	}
}

func (a *Recent) show(name string, w *window, now time.Time) Series {
	s := Series{
		Name: name, Requests: make([]uint32, slotCount),
		GatewayErrors: make([]uint32, slotCount), UpstreamErrors: make([]uint32, slotCount),
		P50: make([]float64, slotCount), P95: make([]float64, slotCount), P99: make([]float64, slotCount),
	}
	for i := range w {
		was := &w[i]
		s.Requests[i], s.GatewayErrors[i], s.UpstreamErrors[i] = was.requests(), was.ends[failedHere]+was.ends[notSent],
			was.ends[failedThere]
		if s.Requests[i] > 0 {
			s.P50[i], s.P95[i], s.P99[i] = was.quantiles()
		}
	}
	s.Minute = a.summary(w[slotCount-minute-1:], now)
	s.Window = a.summary(w[:], now)
	return s
}

// summary adds slots up, of which the last is the running one.
func (a *Recent) summary(slots []slot, now time.Time) Summary {
	var sum slot
	for i := range slots {
		sum.merge(&slots[i])
	}
	s := Summary{
		Requests: uint64(sum.requests()), GatewayErrors: uint64(sum.ends[failedHere]) + uint64(sum.ends[notSent]),
		NotSent: uint64(sum.ends[notSent]), UpstreamErrors: uint64(sum.ends[failedThere]),
		Incomplete: uint64(sum.ends[incomplete]), Refused: uint64(sum.ends[refusedHere]) + uint64(sum.ends[refusedThere]),
		Gone: uint64(sum.ends[gone]),
	}
	begun := time.Unix(0, (slotOf(now)-int64(len(slots))+1)*int64(slotLength))
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
