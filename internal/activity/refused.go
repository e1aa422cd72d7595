package activity

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/enterprise"
)

// Refused is an enterprise that an upstream refuses: its mandate has ended, or the
// provider does not know it, which only its own people can put right.
type Refused struct {
	Enterprise string `json:"enterprise"`
	Route      string `json:"route"`
	Provider   string `json:"provider,omitempty"`
	// Status is what the upstream answered last: 401 or 403.
	Status int `json:"status"`
	// Since is the first refusal after the last success, Last the latest of Count.
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"`
	// Caller is who asked last, RequestID and TraceID name that call here and there.
	Caller    string `json:"caller,omitempty"`
	RequestID string `json:"requestId"`
	TraceID   string `json:"traceId,omitempty"`
}

// RefusedList are enterprises that an upstream refuses, the latest first.
type RefusedList struct {
	// Total counts them all, of which Enterprises may be a part.
	Total       int       `json:"total"`
	Enterprises []Refused `json:"enterprises"`
}

const (
	shards = 16
	// maxRefused is how many enterprises a shard remembers, 10,000 together.
	maxRefused = 10_000 / shards
)

// refusedEnterprises remembers them, each at each route and provider, in shards, so
// that a nightly poll of many boxes does not stand in line.
type refusedEnterprises struct {
	// known counts them all: as long as nobody is refused, a success costs one load.
	known  atomic.Int64
	shards [shards]refusedShard
}

type refusedKey struct {
	number          enterprise.Number
	route, provider string
}

type refusedShard struct {
	mu   sync.Mutex
	list map[refusedKey]*Refused
}

// note takes in what an upstream said of an enterprise, if it said anything: an
// answer from the cache is none, and only an answer below 400 says that it is well.
func (e *refusedEnterprises) note(r *call.Record, at time.Time, provider string) {
	if r.Enterprise == 0 || r.Own || r.Tries == 0 {
		return
	}
	refused := r.UpstreamStatus == http.StatusUnauthorized || r.UpstreamStatus == http.StatusForbidden
	well := r.UpstreamStatus >= http.StatusOK && r.UpstreamStatus < http.StatusBadRequest
	if !refused && (!well || e.known.Load() == 0) {
		return
	}
	k := refusedKey{r.Enterprise, r.Route, provider}
	s := &e.shards[uint64(r.Enterprise)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.list[k]
	switch {
	case well && ok:
		delete(s.list, k)
		e.known.Add(-1)
	case refused && ok:
		was.again(r, at)
	case refused:
		if s.list == nil {
			s.list = make(map[refusedKey]*Refused)
		}
		if len(s.list) >= maxRefused {
			s.forgetOldest()
			e.known.Add(-1)
		}
		k.provider = strings.Clone(k.provider)
		made := &Refused{Enterprise: r.Enterprise.String(), Route: k.route, Provider: k.provider, Since: at.UTC()}
		made.again(r, at)
		s.list[k] = made
		e.known.Add(1)
	}
}

func (f *Refused) again(r *call.Record, at time.Time) {
	f.Status, f.Last, f.Count = r.UpstreamStatus, at.UTC(), f.Count+1
	f.Caller, f.RequestID, f.TraceID = r.Caller, r.ID, r.TraceID
}

// forgetOldest drops the one that was not asked for the longest.
func (s *refusedShard) forgetOldest() {
	var oldest refusedKey
	var last time.Time
	for k, f := range s.list {
		if last.IsZero() || f.Last.Before(last) {
			oldest, last = k, f.Last
		}
	}
	delete(s.list, oldest)
}

// RefusedTotal counts the enterprises that an upstream refuses.
func (a *Recent) RefusedTotal() int { return int(a.refused.known.Load()) }

// RefusedBy counts the enterprises that are refused, by the provider that refuses them. The
// name is empty for upstreams that are none.
func (a *Recent) RefusedBy() map[string]int {
	type at struct {
		provider string
		number   enterprise.Number
	}
	seen := make(map[at]bool)
	counts := make(map[string]int)
	for i := range a.refused.shards {
		s := &a.refused.shards[i]
		s.mu.Lock()
		for k := range s.list {
			if who := (at{k.provider, k.number}); !seen[who] {
				seen[who] = true
				counts[k.provider]++
			}
		}
		s.mu.Unlock()
	}
	return counts
}

// Refused are the enterprises that an upstream refuses, the latest first and at most
// so many; all of them if most is 0.
func (a *Recent) Refused(most int) RefusedList {
	list := make([]Refused, 0, a.refused.known.Load())
	for i := range a.refused.shards {
		s := &a.refused.shards[i]
		s.mu.Lock()
		for _, f := range s.list {
			list = append(list, *f)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(list, func(x, y Refused) int {
		return cmp.Or(y.Last.Compare(x.Last), strings.Compare(x.Enterprise, y.Enterprise), strings.Compare(x.Route, y.Route),
			strings.Compare(x.Provider, y.Provider))
	})
	all := RefusedList{Total: len(list), Enterprises: list}
	if most > 0 && len(list) > most {
		all.Enterprises = list[:most:most]
	}
	return all
}
