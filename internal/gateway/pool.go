package gateway

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/wire"
)

// pool keeps the stacks of upstreams across generations: what an upstream is to us,
// its connections among it, is not forgotten because another line of the
// configuration changed.
type pool struct {
	// evidence is who read or changed what.
	evidence evidence.Keeper
	// stacks are those of upstreams. When nobody needs one any more, its idle connections
	// are given up; requests under way are not cut.
	stacks *shared[stackKey, *stacked]
	// limits are the rates of enterprises and callers.
	limits *resilience.Limits
	// shared is the store of the generation in force that replicas share, nil if there
	// is none.
	shared atomic.Pointer[redisstore.Store]
	// calls are the trace ids under way, of all generations.
	calls *wire.Calls
	// memory bounds what is held for callers.
	memory *memory.Budget
	// cache is what all routes keep of their answers.
	cache *cache.Cache
	// switches are what was switched to maintenance.
	switches *maintenance.Switches
	// refusedRates counts what limits refused.
	refusedRates rateRefusals
	// tracer is told of every try; nil for none. instance names this process in traces.
	tracer   tracerInForce
	instance string
}

// stackKey is everything that decides what a stack is. If any of it changes, the
// upstream gets a new one.
type stackKey struct {
	options upstreamOptions
	egress  *egress.Egress
}

// stacked is one stack.
type stacked struct {
	stack      call.Sender
	transport  *egress.Transport
	protection *resilience.Upstream
	waiting    proxy.Waiting
}

// newPool makes the pool for a configuration. done is given the records of what the cache
// asks in the background, known is maintenance.Options.Known.
func newPool(cfg *config.Config, o Options, done func(*call.Record), known func(string) error) *pool {
	now := o.Now
	p := &pool{
		instance: call.NewID(), calls: wire.NewCalls(), memory: memory.NewBudget(heldOf(cfg.Server.Limits)),
		cache: cache.New(cache.Options{
			Memory: memoryOf(cfg.Cache), Log: o.Log, Now: now, Classify: egress.Classify, Done: done,
		}),
		stacks: newShared[stackKey](func(s *stacked) { s.transport.CloseIdleConnections() }),
	}
	p.limits = resilience.NewLimits(p, now)
	p.switches = maintenance.New(maintenance.Options{Now: now, Log: o.Log, Store: p.sharedSwitches, Known: known})
	return p
}

// sharedSwitches is where replicas share their switches; nil without Redis. It lies
// there as a list of a registry would, which replicas keep for each other already.
func (p *pool) sharedSwitches() directory.Shared {
	if r := p.shared.Load(); r != nil {
		return r.List("maintenance")
	}
	return nil
}

// status shows every upstream, by name.
func (p *pool) status() []operate.Upstream {
	list := []operate.Upstream{}
	p.stacks.each(func(key stackKey, s *stacked) {
		now, waiting := s.protection.State(), s.waiting.State()
		list = append(list, operate.Upstream{
			Name: key.options.name, Base: key.options.base, Circuit: string(now.Circuit), OpenUntil: now.Until,
			UntriedSince: now.UntriedSince, OpenFor: now.OpenFor, Opened: now.Opened,
			InFlight: now.InFlight, Queued: now.Queued, Retries: now.Retries, RetriesDenied: now.RetriesDenied,
			RefusedOpen: now.RefusedOpen, RefusedFull: now.RefusedFull, RefusedShare: now.RefusedShare,
			RefusedRate: now.RefusedRate,
			Connections: s.transport.Counts(), Waiting: waiting.Calls, WaitingSince: waiting.Oldest,
			UnansweredSince: waiting.Unanswered,
		})
	})
	slices.SortFunc(list, func(a, b operate.Upstream) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Base, b.Base))
	})
	return list
}
