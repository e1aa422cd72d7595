// Package flight makes one request for what many ask for at the same time.
//
// The first that joins is the leader: it makes the request, and lands its result or its error. All
// that join before that wait for it, each until its own context ends. The leader may make the request
// in the background or in its own, which may end long after the answer has begun to come.
package flight

import (
	"context"
	"sync"
)

// Group are the flights under way, by what they ask for. The zero Group is ready to use, and
// safe for concurrent use.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	under map[K]*Flight[V]
}

// Flight is one request under way. Its methods may be called at any time, by anybody.
type Flight[V any] struct {
	forget      func() // takes it out of its group
	begin, land sync.Once
	begun, done chan struct{}
	// value and err are set before done is closed.
	value V
	err   error
}

// Join gives the flight that asks for k, and reports whether the caller leads it: then it must
// land it.
func (g *Group[K, V]) Join(k K) (f *Flight[V], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.under[k]; f != nil {
		return f, false
	}
	if g.under == nil {
		g.under = make(map[K]*Flight[V])
	}
	f = &Flight[V]{begun: make(chan struct{}), done: make(chan struct{})}
	f.forget = func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.under, k)
	}
	g.under[k] = f
	return f, true
}

// Begin says that an answer has begun to come.
func (f *Flight[V]) Begin() { f.begin.Do(func() { close(f.begun) }) }

// Begun is closed when an answer has begun to come, and at the end.
func (f *Flight[V]) Begun() <-chan struct{} { return f.begun }

// Land ends the flight with what came, or why nothing did. Only the first end counts.
func (f *Flight[V]) Land(v V, err error) {
	f.land.Do(func() {
		f.forget()
		f.value, f.err = v, err
		f.Begin()
		close(f.done)
	})
}

// Wait gives what the flight ended with, or the error of ctx if that is done before.
func (f *Flight[V]) Wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}
