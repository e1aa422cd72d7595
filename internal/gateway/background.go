package gateway

import (
	"context"
	"sync"
)

// background runs what a generation needs to have running beside the requests. A
// part that generations share runs until the last of them has ended, in whatever
// order they do: one that was replaced long ago may be the last to serve a request.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[runner]*shared
}

// shared is a part that runs, and the generations that need it.
type shared struct {
	cancel context.CancelFunc
	needed map[*generation]bool
}

// runner is a part that works by itself until its context is done.
type runner interface{ Run(context.Context) }

func newBackground() *background {
	ctx, cancel := context.WithCancel(context.Background())
	return &background{ctx: ctx, cancel: cancel, running: make(map[runner]*shared)}
}

func parts(g *generation) []runner {
	list := []runner{g.tokens, g.directory}
	if g.redis.shared != nil {
		list = append(list, g.redis.shared)
	}
	if g.tracing.tracer != nil {
		list = append(list, g.tracing.tracer)
	}
	return list
}

// start runs the parts of a generation that do not run yet.
func (b *background) start(g *generation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range parts(g) {
		if running, ok := b.running[part]; ok {
			running.needed[g] = true
			continue
		}
		ctx, cancel := context.WithCancel(b.ctx)
		b.running[part] = &shared{cancel, map[*generation]bool{g: true}}
		b.wg.Go(func() { part.Run(ctx) })
	}
}

// end ends the parts of a generation that no other one needs.
func (b *background) end(g *generation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range parts(g) {
		running, ok := b.running[part]
		if !ok {
			continue
		}
		if delete(running.needed, g); len(running.needed) == 0 {
			running.cancel()
			delete(b.running, part)
		}
	}
}

// stop ends everything and waits for it.
func (b *background) stop() {
	b.cancel()
	b.wg.Wait()
}
