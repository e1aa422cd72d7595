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
	// partition is what all calls have in common, clients those whose tokens they may carry.
	partition call.Partition
	clients   map[string]config.Client
	// policy is nil if the route keeps nothing and only its writes count.
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
func (g *generation) newKept(route *config.Route, base string) *kept {
	if !g.keeps(route) {
		return nil
	}
	k := &kept{partition: call.Partition{Route: route.Name, Upstream: base}, clients: g.cfg.OAuth.Clients}
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
	partition := k.partition
	if source != nil {
		client := source.Client()
		// The name may become another client's with the next configuration.
		partition.Client = client + " " + k.clients[client].ClientID
		partition.Scopes = strings.Join(source.Scopes(), " ")
	}
	keep := call.Keep{Partition: partition, Told: true, Reads: k.policy != nil, Shares: k.shares}
	if keep.Reads {
		keep.Policy = k.policyOf(segments)
	}
	return keep
}
