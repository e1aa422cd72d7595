package gateway

import (
	"context"
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

// start runs the parts of a generation and ends those of others.
func (b *background) start(g *generation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wanted := map[runner]bool{g.tokens: true, g.directory: true}
	for part := range wanted {
		if _, ok := b.running[part]; ok {
			continue
		}
		ctx, cancel := context.WithCancel(b.ctx)
		b.running[part] = cancel
		b.wg.Go(func() { part.Run(ctx) })
	}
	for part, cancel := range b.running {
		if !wanted[part] {
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
