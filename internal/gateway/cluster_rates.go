package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
)

// clusterRate is this replica's end of a rate for all replicas. It outlives the Redis
// that it is counted in, which a new configuration may replace.
type clusterRate struct {
	shared *atomic.Pointer[redisstore.Store]
	name   string
	spec   redisstore.Spec
	bound  atomic.Pointer[boundRate]
}

// boundRate is a rate and the Redis that it is counted in.
type boundRate struct {
	in   *redisstore.Store
	rate *redisstore.Rate
}

// Take implements resilience.Joint. Without a Redis, which the configuration does not
// allow for long, nothing is bound.
func (r *clusterRate) Take(ctx context.Context, c *call.Call, batch bool) time.Duration {
	b := r.bound.Load()
	if in := r.shared.Load(); in != nil && (b == nil || b.in != in) {
		next := &boundRate{in, in.Rate(r.name, r.spec)}
		if !r.bound.CompareAndSwap(b, next) {
			next = r.bound.Load()
		}
		b = next
	}
	if b == nil {
		return 0
	}
	return b.rate.Take(ctx, &c.Redis, batch)
}

// limitJoint makes the rates of enterprises and callers that are for all replicas.
func (p *pool) limitJoint(key resilience.Key, r resilience.Rate) resilience.Joint {
	name := "caller " + key.Name
	if key.Kind == resilience.ByEnterprise {
		name = "enterprise " + key.Enterprise.String()
	}
	return &clusterRate{shared: &p.shared, name: name, spec: redisstore.Spec{PerSecond: r.PerSecond, Burst: r.Burst}}
}

// upstreamJoint makes the rate of an upstream that is for all replicas. Upstreams of the
// same name and base URL share one.
func (p *pool) upstreamJoint(o upstreamOptions) func(resilience.Rate) resilience.Joint {
	return func(r resilience.Rate) resilience.Joint {
		return &clusterRate{shared: &p.shared, name: "upstream " + o.name + "\x00" + o.base, spec: redisstore.Spec{
			PerSecond: r.PerSecond, Burst: r.Burst, BatchShare: resilience.BatchShare,
		}}
	}
}
