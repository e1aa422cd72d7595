package listen

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of a request. It is done when the caller has left, or the
// request has been answered. It does what context.WithCancel does and is a part of the
// exchange, so that a request which nobody cancels costs no channel and no allocation.
//
// Package context knows the method AfterFunc and uses it for what is derived from it.
type requestContext struct {
	context.Context // the connection's, which is never done

	mu    sync.Mutex
	err   error
	done  chan struct{} // made when somebody asks for it
	after []func()      // to be run when it is done; nil once that was taken back or done
	room  [1]func()     // of after: most requests have one
}

// closed is the channel of contexts that were done before anybody asked.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			c.done = closed
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc has f run in a goroutine of its own once the context is done. stop takes that
// back; it is false if f was started before.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = c.room[:0]
	}
	i := len(c.after)
	c.after = append(c.after, f)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		is := c.after[i] != nil
		c.after[i] = nil
		return is
	}
}

// cancel makes the context done.
func (c *requestContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for i, f := range c.after {
		if f != nil {
			go f()
		}
		c.after[i] = nil
	}
}

// lookEvery is how often the connections are looked at whose request takes long. A caller
// that has left is noticed within twice that.
const lookEvery = 400 * time.Millisecond

// watchCallers cancels the requests of callers that have left, until the server has ended.
//
// A handler learns of it by the context of its request. net/http reads from the connection
// for that while a handler works, which costs a goroutine, its stack and two switches for
// each request; most are over before anybody could leave. Here one goroutine looks at the
// connections, and only those are asked of the kernel that serve the same request as when
// it looked before.
func (s *Server) watchCallers() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		for _, c := range s.of(nil) {
			now := c.current.Load()
			if now != nil && now == c.seen {
				now.lookForCaller()
			}
			c.seen = now
		}
	}
}

// lookForCaller cancels the request if its caller has left.
func (e *exchange) lookForCaller() {
	_, closing, gone := e.c.socket.state()
	if gone || closing && !e.kept.Load() {
		e.ctx.cancel()
	}
}
