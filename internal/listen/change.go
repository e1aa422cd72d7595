package listen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/descriptors"
)

// Change is a set of listeners that is ready to take the place of the one in force. It
// must be committed or discarded.
type Change struct {
	s         *Server
	listeners []Listener
	limits    config.Limits
	grace     time.Duration
	// kept are the sockets in the order of the listeners; opened those that are new.
	kept, opened []*bound
}

// Prepare opens the addresses that are new. Of the limits, those of connections hold for all
// listeners together. grace is how long connections are served whose listener is taken away or
// changed later. If one of them cannot be opened, nothing has
// changed and the error says which. Between Prepare and Commit or Discard no other change
// may be prepared.
func (s *Server) Prepare(listeners []Listener, limits config.Limits, grace time.Duration) (*Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Change{s: s, listeners: listeners, limits: limits, grace: grace, kept: make([]*bound, len(listeners))}
	for i, l := range listeners {
		same := func(b *bound) bool { return b.generation.Load().Address == l.Address && !slices.Contains(c.kept, b) }
		if j := slices.IndexFunc(s.bound, same); j >= 0 {
			c.kept[i] = s.bound[j]
			continue
		}
		socket, err := s.open("tcp", l.Address)
		if err != nil {
			c.Discard()
			return nil, fmt.Errorf("listening on %s: %w; is another program using the port?", l.Address, err)
		}
		c.kept[i] = &bound{socket: socket.(listener), stop: make(chan struct{}), stopped: make(chan struct{})}
		c.opened = append(c.opened, c.kept[i])
	}
	return c, nil
}

// Discard closes what Prepare opened.
func (c *Change) Discard() {
	for _, b := range c.opened {
		_ = b.socket.Close() // nothing was accepted yet
	}
}

// Commit puts the change in force. Addresses that stay are not closed for a moment;
// connections of those that go, or whose TLS or limits change, are served for the grace.
func (c *Change) Commit() {
	s := c.s
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		c.Discard()
		return
	}
	s.watch.Do(func() { s.working.Go(s.watchCallers) })
	limit := c.limits.MaxConnections
	if s.o.Reserve {
		most := descriptors.ForCallers()
		s.capped.Store(limit <= 0 || limit > most)
		if s.capped.Load() {
			limit = most
		}
	}
	s.slots.setLimit(limit)
	for i, b := range c.kept {
		s.put(b, c.listeners[i], c.limits, c.grace)
	}
	for _, b := range c.opened {
		s.working.Go(func() { s.accept(b) })
	}
	var gone []*bound
	for _, b := range s.bound {
		if !slices.Contains(c.kept, b) {
			gone = append(gone, b)
			close(b.stop)
		}
	}
	s.bound = c.kept
	s.mu.Unlock()
	for _, b := range gone {
		<-b.stopped
		s.retire(b.generation.Load())
	}
}

// put makes l what b serves.
func (s *Server) put(b *bound, l Listener, limits config.Limits, grace time.Duration) {
	old := b.generation.Load()
	if old != nil && l == old.Listener && limits == old.limits && grace == old.grace {
		return
	}
	next := &generation{Listener: l, limits: limits, grace: grace}
	if l.TLS != nil {
		next.tls = l.TLS.Clone()
		next.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	next.http2, next.feed = newHTTP2(s, next), newFeed()
	s.working.Go(func() { _ = next.http2.Serve(next.feed) }) // ends with the feed
	s.generations[next] = struct{}{}
	b.generation.Store(next)
	if old != nil {
		s.retire(old)
	}
}

// Leave makes every further answer close its connection, so that callers that keep
// connections go elsewhere. Idle connections are left alone: closed under a request
// that is on its way, they would lose it.
func (s *Server) Leave() { s.leaving.Store(true) }

// Shutdown stops to accept, waits for the requests under way until ctx is done and then
// cuts what is left. The error is ctx's if anything was cut. An idle connection is closed
// only if nothing of a request has come on it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	gone := s.bound
	s.bound = nil
	over := s.over
	s.over = true
	s.mu.Unlock()
	if over {
		return nil
	}
	s.leaving.Store(true)
	for _, b := range gone {
		close(b.stop)
	}
	for _, b := range gone {
		<-b.stopped
	}
	close(s.closed)
	s.mu.Lock()
	generations := slices.Collect(maps.Keys(s.generations))
	s.mu.Unlock()
	errs := make(chan error, len(generations))
	for _, c := range generations {
		go func() { errs <- s.end(ctx, c) }()
	}
	var err error
	for range generations {
		err = errors.Join(err, <-errs)
	}
	close(s.ended)
	s.await()
	return err
}

// await waits for the goroutines. A handler that does not end though its connection was
// cut and its context cancelled is left behind.
func (s *Server) await() {
	const patience = 5 * time.Second
	ended := make(chan struct{})
	go func() {
		s.working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		s.o.Log.Error("stopping: a handler goes on after its connection was cut")
	}
}

// retire lets the connections of a generation be served for the grace.
func (s *Server) retire(c *generation) {
	c.retired.Store(true)
	s.working.Go(func() {
		select {
		case <-time.After(c.grace):
			const moment = time.Second // for a request that has just come
			ctx, cancel := context.WithTimeout(context.Background(), moment)
			defer cancel()
			_ = s.end(ctx, c) // that something had to be cut is what the grace is for
		case <-s.closed: // Shutdown ends it
		}
	})
}

// end closes the connections of a generation as they become idle, and cuts the others when
// ctx is done; the error then is ctx's.
func (s *Server) end(ctx context.Context, c *generation) error {
	c.retired.Store(true)
	err := c.http2.Shutdown(ctx) // with GOAWAY
	if err != nil {
		_ = c.http2.Close() // what it returns is that connections were open, which we know
	}
	const look = 5 * time.Millisecond
	for {
		open := s.of(c)
		if len(open) == 0 {
			break
		}
		for _, conn := range open {
			conn.closeWhenIdle()
		}
		if ctx.Err() != nil {
			for _, conn := range open {
				conn.cut()
			}
			err = errors.Join(err, ctx.Err())
			break
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	delete(s.generations, c)
	s.mu.Unlock()
	return err
}
