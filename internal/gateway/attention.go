package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/resilience"
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
	for part, d := range h.Details {
		note(severityDegraded, part, d.Reason)
	}
	now := g.current.Load()
	g.activity.Minutes(func(route, provider string, last activity.Summary) {
		failed := last.Errors()
		if few := failed < 3 && 2*failed < last.Requests; failed == 0 || few || 20*failed < last.Requests {
			return
		}
		severity := severityNotice
		if 2*failed >= last.Requests {
			severity = severityFailing
		}
		part := "route " + cmp.Or(route, "none")
		if provider != "" {
			part = "provider " + provider
			if p, ok := now.directory.Lookup(provider); ok && now.providerStatus(p, g.o.Now()).State == string(directory.Maintenance) {
				return // refused, as it is meant to be
			}
		}
		note(severity, part, fmt.Sprintf("%d of %d requests by route %s failed in the last minute", failed, last.Requests, cmp.Or(route, "none")))
	})
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
	if n := g.activity.RefusedTotal(); n == 1 {
		note(severityNotice, "enterprises", "one enterprise is refused upstream")
	} else if n > 1 {
		note(severityNotice, "enterprises", fmt.Sprintf("%d times an enterprise is refused by a route or provider upstream", n))
	}
	slices.SortStableFunc(list, func(a, b Attention) int {
		return cmp.Or(severities[a.Severity]-severities[b.Severity], cmp.Compare(a.Part, b.Part), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// shownRefused is how many refused enterprises /status lists.
const shownRefused = 100

// providerStatus is one provider as /status shows it.
func (g *generation) providerStatus(p *directory.Provider, now time.Time) ProviderStatus {
	s := ProviderStatus{
		ID: p.ID, Name: p.Name, State: string(p.State(now)), APIVersion: p.APIVersion, Contact: p.Contact, Refusal: p.Refusal,
		Circuit: string(resilience.Closed),
	}
	if p.Base != nil {
		s.Base = p.Base.String()
	}
	for _, w := range p.Maintenance {
		if w.End.After(now) {
			s.Announced = append(s.Announced, Window{w.Start.UTC(), w.End.UTC()})
		}
	}
	if m, ok := g.pool.switches.provider(p.ID); ok {
		s.State, s.Switched = string(directory.Maintenance), &m
	}
	for _, f := range g.federated {
		state := f.circuit(p.ID)
		if state.Circuit == resilience.Open || s.Circuit == string(resilience.Closed) {
			s.Circuit, s.OpenUntil = string(state.Circuit), state.Until
		}
	}
	return s
}
