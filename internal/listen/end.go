package listen

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

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
