package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/directory"
)

// Attention is one thing that somebody should know, in the order in which they should
// know it.
type Attention struct {
	// Severity is one of the words below.
	Severity string `json:"severity"`
	// Part is what it is about: "provider nsso", "client payroll", "configuration".
	Part string `json:"part"`
	// Text is a sentence for people.
	Text string `json:"text"`
}

// The severities, the worst first.
const (
	severityDown     = "down"     // nothing is served
	severityFailing  = "failing"  // calls fail now, most of them or all
	severityDegraded = "degraded" // what /health says as well
	severityNotice   = "notice"   // as somebody meant it to be, or slight
)

var severities = map[string]int{severityDown: 0, severityFailing: 1, severityDegraded: 2, severityNotice: 3}

// attention lists what is not as it should be. Health decides by how things stand,
// so that it is well again in the moment in which they are; what is listed besides
// looks back at the last minute, and is no reason for a monitor to act.
func (g *Gateway) attention(h admin.Health) []Attention {
	list := []Attention{}
	note := func(severity, part, text string) { list = append(list, Attention{severity, part, text}) }
	if h.Status == admin.Down {
		note(severityDown, "gateway", h.Reason)
	}
	if reason := g.ready(); reason != "" && h.Status != admin.Down {
		note(severityDegraded, "gateway", "it is not ready: "+reason)
	}
	for part, d := range h.Details {
		note(severityDegraded, part, d.Reason)
	}
	now := g.current.Load()
	answering := make(map[string]bool)
	refusedBy := make(map[string]int)
	for _, standing := range g.activity.Standings() {
		refusedBy[standing.Provider] += standing.InARow
	}
	g.activity.Minutes(func(l activity.Lately) {
		part := "route " + cmp.Or(l.Route, "none")
		if l.Provider != "" {
			part = "provider " + l.Provider
			if p, ok := now.directory.Lookup(l.Provider); ok &&
				now.providerStatus(p, g.o.Now()).State == string(directory.Maintenance) {
				return // refused, as it is meant to be
			}
			answering[part] = answering[part] || l.Now.Requests > 0
		} else {
			answering[l.Route] = l.Now.Requests > 0
		}
		if l.Provider != "" {
			if text := standing(l.Minute, refusedBy[l.Provider]); text != "" {
				note(severityFailing, part, text)
			}
		}
		if severity, text := troubleOf(l); text != "" {
			note(severity, part, text)
		}
	})
	for _, u := range g.pool.status() {
		// Callers that wait are in no figure until they were answered or gave up.
		if u.InFlight >= 3 && !answering[u.Name] {
			note(severityNotice, u.Name, fmt.Sprintf("%d calls wait, and none has ended in the last ten seconds", u.InFlight))
		}
		if !u.UntriedSince.IsZero() {
			note(severityNotice, u.Name, "it had been failing, and too few have called since "+
				u.UntriedSince.UTC().Format("2006-01-02 15:04:05 MST")+" to know whether it still does: the next calls find out")
		}
	}
	for _, m := range g.pool.switches.list() {
		if !m.Gateway { // health says that
			note(severityNotice, "provider "+m.Provider, sentence(m))
		}
	}
	for _, p := range now.directory.List() {
		if end, ok := p.MaintenanceEnd(g.o.Now()); ok && p.State(g.o.Now()) == directory.Maintenance {
			note(severityNotice, "provider "+p.ID, "in announced maintenance until "+end.UTC().Format("2006-01-02 15:04 MST"))
		}
	}
	if certificates := g.listenerCertificates.Load(); certificates != nil {
		for listener, end := range *certificates {
			if severity, text := expiring(end, g.o.Now()); text != "" {
				note(severity, "listener "+listener, text)
			}
		}
	}
	if n := g.activity.RefusedTotal(); n == 1 {
		note(severityNotice, "enterprises", "one enterprise is refused upstream")
	} else if n > 1 {
		note(severityNotice, "enterprises", fmt.Sprintf("%d times an enterprise is refused by a route or provider upstream",
			n))
	}
	slices.SortStableFunc(list, func(a, b Attention) int {
		return cmp.Or(severities[a.Severity]-severities[b.Severity], cmp.Compare(a.Part, b.Part), cmp.Compare(a.Text, b.Text))
	})
	return list
}

const (
	// slowness is how much later than before answers begin that count as slow, and
	// slowest how late they begin at least, in milliseconds; without a before to compare
	// with, unheardOf.
	slowness  = 4
	slowest   = 1000
	unheardOf = 5000
)

// troubleOf says what is wrong with a route and provider, and how badly; an empty text
// if nothing is. What began seconds ago counts as what it is, however well the rest of
// the minute went; a frozen upstream shows in callers that gave up waiting.
func troubleOf(l activity.Lately) (severity, text string) {
	route := cmp.Or(l.Route, "none")
	lost := l.Now.Errors()
	if l.Now.P50 >= slowest {
		lost += l.Now.Gone
	}
	failed, minute := l.Minute.Errors(), l.Minute.Requests
	switch {
	case failed > 0 && 2*failed >= minute:
		return severityFailing, fmt.Sprintf("%d of %d requests by route %s failed in the last minute", failed, minute, route)
	case lost >= 3 && 2*lost >= l.Now.Requests && l.Now.Errors() >= l.Now.Gone:
		return severityFailing, fmt.Sprintf("%d of %d requests by route %s failed in the last seconds", lost,
			l.Now.Requests, route)
	case lost >= 3 && 2*lost >= l.Now.Requests:
		return severityFailing, fmt.Sprintf("%d of %d callers by route %s gave up waiting in the last seconds, half of "+
			"them after %s or more", l.Now.Gone, l.Now.Requests, route, seconds(l.Now.P50))
	case failed >= 3 && 20*failed >= minute:
		return severityNotice, fmt.Sprintf("%d of %d requests by route %s failed in the last minute", failed, minute, route)
	case l.Now.Requests < 3 || l.Now.P50 < slowest:
		return "", ""
	case l.Before.Requests >= 10 && l.Now.P50 >= slowness*l.Before.P50:
		return severityNotice, fmt.Sprintf("slow: half of the answers by route %s begin after %s or more, in the minutes "+
			"before after %s", route, seconds(l.Now.P50), seconds(l.Before.P50))
	case l.Before.Requests < 10 && l.Now.P50 >= unheardOf:
		return severityNotice, fmt.Sprintf("slow: half of the answers by route %s begin after %s or more", route,
			seconds(l.Now.P50))
	}
	return "", ""
}

// manyRefused is from how many enterprises on a refusal of all of them is more likely to be
// about the office than about each of their mandates.
const manyRefused = 10

// standing says that a provider refuses everybody, which is about the office itself: its
// registration as Service Provider, or its scopes.
func standing(minute activity.Summary, refused int) string {
	if refused < manyRefused || minute.Refused == 0 || minute.Refused < minute.Requests {
		return ""
	}
	return fmt.Sprintf("all of the last minute's %d requests were refused, and so are %d enterprises: "+
		"is the office's own standing gone? Look at its registration and scopes in Chaman before each mandate",
		minute.Requests, refused)
}

// expiring says when a listener's certificate has to be renewed.
func expiring(end, now time.Time) (severity, text string) {
	const day = 24 * time.Hour
	left := end.Sub(now)
	on := end.UTC().Format("2006-01-02 15:04 MST")
	switch {
	case left <= 0:
		return severityFailing, "its certificate expired on " + on + ": callers that check it cannot connect. Put a new " +
			"one into certFile and keyFile"
	case left < 7*day:
		return severityDegraded, fmt.Sprintf("its certificate expires in %d days, on %s: put a new one into certFile and "+
			"keyFile now", left/day, on)
	case left < 30*day:
		return severityNotice, fmt.Sprintf("its certificate expires in %d days, on %s: order a new one", left/day, on)
	}
	return "", ""
}

// seconds writes milliseconds as people say them.
func seconds(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}
