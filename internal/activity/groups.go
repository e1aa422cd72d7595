package activity

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// Kind is what problems of one group have in common.
type Kind struct {
	Route    string `json:"route,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Status is what the caller got, 499 if it did not wait; By is "gateway",
	// "upstream" or "caller". Type and ProxyError are there if it was the gateway.
	Status     int    `json:"status"`
	By         string `json:"by"`
	Type       string `json:"type,omitempty"`
	ProxyError string `json:"proxyError,omitempty"`
}

// Group is problems of one kind. A storm of thousands is one group, and pushes no other out.
type Group struct {
	// ID names the group as long as it is there.
	ID string `json:"id"`
	Kind
	// Count is how many there were between First and Last without a pause of fifteen
	// minutes. Enterprises and Callers count whom they met, up to a hundred.
	Count       uint64    `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Enterprises int       `json:"enterprises"`
	Callers     int       `json:"callers"`
	// Problems are the ids of the last requests, the newest first.
	Problems []string `json:"problems"`
}

const (
	// maxGroups bounds the groups, keptOfGroup the problems that each keeps.
	maxGroups   = 100
	keptOfGroup = 20
	// maxMet bounds the enterprises and callers that a group counts.
	maxMet = 100
	// quiet is the time after which a group begins anew.
	quiet = slotCount * slotLength
)

// groupKey is the kind and how its requests ended.
type groupKey struct {
	Kind
	out outcome
}

func (k groupKey) isError() bool {
	return k.out == failedHere || k.out == failedThere || k.out == notSent
}

// id is the same for the same kind, so that what a reader has opened stays open.
func (k groupKey) id() string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q", []any{k.Route, k.Provider, k.Type, k.ProxyError, k.Status, k.out})
	return fmt.Sprintf("%016x", h.Sum64())
}

// group is a Group while problems are added. Its enterprises and callers are those that were met, each
// enterprise with the last time.
type group struct {
	Group
	enterprises map[enterprise.Number]time.Time
	callers     map[string]bool
	problems    []Problem // the newest last
}

// groups are the last problems, by their kind.
type groups struct {
	mu   sync.Mutex
	list map[groupKey]*group
}

func (gs *groups) add(p Problem, out outcome, number enterprise.Number) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	k := groupKey{p.Kind, out}
	g, ok := gs.list[k]
	if !ok {
		if len(gs.list) >= maxGroups {
			// The one that was silent for the longest goes; one of errors only if all are.
			delete(gs.list, slices.MaxFunc(slices.Collect(maps.Keys(gs.list)), gs.compare))
		}
		g = &group{Group: Group{ID: k.id(), Kind: k.Kind}}
		gs.list[k] = g
	}
	if p.Time.Sub(g.Last) > quiet {
		g.Count, g.First = 0, p.Time
		g.enterprises, g.callers = make(map[enterprise.Number]time.Time), make(map[string]bool)
	}
	g.Count++
	g.Last = p.Time
	if _, known := g.enterprises[number]; number != 0 && (known || len(g.enterprises) < maxMet) {
		g.enterprises[number] = p.Time
	}
	if len(g.callers) < maxMet {
		g.callers[p.Caller] = true
	}
	if len(g.problems) == keptOfGroup {
		g.problems = slices.Delete(g.problems, 0, 1)
	}
	g.problems = append(g.problems, p)
}

// compare orders groups: those of errors first, and then by the last time, the newest first.
func (gs *groups) compare(x, y groupKey) int {
	if x.isError() != y.isError() {
		if x.isError() {
			return -1
		}
		return 1
	}
	return gs.list[y].Last.Compare(gs.list[x].Last)
}

// failing looks at the requests by a route, to a provider, that failed since a moment. It counts
// their enterprises, gives the number of one of them, and says how most of those failed that were
// sent: an error type of RFC 9209 in words, or the upstream's status.
func (gs *groups) failing(route, provider string, since time.Time) (n int, one enterprise.Number, how string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	met := make(map[enterprise.Number]bool)
	most := 0
	for k, g := range gs.list {
		if k.Route != route || k.Provider != provider || !k.isError() || g.Last.Before(since) {
			continue
		}
		for number, at := range g.enterprises {
			if !at.Before(since) {
				met[number], one = true, number
			}
		}
		late := 0
		for _, p := range slices.Backward(g.problems) {
			if p.Time.Before(since) {
				break
			}
			late++
		}
		if said := k.how(); said != "" && (late > most || late == most && said < how) {
			most, how = late, said
		}
	}
	return len(met), one, how
}

// how says in a few words how requests failed; empty for those that were not sent.
func (k groupKey) how() string {
	switch {
	case k.out == notSent, k.ProxyError == problem.ProxyDestinationUnavail:
		return ""
	case k.ProxyError != "":
		return strings.ReplaceAll(k.ProxyError, "_", " ")
	}
	return fmt.Sprintf("status %d", k.Status)
}

// Problems are the last ones, the newest first, and the groups that they belong to, those
// of errors first and then by the last time.
func (a *Recent) Problems() ([]Problem, []Group) {
	a.groups.mu.Lock()
	defer a.groups.mu.Unlock()
	problems, list := []Problem{}, []Group{}
	for _, k := range slices.SortedFunc(maps.Keys(a.groups.list), a.groups.compare) {
		g := a.groups.list[k]
		shown := g.Group
		shown.Enterprises, shown.Callers = len(g.enterprises), len(g.callers)
		for _, p := range slices.Backward(g.problems) {
			shown.Problems = append(shown.Problems, p.RequestID)
			problems = append(problems, p)
		}
		list = append(list, shown)
	}
	slices.SortStableFunc(problems, func(x, y Problem) int {
		return cmp.Or(y.Time.Compare(x.Time), strings.Compare(x.RequestID, y.RequestID))
	})
	return problems, list
}
