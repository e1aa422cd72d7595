package gateway

import (
	"math"
	"runtime/debug"
	"strings"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// kept is how answers of one upstream are kept for one route: what the composition
// knows of a call's partition and policy before there is a call.
type kept struct {
	// partitions lack the enterprise alone; they are by the source of the token, nil
	// for none.
	partitions map[*authn.Source]call.Partition
	// policy is nil if the route keeps nothing and only tells of its writes.
	policy *call.Policy
	rules  []keptRule
	shares bool
}

// keptRule changes the policy of some paths; a nil policy keeps nothing.
type keptRule struct {
	paths  patterns
	policy *call.Policy
}

// keeps reports whether a route has to do with the cache: it keeps answers, or it leads
// to an upstream of which another route does, and may change what that one keeps.
func (g *generation) keeps(route *config.Route) bool {
	if route.Kind == config.KindMandates {
		return false
	}
	for _, other := range g.cfg.Routes {
		if other.Kind == config.KindMandates || !other.Cache.Enabled {
			continue
		}
		if other.Registry && route.Registry || other.Upstream != nil && route.Upstream != nil &&
			*other.Upstream == *route.Upstream {
			return true
		}
	}
	return false
}

// newKept prepares the keeping of an upstream's answers; nil if there is nothing to do.
func (g *generation) newKept(route *config.Route, rules *scopeRules, base string) *kept {
	if !g.keeps(route) {
		return nil
	}
	k := &kept{partitions: map[*authn.Source]call.Partition{nil: {Route: route.Name, Upstream: base}}}
	if rules != nil {
		for client, sources := range rules.sources {
			for _, s := range sources {
				if s != nil {
					k.partitions[s] = call.Partition{
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
	k.policy = &call.Policy{
		CachePolicy: c.CachePolicy, Heuristics: c.Heuristics, MaxBody: c.MaxBody, Cookies: route.CallerCredentials,
	}
	// A larger body would put out most of what is there.
	if most := g.cfg.Cache.Memory / 4; c.MaxBody == config.Unlimited || c.MaxBody > most {
		k.policy.MaxBody = most
	}
	k.shares = c.Shared.Any()
	for _, r := range c.Rules {
		rule := keptRule{paths: patternsOf(r.Paths)}
		if r.Enabled {
			policy := *k.policy
			policy.CachePolicy = r.CachePolicy
			rule.policy = &policy
			k.shares = k.shares || r.Shared.Any()
		}
		k.rules = append(k.rules, rule)
	}
	return k
}

// heldOf is how much may be held in memory for callers, in bytes.
func heldOf(l config.Limits) int64 {
	const part, unlimited = 4, 256 << 20 // of the memory limit; where there is none
	if l.MaxHeldBytes != 0 {
		return int64(l.MaxHeldBytes)
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 { // which only asks
		return limit / part
	}
	return unlimited
}

func (k *kept) policyOf(segments []string) *call.Policy {
	for i := range k.rules {
		if k.rules[i].paths.match(segments) {
			return k.rules[i].policy
		}
	}
	return k.policy
}

// of is how the answer to a call is kept whose token comes from source, nil for none. A
// nil kept keeps nothing.
func (k *kept) of(source *authn.Source, segments []string) call.Keep {
	if k == nil {
		return call.Keep{}
	}
	partition, ok := k.partitions[source]
	if !ok { // a token that nobody prepared for: nothing of it is kept
		return call.Keep{}
	}
	keep := call.Keep{Partition: partition, Told: true, Reads: k.policy != nil, Shares: k.shares}
	if keep.Reads {
		keep.Policy = k.policyOf(segments)
	}
	return keep
}
