package explain

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// explainLimits says what bounds the call and how the upstream is called.
func (x *explainer) explainLimits(route *config.Route) {
	c, cfg := x.call, x.Config
	x.row("cache", x.cacheText())
	x.row("retry", x.retryText(route))
	for _, caller := range cfg.Callers {
		if caller.Name != c.Caller {
			continue
		}
		class := string(caller.Class)
		if caller.Class == config.Batch {
			class += fmt.Sprintf(": paced for at most %s instead of refused, with at most 70 %% of the upstream's rate "+
				"and places", caller.Wait)
		}
		x.row("caller's class", class)
		x.row("caller's rate", rateText(caller.Rate))
		concurrency := "none"
		if caller.Concurrency > 0 {
			concurrency = fmt.Sprintf("%d under way at once", caller.Concurrency)
		}
		x.row("caller's calls", concurrency)
	}
	for _, e := range cfg.Tenancy.Enterprises {
		if e.Number == c.Enterprise && !c.Own {
			x.row("enterprise's rate", rateText(e.Rate))
		}
	}
	x.row("upstream's rate", rateText(route.Rate))
	concurrency := fmt.Sprintf("%d at once, %d may wait, each for at most %s", route.Concurrency.Max,
		route.Concurrency.Queue, route.Concurrency.Wait)
	if s := route.Concurrency.Share; s < 1 {
		concurrency += fmt.Sprintf("; a caller or an enterprise beyond %g %% comes after the others", s*100)
	}
	x.row("concurrency", concurrency)
	x.row("time-outs", fmt.Sprintf("connect %s, header %s, pause within a body %s", route.Timeouts.Connect,
		route.Timeouts.Header, route.Timeouts.Idle))
	breaker := "none"
	if b := route.Breaker; b.Enabled {
		breaker = fmt.Sprintf("opens for %s when %g %% of %d or more calls in %s fail", b.Open, b.FailureRatio*100,
			b.MinRequests, b.Window)
	}
	x.row("circuit", breaker)
	body := "of any size"
	if c.MaxBody > 0 {
		body = fmt.Sprintf("at most %d bytes", c.MaxBody)
	}
	x.row("body", body)
}

func rateText(r *config.Rate) string {
	if r == nil || r.PerSecond <= 0 {
		return "none"
	}
	whose := ", by each replica"
	if r.Scope == config.ClusterRate {
		whose = ", by all replicas together"
	}
	return fmt.Sprintf("%g a second, %d at once%s", r.PerSecond, r.Burst, whose)
}

func (x *explainer) retryText(route *config.Route) string {
	switch method := x.call.Method; {
	case x.call.Opening:
		return "never once sent: the call opens a document"
	case method != http.MethodGet && method != http.MethodHead:
		return "never once sent: the call may change something"
	case route.Retry.Tries <= 1:
		return "none"
	}
	return fmt.Sprintf("up to %d tries in all, before the first byte of the answer", route.Retry.Tries)
}

// cacheText says what the cache does with the call.
func (x *explainer) cacheText() string {
	switch k, method := &x.call.Keep, x.call.Method; {
	case x.call.Opening:
		return "never kept: the call opens a document"
	case !k.Told:
		return "nothing is kept on this route"
	case method != http.MethodGet && method != http.MethodHead:
		return "a write drops what is kept of this enterprise at this upstream"
	case !k.Reads:
		return "nothing is kept on this route"
	case k.Policy == nil:
		return "off for this path"
	}
	return policyText(x.call.Keep.Policy)
}

func policyText(p *call.Policy) string {
	parts := []string{"by RFC 9111, for this client, scopes and enterprise alone"}
	switch p.Shared {
	case config.SharedAlways:
		parts[0] = "by RFC 9111, one answer for all enterprises"
	case config.SharedPublic:
		parts[0] = "by RFC 9111, what is marked public for all enterprises, else for this one alone"
	case config.SharedNever:
	}
	lifetime := "none unless the answer says one"
	if p.DefaultTTL > 0 {
		lifetime = p.DefaultTTL.String() + " unless the answer says one"
	}
	parts = append(parts, "lifetime "+lifetime)
	if p.StaleWhileRevalidate > 0 {
		parts = append(parts, "for "+p.StaleWhileRevalidate.String()+" more while it is fetched anew")
	}
	if p.StaleIfError > 0 {
		parts = append(parts, "for "+p.StaleIfError.String()+" more if the upstream fails")
	}
	return strings.Join(append(parts, "bodies up to "+strconv.FormatInt(int64(p.MaxBody), 10)+" bytes"), "; ")
}

// whoMay lists the callers that may make the call, whoever makes it now.
func (x *explainer) whoMay(route *server.Route) []string {
	c := x.call
	claim := tenancy.Claim{}
	switch {
	case c.Own:
		claim.HasPath, claim.Path = true, "own"
	case c.Enterprise != 0:
		claim.HasPath, claim.Path = true, c.Enterprise.String()
	}
	var names []string
	for _, caller := range x.Callers.List() {
		if x.Resolver.Check(caller, &route.Route, c.Action, claim) != nil {
			continue
		}
		// grant/citizen says in body or query whom a call is for, of which the check
		// before it knows nothing but the number that was found there.
		if route.Kind != config.KindMandates {
			if _, err := x.Resolver.Resolve(caller, &route.Route, c.Action, c.Method, claim); err != nil {
				continue
			}
		}
		names = append(names, cmp.Or(caller.Name, "everybody who reaches the listener"))
	}
	return names
}
