package gateway

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// readiness is whether requests should be sent here. A gateway becomes ready once: when
// each client that its routes need has had a token, and the list of Document Providers
// is there, or readiness.patience is over. Otherwise a rolling update would replace good
// replicas by one whose client is refused. From then on it stays ready: if a provider or
// the Authorization Server is away, another replica would do no better.
type readiness struct {
	reached atomic.Bool
	// started says that everything was tried once, whether it worked or not.
	started atomic.Bool
	missing atomic.Pointer[string]
}

// firstTry is what a gateway waits for that has just started.
const firstTry = "the first token and the first list are being fetched"

// readinessPause is the time between two looks. Failed token requests have longer pauses
// of their own.
const readinessPause = 100 * time.Millisecond

// startLimit is how long a first try, which may hang, is waited for before the start
// counts as over.
const startLimit = 20 * time.Second

// becomeReady looks until the gateway is ready or ctx is done.
func (g *Gateway) becomeReady(ctx context.Context) {
	for {
		now := g.current.Load()
		missing := now.missing(ctx)
		if ctx.Err() != nil {
			return
		}
		text := strings.Join(missing, "; ")
		g.readiness.missing.Store(&text)
		waited, patience := g.o.Now().Sub(g.started), now.cfg.Readiness.Patience
		s := now.directory.Status()
		if now.cfg.Registry.URL == nil || !s.LastTry.IsZero() || !s.LastSuccess.IsZero() || waited > startLimit {
			g.readiness.started.Store(true)
		}
		if len(missing) > 0 && (patience == 0 || waited < patience) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(readinessPause):
			}
			continue
		}
		g.readiness.reached.Store(true)
		if len(missing) > 0 {
			g.o.Log.Warn("readiness.patience is over: ready for what can be served", "missing", text)
		} else {
			g.o.Log.Info("ready", "after", waited.Round(time.Millisecond).String())
		}
		return
	}
}

// missing says what has not been there yet, in sentences without a full stop.
func (g *generation) missing(ctx context.Context) (list []string) {
	clients := g.cfg.UsedClients()
	failures := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, client := range clients {
		wg.Go(func() { failures[i] = g.tokens.Prime(ctx, client, g.registryToken) })
	}
	wg.Wait()
	for i, err := range failures {
		if err != nil {
			list = append(list, "client "+clients[i]+" has had no token yet: "+err.Error())
		}
	}
	if s := g.directory.Status(); g.directory.NoListYet() {
		list = append(list, "there is no list of Document Providers yet: "+cmp.Or(s.LastError, "it is being fetched"))
	}
	return list
}

// startedUp says what has not been tried once since the start, empty if all has.
func (g *Gateway) startedUp() string {
	if g.readiness.started.Load() {
		return ""
	}
	return firstTry
}
