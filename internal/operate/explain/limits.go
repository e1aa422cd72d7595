package explain

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// explainLimits fills in what bounds the call, once it is known where it goes.
func (x *explainer) explainLimits(method string, route *config.Route) {
	f := &x.found
	cfg := x.Config
	for _, e := range cfg.Tenancy.Enterprises {
		if e.Number == x.record.Enterprise && !x.record.Own {
			f.EnterpriseRate = rateText(e.Rate)
		}
	}
	for _, c := range cfg.Callers {
		if c.Name == f.Caller {
			f.CallerRate = rateText(c.Rate)
			f.CallerConcurrency = "none"
			if c.Concurrency > 0 {
				f.CallerConcurrency = fmt.Sprintf("%d under way at once", c.Concurrency)
			}
			f.Class = string(c.Class)
			if c.Class == config.Batch {
				f.Class += fmt.Sprintf(": paced for at most %s instead of refused, with at most 70 %% of the upstream's rate "+
					"and places", orWait(c.Wait))
			}
		}
	}
	f.UpstreamRate = rateText(route.Rate)
	f.Concurrency = fmt.Sprintf("%d at once, %d may wait, each for at most %s", route.Concurrency.Max,
		route.Concurrency.Queue, route.Concurrency.Wait)
	if s := route.Concurrency.Share; s < 1 {
		f.Concurrency += fmt.Sprintf("; a caller or an enterprise beyond %g %% comes after the others", s*100)
	}
	f.Timeouts = fmt.Sprintf("connect %s, header %s, pause within a body %s", route.Timeouts.Connect,
		route.Timeouts.Header, route.Timeouts.Idle)
	f.Retry = x.retryText(method, route)
	f.Breaker = "none"
	if b := route.Breaker; b.Enabled {
		f.Breaker = fmt.Sprintf("opens for %s when %g %% of %d or more calls in %s fail", b.Open, b.FailureRatio*100,
			b.MinRequests, b.Window)
	}
	f.Cache = x.cacheText(method)
}

func orWait(d time.Duration) time.Duration {
	if d == 0 {
		return 30 * time.Second
	}
	return d
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

func (x *explainer) retryText(method string, route *config.Route) string {
	switch {
	case x.record.Opening:
		return "never once sent: the call opens a document"
	case method != http.MethodGet && method != http.MethodHead:
		return "never once sent: the call may change something"
	case route.Retry.Tries <= 1:
		return "none"
	}
	return fmt.Sprintf("up to %d tries in all, before the first byte of the answer", route.Retry.Tries)
}

// cacheText says what the cache does with the call.
func (x *explainer) cacheText(method string) string {
	switch k := &x.keep; {
	case x.record.Opening:
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
	return policyText(x.keep.Policy)
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
func (x *explainer) whoMay(method string, route *server.Route) []string {
	claim := tenancy.Claim{}
	switch {
	case x.record.Own:
		claim.HasPath, claim.Path = true, "own"
	case x.record.Enterprise != 0:
		claim.HasPath, claim.Path = true, x.record.Enterprise.String()
	}
	var names []string
	for _, c := range x.Callers.List() {
		if x.Resolver.Check(c, &route.Tenancy, x.record.Action, claim) != nil {
			continue
		}
		// grant/citizen says in body or query whom a call is for, of which the check
		// before it knows nothing but the number that was found there.
		if !route.Tenancy.Mandates {
			if _, err := x.Resolver.Resolve(c, &route.Tenancy, x.record.Action, method, claim); err != nil {
				continue
			}
		}
		name := c.Name
		if name == "" {
			name = "everybody who reaches the listener"
		}
		names = append(names, name)
	}
	return names
}
