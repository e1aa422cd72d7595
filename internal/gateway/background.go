package gateway

import (
	"context"
	"slices"
	"sync"
)

// background runs what a generation needs to have running beside the requests. A
// part that two generations share goes on running; one that the next generation
// has not, ends.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[runner]context.CancelFunc
}

// runner is a part that works by itself until its context is done.
type runner interface{ Run(context.Context) }

func newBackground() *background {
	ctx, cancel := context.WithCancel(context.Background())
	return &background{ctx: ctx, cancel: cancel, running: make(map[runner]context.CancelFunc)}
}

func parts(g *generation) []runner { return []runner{g.tokens, g.directory} }

// start runs the parts of a generation that do not run yet.
func (b *background) start(g *generation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range parts(g) {
		if _, ok := b.running[part]; ok {
			continue
		}
		ctx, cancel := context.WithCancel(b.ctx)
		b.running[part] = cancel
		b.wg.Go(func() { part.Run(ctx) })
	}
}

// end ends the parts of a generation that its successor has not taken over.
func (b *background) end(g, successor *generation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := parts(successor)
	for _, part := range parts(g) {
		if cancel, ok := b.running[part]; ok && !slices.Contains(kept, part) {
			cancel()
			delete(b.running, part)
		}
	}
}

// stop ends everything and waits for it.
func (b *background) stop() {
	b.cancel()
	b.wg.Wait()
}
