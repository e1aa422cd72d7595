package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
)

// clusterRates are the rates of all replicas, by the Redis of the moment, which a new
// configuration may replace. It implements resilience.Shared.
type clusterRates struct {
	redis *atomic.Pointer[redisstore.Store]
}

var errNoRedis = errors.New("spending a rate of all replicas: there is no Redis")

// Spend implements resilience.Shared.
func (r clusterRates) Spend(ctx context.Context, a *call.Allowance, name string, rate config.Rate, batchPart float64,
	batch bool) (time.Duration, error) {
	if in := r.redis.Load(); in != nil {
		return in.Spend(ctx, a, name, rate, batchPart, batch)
	}
	return 0, errNoRedis
}

// Replicas implements resilience.Shared.
func (r clusterRates) Replicas() int {
	if in := r.redis.Load(); in != nil {
		return in.Replicas()
	}
	return 1
}
