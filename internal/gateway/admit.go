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
	enterprises map[enterprise.Number]config.Rate // those that have one
	callers     map[string]callerPace
}

type callerPace struct {
	rate        config.Rate // a perSecond of 0 is no limit
	concurrency int         // 0 is no limit
	batch       bool
	wait        time.Duration
}

func newAdmission(cfg *config.Config, p *pool) *admission {
	a := &admission{
		limits: p.limits, refused: &p.refusedRates,
		enterprises: make(map[enterprise.Number]config.Rate), callers: make(map[string]callerPace),
	}
	for _, e := range cfg.Tenancy.Enterprises {
		if e.Rate != nil {
			a.enterprises[e.Number] = *e.Rate
		}
	}
	for _, c := range cfg.Callers {
		pace := callerPace{concurrency: c.Concurrency, batch: c.Class == config.Batch, wait: c.Wait}
		if c.Rate != nil {
			pace.rate = *c.Rate
		}
		a.callers[c.Name] = pace
	}
	return a
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
		key := resilience.Key{Enterprise: tenant.Number}
		return note(&a.refused.enterprise, a.limits.Take(ctx, c, key, rate))
	}
	return nil
}

// admitCaller spends the rate of the caller.
func (a *admission) admitCaller(ctx context.Context, c *call.Call, caller *tenancy.Caller) error {
	if rate := a.callers[caller.Name].rate; rate.PerSecond > 0 {
		key := resilience.Key{Caller: caller.Name}
		return note(&a.refused.caller, a.limits.Take(ctx, c, key, rate))
	}
	return nil
}
