package gateway

import (
	"context"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/tenancy"
)

// admission is what callers and enterprises may ask a second.
type admission struct {
	limits      *resilience.Limits
	refused     *rateRefusals
	enterprises map[enterprise.Number]resilience.Rate // those that have one
	callers     map[string]callerPace
}

type callerPace struct {
	rate        resilience.Rate
	concurrency int // 0 is no limit
	batch       bool
	wait        time.Duration
}

func newAdmission(cfg *config.Config, p *pool) *admission {
	a := &admission{
		limits: p.limits, refused: &p.refusedRates,
		enterprises: make(map[enterprise.Number]resilience.Rate), callers: make(map[string]callerPace),
	}
	for _, e := range cfg.Tenancy.Enterprises {
		if e.Rate != nil {
			a.enterprises[e.Number] = rateOf(e.Rate)
		}
	}
	for _, c := range cfg.Callers {
		a.callers[c.Name] = callerPace{
			rate: rateOf(c.Rate), concurrency: c.Concurrency, batch: c.Class == config.Batch, wait: c.Wait,
		}
	}
	return a
}

// rateOf is no limit if there is no rate.
func rateOf(r *config.Rate) resilience.Rate {
	if r == nil {
		return resilience.Rate{}
	}
	return resilience.Rate{PerSecond: r.PerSecond, Burst: r.Burst, Cluster: r.Scope == config.ClusterRate}
}

// enter says of what class the call is, and counts it among those that its caller has under
// way. It comes before the body is read, so that slow writers are counted.
func (a *admission) enter(ctx context.Context, c *call.Call, caller *tenancy.Caller) (leave func(), err error) {
	known := a.callers[caller.Name]
	if known.batch {
		c.Batch, c.Pace = true, known.wait
	}
	if known.concurrency > 0 {
		leave, err = a.limits.Enter(ctx, c, known.concurrency)
	}
	return leave, note(&a.refused.concurrency, err)
}

// admit spends the rate of the enterprise.
func (a *admission) admit(ctx context.Context, c *call.Call, tenant tenancy.Tenant) error {
	if rate, ok := a.enterprises[tenant.Number]; ok {
		key := resilience.Key{Kind: resilience.ByEnterprise, Enterprise: tenant.Number}
		return note(&a.refused.enterprise, a.limits.Take(ctx, c, key, rate))
	}
	return nil
}

// admitCaller spends the rate of the caller.
func (a *admission) admitCaller(ctx context.Context, c *call.Call, caller *tenancy.Caller) error {
	if rate := a.callers[caller.Name].rate; rate.PerSecond > 0 {
		key := resilience.Key{Kind: resilience.ByCaller, Name: caller.Name}
		return note(&a.refused.caller, a.limits.Take(ctx, c, key, rate))
	}
	return nil
}
