package gateway

import (
	"context"
	"sync"
)

// shared is what generations have together: each part exists until the last generation
// that needs it has ended, in whatever order they do. One that was replaced long ago may be
// the last to serve a request.
type shared[K comparable, V any] struct {
	// end ends a part that nobody needs any more.
	end func(V)

	mu    sync.Mutex
	parts map[K]*part[V]
}

// part is one of them, with the generations that need it.
type part[V any] struct {
	value V
	users map[*generation]bool
}

func newShared[K comparable, V any](end func(V)) *shared[K, V] {
	return &shared[K, V]{end: end, parts: make(map[K]*part[V])}
}

// take gives a part to a generation, made anew if there is none.
func (s *shared[K, V]) take(g *generation, key K, build func() V) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.parts[key]
	if !ok {
		p = &part[V]{value: build(), users: make(map[*generation]bool)}
		s.parts[key] = p
	}
	p.users[g] = true
	return p.value
}

// leave gives up one part of a generation.
func (s *shared[K, V]) leave(g *generation, key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(g, key)
}

// leaveAll gives up all parts of a generation that ended.
func (s *shared[K, V]) leaveAll(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.parts {
		s.drop(g, key)
	}
}

func (s *shared[K, V]) drop(g *generation, key K) {
	p, ok := s.parts[key]
	if !ok || !p.users[g] {
		return
	}
	if delete(p.users, g); len(p.users) == 0 {
		delete(s.parts, key)
		s.end(p.value)
	}
}

// each goes through all parts.
func (s *shared[K, V]) each(f func(K, V)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, p := range s.parts {
		f(key, p.value)
	}
}

// background runs what generations need to have running beside the requests.
type background struct {
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	running *shared[runner, context.CancelFunc]
}

// runner is a part that works by itself until its context is done.
type runner interface{ Run(context.Context) }

func newBackground() *background {
	b := &background{running: newShared[runner](func(cancel context.CancelFunc) { cancel() })}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// start runs the parts of a generation that do not run yet.
func (b *background) start(g *generation) {
	list := []runner{g.tokens, g.directory}
	if g.redis != nil {
		list = append(list, g.redis)
	}
	if g.tracer != nil {
		list = append(list, g.tracer)
	}
	for _, r := range list {
		b.running.take(g, r, func() context.CancelFunc {
			ctx, cancel := context.WithCancel(b.ctx)
			b.wg.Go(func() { r.Run(ctx) })
			return cancel
		})
	}
}

// stop ends everything and waits for it.
func (b *background) stop() {
	b.cancel()
	b.wg.Wait()
}
