package gateway

import (
	"errors"
	"net/http"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
)

// newInbox makes the e-Box over all providers, which are reached as the first e-Box
// route that leads to providers reaches them; nil if there is none. show is nil, or
// told who would be asked.
func (g *generation) newInbox(routes []*server.Route, show func([]inbox.Provider)) *server.Inbox {
	providers := g.inboxProviders
	if show != nil { // nobody is asked, the registry neither
		providers = func() ([]inbox.Provider, error) {
			show(g.activeProviders())
			return nil, problem.Unavailable("The call is only explained.", 0)
		}
	}
	for i, route := range g.cfg.Routes {
		if route.Registry && route.Kind == config.KindEBox {
			return &server.Inbox{
				Timeout: g.cfg.Inbox.Timeout, Now: g.gw.o.Now,
				Route: routes[i], Providers: providers, Reason: missingReason,
			}
		}
	}
	return nil
}

// theOthers stands for the providers of a registry that has not given its list yet,
// where the configuration has some of its own: an e-Box of these alone is not whole.
const theOthers = "*"

// inboxProviders are the providers that an e-Box is made of. The error is a problem:
// nobody knows them yet.
func (g *generation) inboxProviders() ([]inbox.Provider, error) {
	list := g.activeProviders()
	if !g.directory.NoListYet() {
		return list, nil
	}
	err := g.noListYet()
	if len(list) == 0 {
		return nil, err
	}
	return append(list, inbox.Provider{ID: theOthers, Refusal: problem.From(err), Reason: "registry"}), nil
}

// activeProviders are those that have a part in an e-Box: the active ones, be it that
// they cannot be called now. What is not active yet, or no longer, has none.
func (g *generation) activeProviders() []inbox.Provider {
	now := g.gw.o.Now()
	known := g.directory.List()
	list := make([]inbox.Provider, 0, len(known))
	for _, p := range known {
		switch state := p.State(now); state {
		case directory.NotYetActive, directory.Deactivated:
		case directory.Active:
			entry := inbox.Provider{ID: p.ID}
			if off := g.gw.switches.Refused(p.ID); off != nil {
				entry.Refusal, entry.Reason = off, string(directory.Maintenance)
			}
			list = append(list, entry)
		default:
			list = append(list, inbox.Provider{ID: p.ID, Refusal: p.Problem(now), Reason: string(state)})
		}
	}
	return list
}

// missingReason says in a word why the gateway has no answer of an upstream.
func missingReason(r *call.Record) string {
	switch {
	case errors.Is(r.Cause, resilience.ErrCircuitOpen):
		return "circuit-open"
	case errors.Is(r.Cause, resilience.ErrBulkheadFull):
		return "busy"
	case r.Status == http.StatusTooManyRequests:
		return "rate-exceeded"
	case r.Status == http.StatusGatewayTimeout:
		return inbox.ReasonTimeout
	case r.ProxyError == problem.ProxyResponseIncomplete:
		return inbox.ReasonCut
	case r.ProblemType == problem.ClientRefused("", "", "").Type:
		return "client-refused"
	case r.Status == http.StatusForbidden, r.Status == http.StatusUnauthorized:
		return inbox.ReasonRefused
	case r.Status == http.StatusBadGateway:
		return "unreachable"
	}
	return inbox.ReasonUnavailable
}
