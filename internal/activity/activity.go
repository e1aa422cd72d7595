// Package activity remembers what happened in the last minutes, for whoever is
// called at night: how many requests each route and provider had, how they ended and
// how long they took; the last problems, one by one; and which enterprises an
// upstream refuses.
//
// It is fed with every finished record and kept in memory alone, bounded however
// much happens: a ring of time slots for each series, so many kinds of problems with the
// last of each, and so many enterprises. A restart forgets it. What must not be forgotten is
// in the log and in the evidence; what is to be compared over weeks is in the metrics.
//
// A record costs one look into a map and a short lock of one series; only a problem
// costs more. Nothing here waits and nothing holds a record.
//
// No token, body or query ever gets here, and what a path or a detail says of a
// citizen is masked before it is kept.
package activity

import (
	"maps"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/call"
)

// Options are what a Recent needs.
type Options struct {
	Now func() time.Time
	// Mask hides the numbers of citizens in a text; required.
	Mask func(string) string
	// Known reports whether a Document Provider of that id is known; required. Others are counted
	// without their name: anybody can make one up.
	Known func(provider string) bool
}

// Recent is what happened in the last minutes. It is safe for concurrent use.
type Recent struct {
	o       Options
	started time.Time
	// all counts what callers asked, without the parts that one answer was made of.
	all     *series
	mu      sync.Mutex
	parts   map[key]*series
	groups  groups
	refused refusedEnterprises
}

// key names a series.
type key struct{ route, provider string }

// upstream names what is asked: a provider, whatever routes lead to it, or else the upstream of a route.
func (k key) upstream() key {
	if k.provider != "" {
		k.route = ""
	}
	return k
}

// maxSeries bounds the series: routes times providers.
const maxSeries = 400

// New makes a Recent in which nothing has happened.
func New(o Options) *Recent {
	return &Recent{
		o: o, started: o.Now(), all: new(series), parts: make(map[key]*series),
		groups: groups{list: make(map[groupKey]*group)}, refused: refusedEnterprises{list: make(map[refusedKey]*Refused)},
	}
}

// Done takes in a finished record. It does not keep it.
func (a *Recent) Done(r *call.Record) {
	at := r.Start.Add(r.Phases.Total)
	out := outcomeOf(r)
	// How long the answer takes after its first byte depends on its size and on the caller, and says
	// nothing of how the upstream is doing.
	took := max(r.Phases.Total-r.Phases.Body, 0)
	k := key{route: r.Route}
	if r.Provider != "" && a.o.Known(r.Provider) {
		k.provider = r.Provider
	}
	part := a.seriesOf(k, at)
	part.add(at, out, took)
	if r.Parent == "" {
		a.all.add(at, out, took)
	}
	if out != answered && out != incomplete {
		a.groups.add(a.problemOf(r, at, out, k.provider), out, r.Enterprise)
	}
	a.refused.note(r, at, k.provider, part)
}

// seriesOf finds a series, or makes it. If there are too many, those that had no
// request in the window go; if there still are, the series without names takes it.
func (a *Recent) seriesOf(k key, at time.Time) *series {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.parts[k]; ok {
		return s
	}
	if len(a.parts) >= maxSeries {
		maps.DeleteFunc(a.parts, func(_ key, s *series) bool { return s.idleAt(at) })
	}
	if len(a.parts) >= maxSeries {
		k = key{}
	}
	if s, ok := a.parts[k]; ok {
		return s
	}
	s := new(series)
	// The strings are parts of a request's own text, which would stay with them.
	a.parts[key{strings.Clone(k.route), strings.Clone(k.provider)}] = s
	return s
}

// series are all series at this moment.
func (a *Recent) series() map[key]*series {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.parts)
}
