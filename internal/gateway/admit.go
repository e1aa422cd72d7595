package gateway

import (
	"context"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/tenancy"
)

// enterCaller says of what class the call is, and counts it among those that its caller has under
// way. It comes before the body is read, so that slow writers are counted.
func (g *Gateway) enterCaller(ctx context.Context, c *call.Call, caller *tenancy.Caller) (leave func(), err error) {
	if caller.Class == config.Batch {
		c.Batch, c.Pace = true, caller.Wait
	}
	if caller.Concurrency > 0 {
		leave, err = g.limits.Enter(ctx, c, caller.Concurrency)
	}
	return leave, err
}

// admit spends the rate of the enterprise.
func (g *Gateway) admit(ctx context.Context, c *call.Call, tenant tenancy.Tenant) error {
	if row := tenant.Enterprise; row != nil && row.Rate != nil {
		key := resilience.Key{Enterprise: tenant.Number}
		return g.limits.Take(ctx, c, key, *row.Rate)
	}
	return nil
}

// admitCaller spends the rate of the caller.
func (g *Gateway) admitCaller(ctx context.Context, c *call.Call, caller *tenancy.Caller) error {
	if caller.Rate != nil {
		key := resilience.Key{Caller: caller.Name}
		return g.limits.Take(ctx, c, key, *caller.Rate)
	}
	return nil
}
