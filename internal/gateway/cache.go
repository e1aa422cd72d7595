package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/proxy"
)

// kept is how answers of one upstream are kept for one route: what the composition
// knows of a call's partition and policy before there is a call.
type kept struct {
	// partitions lack the enterprise alone; they are by the source of the token, nil
	// for none.
	partitions map[*authn.Source]cache.Partition
	// policy is nil if the route keeps nothing and only tells of its writes.
	policy *cache.Policy
	rules  []keptRule
	shares bool
}

// keptRule changes the policy of some paths; a nil policy keeps nothing.
type keptRule struct {
	paths  [][]string
	policy *cache.Policy
}

// keeps tells whether a route has to do with the cache: it keeps answers, or it leads
// to an upstream of which another route does, and may change what that one keeps.
func (g *generation) keeps(route config.Route) bool {
	if route.Kind == config.KindMandates {
		return false
	}
	for _, other := range g.cfg.Routes {
		if other.Kind == config.KindMandates || !other.Cache.Enabled {
			continue
		}
		if other.Registry && route.Registry || other.Upstream != nil && route.Upstream != nil && *other.Upstream == *route.Upstream {
			return true
		}
	}
	return false
}

// newKept prepares the keeping of an upstream's answers; nil if there is nothing to do.
func (g *generation) newKept(route config.Route, rules *scopeRules, base string) *kept {
	if !g.keeps(route) {
		return nil
	}
	k := &kept{partitions: map[*authn.Source]cache.Partition{nil: {Route: route.Name, Upstream: base}}}
	if rules != nil {
		for client, sources := range rules.sources {
			for _, s := range sources {
				if s != nil {
					k.partitions[s] = cache.Partition{
						Route: route.Name, Upstream: base,
						// The name may become another client's with the next configuration.
						Client: client + " " + g.cfg.OAuth.Clients[client].ClientID,
						Scopes: strings.Join(s.Scopes(), " "),
					}
				}
			}
		}
	}
	c := route.Cache
	if !c.Enabled {
		return k
	}
	maxBody := int64(c.MaxBody)
	if whole := int64(g.cfg.Cache.Memory); maxBody == int64(config.Unlimited) || maxBody > whole/4 {
		maxBody = whole / 4 // a larger one would put out most of what is there
	}
	k.policy = &cache.Policy{
		Cookies: route.CallerCredentials, StrictAge: c.StrictAge,
		DefaultTTL: c.DefaultTTL, Heuristics: c.Heuristics, StaleWhileRevalidate: c.StaleWhileRevalidate,
		StaleIfError: c.StaleIfError, WhenSilent: c.WhenSilent, Sharing: sharing(c.Shared), MaxBody: maxBody,
	}
	k.shares = k.policy.Sharing != cache.SharedNever
	for _, r := range c.Rules {
		rule := keptRule{}
		for _, p := range r.Paths {
			rule.paths = append(rule.paths, ebox.Segments(p))
		}
		if r.Enabled {
			rule.policy = &cache.Policy{
				Cookies: route.CallerCredentials, StrictAge: c.StrictAge,
				DefaultTTL: r.DefaultTTL, Heuristics: c.Heuristics, StaleWhileRevalidate: r.StaleWhileRevalidate,
				StaleIfError: r.StaleIfError, WhenSilent: r.WhenSilent, Sharing: sharing(r.Shared), MaxBody: maxBody,
			}
			k.shares = k.shares || rule.policy.Sharing != cache.SharedNever
		}
		k.rules = append(k.rules, rule)
	}
	return k
}

// memoryOf is how much this process keeps, in bytes.
func memoryOf(c config.Memory) int64 {
	if c.RedisOnly {
		return 0
	}
	return int64(c.Memory)
}

func sharing(s config.Sharing) cache.Sharing {
	switch s {
	case config.SharedPublic:
		return cache.SharedPublic
	case config.SharedAlways:
		return cache.SharedAlways
	}
	return cache.SharedNever
}

func (k *kept) policyOf(path string) *cache.Policy {
	if len(k.rules) == 0 {
		return k.policy
	}
	segments := ebox.Segments(path)
	for i := range k.rules {
		for _, p := range k.rules[i].paths {
			if matchPath(p, segments) {
				return k.rules[i].policy
			}
		}
	}
	return k.policy
}

// keeper stands where the proxy does: it answers from the cache what it can, and has the
// proxy do the rest.
type keeper struct {
	*proxy.Proxy
	cache *cache.Cache
	// logged receives the records of what is asked in the background, which nobody
	// waits for: the access log shows them, and evidence of what was read does not.
	logged func(*exchange.Record)
}

// Keep implements server.Keeper.
func (k *keeper) Keep(w http.ResponseWriter, r *http.Request, call *proxy.Call, how any) {
	kept := how.(*kept)
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if kept.policy == nil && safe && !call.Opening {
		k.Serve(w, r, call)
		return
	}
	source, _ := r.Context().Value(authn.SourceKey).(*authn.Source)
	partition, ok := kept.partitions[source]
	if !ok { // a token that nobody prepared for: nothing of it is kept
		k.Serve(w, r, call)
		return
	}
	rec := exchange.From(r.Context())
	partition.Enterprise, partition.Own = rec.Enterprise, rec.Own
	x := &keptExchange{
		keeper: k, w: w, r: r, call: call,
		task: cache.Task{Partition: partition, Target: target(call.Path, call.RawQuery, call.ForceQuery), Shares: kept.shares, Opening: call.Opening},
	}
	if kept.policy != nil {
		x.task.Policy = kept.policyOf(call.Path)
	}
	k.cache.Serve(x, &x.task)
}

func target(path, query string, bare bool) string {
	if query == "" && !bare {
		return path
	}
	return path + "?" + query
}

// keptExchange is one call as the cache sees it. It implements cache.Exchange.
type keptExchange struct {
	keeper *keeper
	w      http.ResponseWriter
	r      *http.Request
	call   *proxy.Call
	task   cache.Task
}

var _ cache.Exchange = (*keptExchange)(nil)

func (x *keptExchange) Request() *http.Request     { return x.r }
func (x *keptExchange) Field(name string) []string { return x.call.RequestField(x.r, name) }
func (x *keptExchange) Note(status string)         { x.w.Header()["Cache-Status"] = []string{status} }

func (x *keptExchange) Answer(resp *http.Response, body []byte, extra *cache.Extra) {
	status := []string{extra.Status}
	if before := resp.Header["Cache-Status"]; len(before) > 0 {
		status = append(before[:len(before):len(before)], extra.Status)
	}
	fields := [...]proxy.Field{{Name: "Cache-Status", Values: status}, {Name: "Age", Values: []string{extra.Age}}}
	x.keeper.Answer(x.w, x.r, x.call, resp, body, fields[:])
}

func (x *keptExchange) Forward(prepare func(http.Header), receive func(*http.Response, error) (*http.Response, error)) {
	x.call.Prepare, x.call.Receive = prepare, receive
	x.keeper.Serve(x.w, x.r, x.call)
}

// Again prepares the call with a record of its own, a part of this one's, and the
// credential of this one. Nobody gets its answer, so that its record has no status.
func (x *keptExchange) Again() cache.Again {
	credential := x.r.Context().Value(authn.SourceKey)
	from := exchange.From(x.r.Context())
	rec := &exchange.Record{
		ID: exchange.NewID(), Parent: from.ID, TraceParent: from.TraceParent, TraceState: from.TraceState, Start: time.Now(),
		Source: from.Source, Listener: from.Listener, Caller: from.Caller, Actor: from.Actor, Purpose: from.Purpose,
		Method: http.MethodGet, Host: from.Host, Path: from.Path, Protocol: from.Protocol,
		Route: from.Route, Provider: from.Provider, Action: from.Action,
		Enterprise: from.Enterprise, Own: from.Own, Claimed: from.Claimed, Client: from.Client,
		Upstream: x.call.Upstream.Name, UpstreamHost: x.call.Upstream.Base.Host,
	}
	send := func(ctx context.Context, prepare func(http.Header)) (*http.Response, error) {
		ctx = exchange.With(context.WithValue(ctx, authn.SourceKey, credential), rec)
		return x.keeper.Send(ctx, x.r, x.call, prepare)
	}
	end := func() {
		rec.Phases.Total = time.Since(rec.Start)
		x.keeper.logged(rec)
	}
	return cache.Again{Send: send, Record: rec, End: end}
}

// Failing tells an upstream that cannot serve from one that will not: a client that the
// Authorization Server refuses has no right to what it got before.
func (x *keptExchange) Failing(err error) bool {
	if p := problem.From(err); p.Type == problem.ClientRefused("", "", "").Type {
		return false
	}
	return !classify(err).Cancelled
}

func (x *keptExchange) Refuse() {
	x.keeper.Refuse(x.w, x.r, problem.Timeout("Nothing that could answer this is stored, and the request allows nothing else (only-if-cached). Leave that directive out to have the upstream asked.", problem.ProxyInternalResponse))
}

func (x *keptExchange) Locate(reference string) (string, bool) {
	path, query, ok := x.call.Locate(reference)
	if !ok {
		return "", false
	}
	return target(path, query, false), true
}
