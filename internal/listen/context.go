package listen

import (
	"context"
	"sync"
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
	after *afterFunc    // what is to be run when it is done, the newest first
	first afterFunc     // room for the first one, which is all that most requests have
}

// afterFunc is a function to be run, and the next one in the list.
type afterFunc struct {
	c    *requestContext
	f    func()
	next *afterFunc
}

// stop takes the function out of the list, and reports whether it was there.
func (a *afterFunc) stop() bool {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	for at := &a.c.after; *at != nil; at = &(*at).next {
		if *at == a {
			*at = a.next
			return true
		}
	}
	return false
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
	a := &c.first
	if a.f != nil { // used, be it stopped: an earlier stop must not stop this one
		a = new(afterFunc)
	}
	*a = afterFunc{c: c, f: f, next: c.after}
	c.after = a
	return a.stop
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
	for a := c.after; a != nil; a = a.next {
		go a.f()
	}
	c.after = nil
}
