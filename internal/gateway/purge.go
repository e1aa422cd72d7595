package gateway

import (
	"context"
	"slices"
	"time"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

const (
	// purgeTries is how often a purge tries the shared store, purgePause the time between two tries.
	purgeTries = 15
	purgePause = 200 * time.Millisecond
)

// Purge drops stored answers, here at once and in other replicas within a second.
// Requests under way bring back nothing of what was dropped. Its errors are problems.
func (g *Gateway) Purge(ctx context.Context, what admin.Purge) error {
	scope, err := scopeOf(g.current.Load().cfg, what)
	if err != nil {
		return err
	}
	g.o.Log.Info("stored answers are dropped", "enterprise", what.Enterprise, "route", what.Route, "all", what.All)
	// A request would not be kept waiting for the shared store; whoever purges would
	// rather know that it is done.
	err = g.cache.Invalidate(ctx, nil, scope)
	for range purgeTries {
		if err == nil || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(purgePause):
			err = g.cache.Invalidate(ctx, nil, scope)
		}
	}
	if err != nil {
		return problem.Unavailable("What this gateway keeps in memory was dropped. The shared store did not answer; it "+
			"will be told as soon as it does, and the other replicas with it.", 0).Because(err)
	}
	return nil
}

func scopeOf(cfg *config.Config, what admin.Purge) (cache.Scope, error) {
	switch {
	case what.All:
		return cache.Everything, nil
	case what.Route != "":
		if !slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return r.Name == what.Route }) {
			return 0, problem.NotFound("There is no route of that name. The gateway's status lists them.")
		}
		return cache.ScopeOfRoute(what.Route), nil
	}
	number, err := enterprise.Parse(what.Enterprise)
	if err != nil {
		return 0, problem.BadRequest("The enterprise number cannot be read: " + err.Error() + ".")
	}
	return cache.ScopeOfEnterprise(number), nil
}
