package activity

import (
	"cmp"
	"maps"
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
	// MissingScopes are the scopes that this answer asked for, parted by blanks: then it is
	// the token, and not the mandate, that lacks something.
	MissingScopes string `json:"missingScopes,omitempty"`
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

// maxRefused is how many enterprises are remembered. When there are as many, the tenth that was
// not asked for the longest leaves.
const maxRefused = 10_000

// refusedEnterprises remembers them, each at each route and provider.
type refusedEnterprises struct {
	// known counts them all: as long as nobody is refused, a success costs one load.
	known atomic.Int64
	mu    sync.Mutex
	list  map[refusedKey]*Refused
}

type refusedKey struct {
	number enterprise.Number
	key
}

// note takes in what an upstream said of an enterprise, if it said anything: an
// answer from the cache is none, a refusal of the gateway's own token is not about the
// enterprise, and only an answer below 400 says that it is well. from is the series of
// the request.
func (e *refusedEnterprises) note(r *call.Record, at time.Time, provider string, from *series) {
	if r.Enterprise == 0 || r.Own || r.Tries == 0 {
		return
	}
	refused := r.ProblemType == "" && (r.UpstreamStatus == http.StatusUnauthorized ||
		r.UpstreamStatus == http.StatusForbidden)
	well := r.UpstreamStatus >= http.StatusOK && r.UpstreamStatus < http.StatusBadRequest
	if well {
		from.served.Store(at.UnixNano())
	}
	if !refused && (!well || e.known.Load() == 0) {
		return
	}
	k := refusedKey{r.Enterprise, key{r.Route, provider}}
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.known.Store(int64(len(e.list))) }()
	if well {
		delete(e.list, k)
		return
	}
	f, ok := e.list[k]
	if !ok {
		if len(e.list) >= maxRefused {
			e.forgetOldest()
		}
		k.provider = strings.Clone(k.provider)
		f = &Refused{Enterprise: r.Enterprise.String(), Route: k.route, Provider: k.provider, Since: at.UTC()}
		e.list[k] = f
	}
	f.MissingScopes = strings.Join(r.MissingScopes, " ")
	f.Status, f.Last, f.Count = r.UpstreamStatus, at.UTC(), f.Count+1
	f.Caller, f.RequestID, f.TraceID = r.Caller, r.ID, r.TraceID
}

// forgetOldest drops the tenth that was not asked for the longest.
func (e *refusedEnterprises) forgetOldest() {
	oldest := slices.SortedFunc(maps.Keys(e.list), func(a, b refusedKey) int {
		return e.list[a].Last.Compare(e.list[b].Last)
	})
	for _, k := range oldest[:len(oldest)/10] {
		delete(e.list, k)
	}
}

// RefusedTotal counts the enterprises that an upstream refuses.
func (a *Recent) RefusedTotal() int { return int(a.refused.known.Load()) }

// Standing is how an upstream treats the enterprises that were asked for.
type Standing struct {
	// Provider is empty for an upstream that is none, which Route names then.
	Route, Provider string
	// Refused counts the enterprises that are refused, InARow those since any enterprise
	// was last served: if there are many, it is hardly about each of their mandates.
	Refused, InARow int
	// Since is when an enterprise was last served, or the first refusal of those in a row
	// if none was before; Last is the last of these refusals.
	Since, Last time.Time
}

// Standings are those of the upstreams that refuse somebody, in the order of their names.
func (a *Recent) Standings() []Standing {
	served := make(map[key]time.Time)
	for k, s := range a.series() {
		if at := time.Unix(0, s.served.Load()); at.After(served[k.upstream()]) {
			served[k.upstream()] = at
		}
	}
	// sum counts the enterprises by themselves, whatever routes they were refused on.
	type sum struct {
		Standing
		refused, inARow map[enterprise.Number]bool
	}
	all := make(map[key]*sum)
	a.refused.mu.Lock()
	for k, f := range a.refused.list {
		u := k.key.upstream()
		s, ok := all[u]
		if !ok {
			s = &sum{Standing{Route: u.route, Provider: u.provider}, make(map[enterprise.Number]bool),
				make(map[enterprise.Number]bool)}
			all[u] = s
		}
		s.refused[k.number] = true
		if !f.Last.After(served[u]) {
			continue
		}
		s.inARow[k.number] = true
		if s.Since.IsZero() || f.Since.Before(s.Since) {
			s.Since = f.Since
		}
		if f.Last.After(s.Last) {
			s.Last = f.Last
		}
	}
	a.refused.mu.Unlock()
	list := make([]Standing, 0, len(all))
	for u, s := range all {
		s.Refused, s.InARow = len(s.refused), len(s.inARow)
		if s.InARow > 0 && served[u].After(s.Since) {
			s.Since = served[u].UTC()
		}
		list = append(list, s.Standing)
	}
	slices.SortFunc(list, func(x, y Standing) int {
		return cmp.Or(strings.Compare(x.Provider, y.Provider), strings.Compare(x.Route, y.Route))
	})
	return list
}

// Refused are the enterprises that an upstream refuses, the latest first and at most
// so many; all of them if most is 0.
func (a *Recent) Refused(most int) RefusedList {
	a.refused.mu.Lock()
	list := make([]Refused, 0, len(a.refused.list))
	for _, f := range a.refused.list {
		list = append(list, *f)
	}
	a.refused.mu.Unlock()
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
