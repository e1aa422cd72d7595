// Package mandates asks upstreams for which enterprises there is a mandate.
package mandates

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/server"
)

// Kinds of mandates, by their names in Mahis.
const (
	// mandateConsumer lets a Service Provider read the e-Box of an enterprise.
	mandateConsumer = "e-Box Document Consumer"
	// mandateDmfa lets it manage citizen mandates for an enterprise.
	mandateDmfa = "Dmfa"
)

// Results of asking for an enterprise.
const (
	// Usable is an answer, Refused a refusal; both are final.
	Usable  = "usable"
	Refused = "refused"
	// NotTested says nothing of the mandate: there was no usable answer.
	NotTested = "not tested"
)

// Finding is what one upstream says of one enterprise.
type Finding struct {
	Enterprise enterprise.Number `json:"enterprise,omitzero"`
	// Name is the enterprise's in the list.
	Name string `json:"name,omitempty"`
	// Mandate is the kind; Provider the Document Provider's id, empty for mandateDmfa.
	Mandate  string `json:"mandate,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Result is one of the Mandate… results.
	Result string `json:"result"`
	// Status is the upstream's, 0 without an answer; Problem the type of its problem
	// document, and Reason its detail, or why nothing is known.
	Status  int    `json:"status,omitempty"`
	Problem string `json:"problem,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// At is in UTC, in whole seconds.
	At time.Time `json:"at,omitzero"`
}

// Untested is what is asked for no enterprise at all, and why.
type Untested struct{ Mandate, Provider, Reason string }

// Check asks upstreams for enterprises, one cheap call each, through the
// stack that calls have: with its tokens, rates, bulkhead and breaker, as a caller of
// class batch, which leaves 30 % of everything to the others.
type Check struct {
	// Untested are the upstreams that are not asked.
	Untested []Untested
	// PerSecond bounds the calls to all upstreams together, AtOnce the enterprises
	// that are asked for at the same time.
	PerSecond float64
	AtOnce    int
	// Patience is the longest wait before an upstream that could not answer is asked
	// again, twice at most.
	Patience time.Duration

	v       *operate.View
	targets []*mandateTarget
}

// mandateTarget is one upstream that is asked.
type mandateTarget struct {
	mandate, provider string
	route             string
	// path and query are what is asked; a query that ends with "=" is followed by the enterprise's number.
	path, query string
	// target gives the upstream and the token of a client.
	target func(*call.Call) (server.Target, error)
	// failing counts the enterprises in a row for which there was no answer.
	failing atomic.Int32
}

func (t *mandateTarget) about(n enterprise.Number) question {
	return question{n, t.mandate, t.provider}
}

// New prepares a check of the providers with the given ids, of all that
// can be called if there are none. With dmfa it also lists citizen mandates, of which
// the answers are not read. The registry is asked for its list.
func New(ctx context.Context, v *operate.View, providers []string, dmfa bool) (*Check, error) {
	if err := v.Directory.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("%w; \"gateway check --online\" says where it fails", err)
	}
	for _, id := range providers {
		if _, ok := v.Directory.Lookup(id); !ok {
			return nil, fmt.Errorf("there is no Document Provider %q; those that can be called are %s", id,
				strings.Join(v.Directory.ActiveIDs(), ", "))
		}
	}
	c := &Check{PerSecond: 5, AtOnce: 4, Patience: time.Minute, v: v}
	// ask has an upstream of a route asked, or says why it is not.
	ask := func(mandate, provider string, route int, why, path, query string) {
		if why != "" {
			c.Untested = append(c.Untested, Untested{mandate, provider, why})
			return
		}
		c.targets = append(c.targets, &mandateTarget{mandate: mandate, provider: provider, path: path, query: query,
			route: v.Config.Routes[route].Name, target: v.Routes[route].Target})
	}
	routes := v.Config.Routes
	route := slices.IndexFunc(routes, func(r config.Route) bool { return r.Registry })
	if route < 0 {
		ask(mandateConsumer, "", route, "no route of this configuration leads to Document Providers", "", "")
	}
	for _, p := range v.Directory.List() {
		if route < 0 || len(providers) > 0 && !slices.Contains(providers, p.ID) {
			continue
		}
		why := ""
		if state := p.State(v.Now()); state == directory.HostNotAllowed {
			why = p.Refusal
		} else if state != directory.Active {
			why = "the provider's state is " + string(state)
		}
		// The newest message's entry in the list is what every program that reads begins
		// with. Neither the list nor the summary marks anything read; the list needs the
		// scope with which messages are read, and a registry of version 2 gives the
		// summary to another.
		ask(mandateConsumer, p.ID, route, why, "/ebox/messages", "pageSize=1")
	}
	why := ""
	route = slices.IndexFunc(routes, func(r config.Route) bool {
		return r.Kind == config.KindMandates && r.Upstream != nil
	})
	if route < 0 {
		why = "this environment has no REST/grant/citizen"
	} else if !dmfa {
		why = "grant/citizen has no call that only asks for the mandate; with --dmfa the list of citizen mandates is " +
			"requested, and its answer left unread"
	}
	ask(mandateDmfa, "", route, why, "/mandates", "pageSize=1&representedEnterpriseNumber=")
	return c, nil
}

// Upstreams counts the upstreams that are asked for each enterprise.
func (c *Check) Upstreams() int { return len(c.targets) }

// Open gives the enterprises for which something is still to be asked, the first most
// of them if most is above zero.
func (c *Check) Open(list []config.Enterprise, known Answered, most int) []config.Enterprise {
	open := slices.DeleteFunc(list, func(e config.Enterprise) bool {
		return !slices.ContainsFunc(c.targets, func(t *mandateTarget) bool { return !known[t.about(e.Number)] })
	})
	if most > 0 && len(open) > most {
		open = open[:most]
	}
	return open
}

// Run asks for each enterprise. known says what need not be asked again; found is
// given what was found, an enterprise's findings one after the other, and never from
// two goroutines at once. An error of found ends the check, as ctx does, whose error
// is then returned; enterprises that were begun but not finished are left out.
func (c *Check) Run(ctx context.Context, list []config.Enterprise, known Answered, found func([]Finding) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pace := rate.NewLimiter(rate.Limit(c.PerSecond), 1)
	work := make(chan *config.Enterprise, len(list))
	for i := range list {
		work <- &list[i]
	}
	close(work)
	var (
		wg     sync.WaitGroup
		report sync.Mutex
		failed error // of found, which is not called again
	)
	for range max(1, c.AtOnce) {
		wg.Go(func() {
			for e := range work {
				findings, err := c.askAll(ctx, pace, e, known)
				if err != nil {
					return
				}
				report.Lock()
				if failed == nil {
					failed = found(findings)
				}
				if failed != nil {
					cancel(failed)
				}
				report.Unlock()
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// askAll asks every upstream for one enterprise. The error is that of ctx.
func (c *Check) askAll(ctx context.Context, pace *rate.Limiter, e *config.Enterprise,
	known Answered) (findings []Finding, err error) {
	for _, t := range c.targets {
		if known[t.about(e.Number)] {
			continue
		}
		f, err := c.askPatiently(ctx, pace, t, e)
		if err != nil {
			return nil, err
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// Limits of patience with an upstream that does not answer.
const (
	// mostAsks is how often it is asked for one enterprise.
	mostAsks = 3
	// givenUp is after how many enterprises in a row it is asked once each: a check
	// must not wait a minute for each of 40,000.
	givenUp = 3
	// firstWait is the wait if nobody says how long.
	firstWait = 2 * time.Second
)

// askPatiently asks until there is an answer or patience ends.
func (c *Check) askPatiently(ctx context.Context, pace *rate.Limiter, t *mandateTarget,
	e *config.Enterprise) (Finding, error) {
	for ask := 1; ; ask++ {
		if err := pace.Wait(ctx); err != nil {
			return Finding{}, context.Cause(ctx)
		}
		f, wait := c.ask(ctx, t, e)
		if err := context.Cause(ctx); err != nil {
			return Finding{}, err
		}
		if f.Result != NotTested {
			t.failing.Store(0)
			return f, nil
		}
		if wait < 0 || ask == mostAsks || t.failing.Load() >= givenUp {
			t.failing.Add(1)
			return f, nil
		}
		if wait == 0 {
			wait = firstWait << (ask - 1)
		}
		select {
		case <-time.After(min(wait, c.Patience)):
		case <-ctx.Done():
			return Finding{}, context.Cause(ctx)
		}
	}
}
