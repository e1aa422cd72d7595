package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/operate"
)

// Attention is one thing that somebody should know, in the order in which they should
// know it.
type Attention struct {
	// Severity is one of the words below.
	Severity string `json:"severity"`
	// Part is what it is about: "provider nsso", "client payroll", "configuration".
	Part string `json:"part"`
	// Text is a sentence for people, Remedy what to do about it.
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
	// Runbook is the path of the section that has more, on the admin listener.
	Runbook string `json:"runbook,omitempty"`
}

// attentions are in the order in which they were found.
type attentions []Attention

// add appends one; section is that of the page on operations.
func (list *attentions) add(severity, part, text, remedy, section string) {
	*list = append(*list, Attention{severity, part, text, remedy, runbook(section)})
}

// runbook is the path of a section of the page on operations.
func runbook(section string) string { return admin.Runbook + "#" + section }

// The severities, the worst first.
const (
	severityDown     = "down"     // nothing is served
	severityFailing  = "failing"  // calls fail now, most of them or all
	severityDegraded = "degraded" // it works, in part or with something wrong
	severityNotice   = "notice"   // as somebody meant it to be, or slight
)

var severities = map[string]int{severityDown: 0, severityFailing: 1, severityDegraded: 2, severityNotice: 3}

// attention lists what is not as it should be: how things stand, causes first, and below
// them what the callers of the last minute met and no cause explains.
func attention(v *operate.View, s *Status, h admin.Health, standing attentions) attentions {
	list := slices.Clone(standing)
	if h.Status == admin.Down {
		list = down(list, h.Reason)
	} else if reason := NotReady(v); reason != "" {
		list.add(severityDegraded, "gateway", "it is not ready: "+reason, "", "eboxgatewaynotready")
	}
	list = append(list, symptoms(v.Activity, s.Directory.Providers, list)...)
	if n := v.Activity.RefusedTotal(); n > 0 {
		text := fmt.Sprintf("%d times an enterprise is refused by a route or provider upstream", n)
		if n == 1 {
			text = "one enterprise is refused upstream"
		}
		list.add(severityNotice, "enterprises", text,
			"See in the list below who: each one's mandate, its validation and its terms of use.",
			"the-paper-first-mahis-and-chaman")
	}
	slices.SortStableFunc(list, func(a, b Attention) int { return severities[a.Severity] - severities[b.Severity] })
	return list
}

// down says why nothing is served. If a cause that is listed is the reason, it becomes the worst of
// the list, with its remedy; otherwise the reason is added.
func down(list attentions, reason string) attentions {
	for i := range list {
		if a := &list[i]; strings.HasSuffix(reason, a.Text) {
			a.Severity, a.Text = severityDown, reason
			return list
		}
	}
	return append(list, Attention{Severity: severityDown, Part: "gateway", Text: reason})
}

// symptoms are what the callers of the last minute met. What never was sent, since there is
// no token or a circuit is open, is no sign of the provider while such a cause is listed.
func symptoms(recent *activity.Recent, providers []ProviderStatus, causes attentions) (list attentions) {
	explained := make(map[string]bool) // parts that fail, or that are away as they are meant to be
	first := make(map[string]int)      // the first cause of each, "" if it is about calls to everybody
	for i, c := range slices.Backward(causes) {
		if c.Severity != severityFailing && c.Severity != severityDown {
			continue
		}
		explained[c.Part] = true
		switch kind, _, _ := strings.Cut(c.Part, " "); kind {
		case "listener":
		case "provider", "route":
			first[c.Part] = i
		default:
			first[""] = i
		}
	}
	for _, p := range providers {
		if p.State == string(directory.Maintenance) {
			explained["provider "+p.ID] = true
		}
	}
	unsent, how := make(map[int]uint64), make(map[int]string) // by cause
	recent.Minutes(func(l activity.Lately) {
		part := "route " + cmp.Or(l.Route, "none")
		if l.Provider != "" {
			part = "provider " + l.Provider
		}
		if len(first) > 0 {
			of, own := first[part]
			at, caused := first[""]
			if !caused {
				at, caused = of, own
			}
			if caused {
				unsent[at] += l.Minute.NotSent
			}
			if own && causes[of].Runbook == runbook("eboxcircuitopen") {
				how[of] = l.FailedHow
			}
			for _, s := range []*activity.Summary{&l.Minute, &l.Now} {
				s.Requests, s.GatewayErrors = s.Requests-s.NotSent, s.GatewayErrors-s.NotSent
			}
		}
		if !explained[part] {
			list.ofLately(part, l)
		}
	})
	for at, failed := range how {
		if failed != "" {
			causes[at].Text += "; calls fail with: " + failed
		}
	}
	for at, n := range unsent {
		if n > 0 {
			causes[at].Text += fmt.Sprintf(". Requests of the last minute that failed before anything was sent: %d", n)
		}
	}
	slices.SortFunc(list, func(a, b Attention) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Text, b.Text))
	})
	return list
}

const (
	// slowness is how much later than before answers begin that count as slow, and
	// slowFrom how late they begin at least, in milliseconds; without a before to compare
	// with, unheardOf.
	slowness  = 4
	slowFrom  = 1000
	unheardOf = 5000
)

// ofLately says what is wrong with a route and provider, and how badly. What began seconds ago counts
// as what it is, however well the rest of the minute went; a frozen upstream shows in callers that
// gave up waiting.
func (list *attentions) ofLately(part string, l activity.Lately) {
	route := cmp.Or(l.Route, "none")
	lost := l.Now.Errors()
	if l.Now.P50 >= slowFrom {
		lost += l.Now.Gone
	}
	failed, minute := l.Minute.Errors(), l.Minute.Requests
	ofErrors := func(severity string, failed, requests uint64, when string) {
		text := fmt.Sprintf("%d of %d requests by route %s failed in the last %s", failed, requests, route, when) + whom(l)
		if l.FailedHow != "" {
			text += "; mostly " + l.FailedHow
		}
		remedy, section := "gateway check --online finds the step that fails: DNS, network, TLS, token.", "eboxgatewayerrors"
		// An answer that is late, cut short or malformed is the upstream's, whoever says so.
		if 2*l.Minute.UpstreamErrors >= l.Minute.Errors() || strings.HasPrefix(l.FailedHow, "http ") {
			remedy, section = "Give the upstream's operators a trace id of the problems below; if it is all enterprises, call "+
				"them.", "eboxupstreamerrors"
		}
		list.add(severity, part, text, remedy, section)
	}
	slow := func(before string) {
		list.add(severityNotice, part, fmt.Sprintf("slow: half of the answers by route %s begin after %s or more%s", route,
			seconds(l.Now.P50), before), "The access lines say where the time goes: limits, token, header (the upstream) or "+
			"body.", "eboxgatewayslow")
	}
	switch {
	case failed > 0 && 2*failed >= minute:
		ofErrors(severityFailing, failed, minute, "minute")
	case lost >= 3 && 2*lost >= l.Now.Requests && l.Now.Errors() >= l.Now.Gone:
		ofErrors(severityFailing, lost, l.Now.Requests, "seconds")
	case lost >= 3 && 2*lost >= l.Now.Requests:
		list.add(severityFailing, part, fmt.Sprintf("%d of %d callers by route %s gave up waiting in the last seconds, "+
			"half of them after %s or more", l.Now.Gone, l.Now.Requests, route, seconds(l.Now.P50)),
			"Call the upstream's operators; gateway maintenance begin spares the callers the wait.", "eboxupstreamfrozen")
	case failed >= 3 && 10*failed >= minute:
		ofErrors(severityDegraded, failed, minute, "minute")
	case failed >= 3 && (20*failed >= minute || l.FailedFor == 1): // one may be few of many
		ofErrors(severityNotice, failed, minute, "minute")
	case l.Now.Requests < 3 || l.Now.P50 < slowFrom:
	case l.Before.Requests >= 10 && l.Now.P50 >= slowness*l.Before.P50:
		slow(", in the minutes before after " + seconds(l.Before.P50))
	case l.Before.Requests < 10 && l.Now.P50 >= unheardOf:
		slow("")
	}
}

// whom says whether failures are one enterprise's, and so about its data, or everybody's.
func whom(l activity.Lately) string {
	others := l.Minute.Requests - l.Minute.Errors()
	switch {
	case l.FailedFor == 1 && others > 0:
		return fmt.Sprintf(", all of them for one enterprise, %s; %d others did not", l.FailedOne, others)
	case l.FailedFor == 1:
		return ", for the one enterprise that was asked for, " + l.FailedOne
	case l.FailedFor > 1:
		return fmt.Sprintf(", for %d enterprises", l.FailedFor)
	}
	return ""
}

// seconds writes milliseconds as people say them.
func seconds(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}
