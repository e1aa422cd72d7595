package directory

import (
	"strings"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// Problem returns why the provider cannot be called at a moment: nil if it can,
// 404 if it is not active yet or no longer, 503 in maintenance, with Retry-After at
// its end, and 503 if its host is not allowed. It never names the host.
func (p *Provider) Problem(now time.Time) *problem.Problem {
	switch p.State(now) {
	case NotYetActive:
		return problem.NotFound("The Document Provider "+p.ID+" is not active yet: it can be called from "+
			day(p.Activation)+".",
			providerIssue(p.ID, "The provider is not active yet."))
	case Deactivated:
		return problem.NotFound("The Document Provider "+p.ID+" was deactivated and can no longer be called. GET "+
			"/ebox/providers lists those that can.",
			providerIssue(p.ID, "The provider was deactivated."))
	case Maintenance:
		end, _ := p.MaintenanceEnd(now)
		return problem.UnavailableUntil("The Document Provider "+p.ID+" is in announced maintenance. Try "+
			"again after it ends.", end)
	case HostNotAllowed:
		return problem.Unavailable("The Document Provider "+p.ID+" is not called, because its host is not on "+
			"the gateway's allow-list. The platform team can add it: "+
			"the gateway's status shows the line.", 0).Proxy(problem.ProxyConfigurationError)
	}
	return nil
}

// Unknown is the problem of an id that no provider has: 404, with the ids that can
// be called.
func Unknown(id string, known []string) *problem.Problem {
	const most = 20 // a list for a reader; /ebox/providers has them all
	hint := "No Document Provider can be called now."
	if len(known) > 0 {
		shown := known[:min(len(known), most)]
		hint = "These can be called now: " + strings.Join(shown, ", ")
		if len(known) > most {
			hint += " and others"
		}
		hint += "."
	}
	return problem.NotFound("No Document Provider has this id. GET /ebox/providers lists those that can be called.",
		providerIssue(id, hint))
}

func providerIssue(id, detail string) problem.Issue {
	return problem.Issue{Type: problem.IssueInvalidInput, In: "path", Name: "providerId", Value: id, Detail: detail}
}

func day(t time.Time) string { return t.In(ebox.Brussels()).Format(time.DateOnly) }
