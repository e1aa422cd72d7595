// Package listen serves HTTP to callers: sockets, their limits, and HTTP/1.0 and HTTP/1.1
// itself (RFC 9110, RFC 9112). HTTP/2 is net/http's, which is handed the connections that
// begin with its preface (h2c, RFC 9113, section 3.3) or chose it by ALPN. Handlers see
// *http.Request and http.ResponseWriter on both.
//
// What differs from net/http's own HTTP/1 server, and why it is not used:
//
//   - An answer that ends early is always seen to: a handler that panics with
//     http.ErrAbortHandler, or writes less than its Content-Length, ends the connection
//     with a TCP reset, beneath TLS too. Many clients take the end of the connection for
//     the end of the answer, whatever length was announced.
//   - A refused upload is answered at once, and what the caller still sends is then read
//     and thrown away for a while: callers that send everything before they read would
//     lose the answer to a reset otherwise.
//   - A body is read by the handler alone. The header of the answer may leave before.
//   - Requests that cannot be read are answered with a problem document (RFC 9457).
//   - A caller that closed its sending side is served if what it asked for may not be
//     lost: see KeepServing.
//   - No goroutine waits for the caller to leave while a handler works: one for all
//     connections looks at those whose request takes long.
//   - No media type is guessed for an answer without one, and no length for one to HEAD.
//   - Trailer fields are those named with http.TrailerPrefix, announced or not.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/descriptors"
)

// Listener is one address that is listened on.
type Listener struct {
	// Name is what caller rules call it.
	Name string
	// Address is host:port.
	Address string
	// TLS is nil for plain HTTP. A listener whose TLS is another pointer than before
	// serves new connections with it; the protocols offered are the Server's to set.
	TLS *tls.Config
}

// Limits protect against callers that are many, slow or gone: what the configuration says of
// them, where 0 is no limit and no end, and what follows from it.
type Limits struct {
	config.Limits
	// mostSlow is how long a body slower than MinBodyRate is waited for; 0 is a minute. Tests
	// on real sockets have none to wait.
	mostSlow time.Duration
	// Grace is how long connections are served whose listener was taken away or
	// changed.
	Grace time.Duration
}

// Options are what a Server is made of. All but ConnContext are required.
type Options struct {
	Handler http.Handler
	// ConnContext, unless nil, gives the context that the requests of a connection
	// get theirs from. It must not be one that can be cancelled, which would cost each
	// request a place among its children.
	ConnContext func(Listener, net.Conn) context.Context
	// NewID gives the id of a request that is refused before any handler sees it.
	NewID func() string
	Log   *slog.Logger
	// Reserve keeps the last file descriptors of the process free, and half of the others
	// for upstreams (package descriptors).
	Reserve bool
}

// Server serves one handler on a set of listeners that can be changed while it serves.
type Server struct {
	o     Options
	slots slots
	// lingering counts the connections and streams that only wait for the end of a body.
	lingering atomic.Int32
	// shortAt is when file descriptors were last short, in nanoseconds since 1970.
	shortAt atomic.Int64
	// capped tells that it is these that limit the connections.
	capped atomic.Bool

	mu    sync.Mutex
	bound []*bound
	conns map[*conn]struct{}
	// generations are those that may have connections.
	generations map[*generation]struct{}
	// watching tells that watchCallers runs, over that Shutdown was called.
	watching, over bool

	// leaving makes every answer close its connection.
	leaving atomic.Bool
	// working counts the goroutines. closed ends those that only wait; ended tells that no
	// connection is left.
	working       sync.WaitGroup
	closed, ended chan struct{}
	date          date
}

// bound is a socket that is listened on.
type bound struct {
	socket     net.Listener
	generation atomic.Pointer[generation] // what new connections get
	// stop ends accepting; stopped tells that it has ended and the socket is closed.
	stop, stopped chan struct{}
}

// generation is a listener with its limits as it was in force when a connection was accepted.
// Another one takes its place if anything of it changes: it then has the callers of its
// connections come back anew, by "Connection: close" in each answer, for the grace.
type generation struct {
	Listener
	limits  Limits
	tls     *tls.Config
	retired atomic.Bool
	http2   *http2Server
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	return &Server{
		o: o, conns: make(map[*conn]struct{}), generations: make(map[*generation]struct{}),
		closed: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Change is a set of listeners that is ready to take the place of the one in force. It
// must be committed or discarded.
type Change struct {
	s         *Server
	listeners []Listener
	limits    Limits
	// kept are the sockets in the order of the listeners; opened those that are new.
	kept, opened []*bound
}

// Prepare opens the addresses that are new. If one of them cannot be opened, nothing has
// changed and the error says which. Between Prepare and Commit or Discard no other change
// may be prepared.
func (s *Server) Prepare(listeners []Listener, limits Limits) (*Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Change{s: s, listeners: listeners, limits: limits, kept: make([]*bound, len(listeners))}
	for i, l := range listeners {
		same := func(b *bound) bool { return b.generation.Load().Address == l.Address && !slices.Contains(c.kept, b) }
		if j := slices.IndexFunc(s.bound, same); j >= 0 {
			c.kept[i] = s.bound[j]
			continue
		}
		socket, err := net.Listen("tcp", l.Address)
		if err != nil {
			c.Discard()
			return nil, fmt.Errorf("listening on %s: %w; is another program using the port?", l.Address, err)
		}
		c.kept[i] = newBound(socket)
		c.opened = append(c.opened, c.kept[i])
	}
	return c, nil
}

func newBound(socket net.Listener) *bound {
	return &bound{socket: socket, stop: make(chan struct{}), stopped: make(chan struct{})}
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
	if !s.watching {
		s.watching = true
		s.working.Go(s.watchCallers)
	}
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
		s.put(b, c.listeners[i], c.limits)
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

// Listen is Prepare and Commit in one.
func (s *Server) Listen(listeners []Listener, limits Limits) error {
	c, err := s.Prepare(listeners, limits)
	if err != nil {
		return err
	}
	c.Commit()
	return nil
}

// put makes l what b serves.
func (s *Server) put(b *bound, l Listener, limits Limits) {
	old := b.generation.Load()
	if old != nil && l == old.Listener && limits == old.limits {
		return
	}
	next := &generation{Listener: l, limits: limits}
	if l.TLS != nil {
		next.tls = l.TLS.Clone()
		next.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	next.http2 = newHTTP2Server(s, next)
	s.generations[next] = struct{}{}
	b.generation.Store(next)
	if old != nil {
		s.retire(old)
	}
}

// forget is called by a connection that has ended or is HTTP/2's.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) connContext(l Listener, nc net.Conn) context.Context {
	if s.o.ConnContext == nil {
		return context.Background()
	}
	return s.o.ConnContext(l, nc)
}

// of gives the open connections of a generation, of all if it is nil.
func (s *Server) of(c *generation) (list []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if c == nil || conn.generation == c {
			list = append(list, conn)
		}
	}
	return list
}

// retire lets the connections of a generation be served for the grace.
func (s *Server) retire(c *generation) {
	c.retired.Store(true)
	s.working.Go(func() {
		select {
		case <-time.After(c.limits.Grace):
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
	err := c.http2.shutdown(ctx)
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

// Addrs are the addresses that are listened on, in the order of the listeners.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, len(s.bound))
	for i, b := range s.bound {
		addrs[i] = b.socket.Addr()
	}
	return addrs
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
	generations := make([]*generation, 0, len(s.generations))
	for c := range s.generations {
		generations = append(generations, c)
	}
	s.mu.Unlock()
	errs := make([]error, len(generations))
	var wg sync.WaitGroup
	for i, c := range generations {
		wg.Go(func() { errs[i] = s.end(ctx, c) })
	}
	wg.Wait()
	close(s.ended)
	s.await()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
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
