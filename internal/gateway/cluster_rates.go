package gateway

import (
	"context"
	"errors"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

var errNoRedis = errors.New("spending a rate of all replicas: there is no Redis")

// Spend implements resilience.Shared by the Redis of the moment, which a new configuration
// may replace.
func (p *pool) Spend(ctx context.Context, a *call.Allowance, name string, r config.Rate, batchPart float64,
	batch bool) (time.Duration, error) {
	if in := p.shared.Load(); in != nil {
		return in.Spend(ctx, a, name, r, batchPart, batch)
	}
	return 0, errNoRedis
}

// Replicas implements resilience.Shared.
func (p *pool) Replicas() int {
	if in := p.shared.Load(); in != nil {
		return in.Replicas()
	}
	return 1
}
