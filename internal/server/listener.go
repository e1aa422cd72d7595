package server

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
)

// Listener is one address that is listened on.
type Listener struct {
	// Name is what caller rules call it.
	Name string
	// Address is host:port.
	Address string
	// TLS is nil for plain HTTP.
	TLS *tls.Config
}

// Limits protect the front door.
type Limits struct {
	// MaxHeaderBytes bounds the request line and the header fields together.
	MaxHeaderBytes int
	// MaxConnections bounds the open connections of all listeners together, further
	// ones wait to be accepted; 0 is unlimited. MaxStreams bounds the requests under
	// way on one HTTP/2 connection.
	MaxConnections, MaxStreams int
	// ReadHeaderTimeout is how long a caller may take to send a header, IdleTimeout
	// how long a connection may wait for its next request.
	ReadHeaderTimeout, IdleTimeout time.Duration
	// BodyIdleTimeout is how long a caller may stand still while it sends a body or
	// takes an answer; 0 is for ever.
	BodyIdleTimeout time.Duration
}

// Server serves one handler on a set of listeners that can be changed while it
// serves.
//
// Connections are accepted by one goroutine for each address and fed to the
// http.Server in charge. A change of limits puts another http.Server in charge of
// the same socket, so that no connection is refused meanwhile; the one before
// serves the connections it has, and asks their callers to come back anew by
// "Connection: close" in each answer.
type Server struct {
	handler http.Handler
	log     *slog.Logger
	// grace is how long connections of a listener that is gone are served.
	grace time.Duration

	mu     sync.Mutex
	limits Limits
	slots  slots
	bound  []*bound
	// closing makes every answer close its connection.
	closing atomic.Bool
	// working counts the goroutines; closed ends those that only wait.
	working sync.WaitGroup
	closed  chan struct{}
	failed  chan error
}

// bound is a socket and the http.Server in charge of it.
type bound struct {
	listener Listener
	socket   net.Listener
	conns    chan net.Conn
	server   *charge
}

// charge is an http.Server and whether it still is in charge.
type charge struct {
	*http.Server
	feed    *feed
	retired atomic.Bool
}

// New makes a server that does not listen yet. grace is how long connections are
// served whose listener was taken away.
func New(handler http.Handler, grace time.Duration, log *slog.Logger) *Server {
	return &Server{handler: handler, grace: grace, log: log, closed: make(chan struct{}), failed: make(chan error, 1)}
}

// Listen makes the listeners those that are given. New addresses are opened first;
// if one of them cannot be, nothing has changed and the error says which. Addresses
// that stay are not closed for a moment.
func (s *Server) Listen(listeners []Listener, limits Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]*bound, len(listeners))
	var opened []*bound
	for i, l := range listeners {
		if j := slices.IndexFunc(s.bound, func(b *bound) bool { return b.listener.Address == l.Address && !slices.Contains(kept, b) }); j >= 0 {
			kept[i] = s.bound[j]
			continue
		}
		socket, err := net.Listen("tcp", l.Address)
		if err != nil {
			for _, b := range opened {
				_ = b.socket.Close() // nothing was accepted yet
			}
			return fmt.Errorf("listening on %s: %w; is another program using the port?", l.Address, err)
		}
		kept[i] = &bound{socket: socket, conns: make(chan net.Conn)}
		opened = append(opened, kept[i])
	}
	changed := limits != s.limits
	if limits.MaxConnections != s.limits.MaxConnections || s.bound == nil {
		s.slots = newSlots(limits.MaxConnections)
	}
	s.limits = limits
	for i, b := range kept {
		s.put(b, listeners[i], changed)
		if slices.Contains(opened, b) {
			s.working.Go(func() { s.accept(b) })
		}
	}
	for _, b := range s.bound {
		if !slices.Contains(kept, b) {
			_ = b.socket.Close() // ends its accept
			s.retire(b.server)
		}
	}
	s.bound = kept
	return nil
}

// put makes l what b serves, by another http.Server if it has to be.
func (s *Server) put(b *bound, l Listener, changed bool) {
	same := b.server != nil && !changed && l.Name == b.listener.Name && l.TLS == b.listener.TLS
	b.listener = l
	if same {
		return
	}
	old := b.server
	b.server = s.take(b, l)
	if old != nil {
		s.retire(old)
	}
}

// take starts an http.Server for a socket.
func (s *Server) take(b *bound, l Listener) *charge {
	c := &charge{feed: &feed{conns: b.conns, addr: b.socket.Addr(), done: make(chan struct{})}}
	limits := s.limits
	c.Server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin(r)
			if s.closing.Load() || c.retired.Load() {
				w.Header()["Connection"] = []string{"close"}
			}
			w, body := patient(w, r, limits.BodyIdleTimeout)
			s.handler.ServeHTTP(w, r)
			leave(w, body)
		}),
		TLSConfig:         l.TLS,
		ReadHeaderTimeout: limits.ReadHeaderTimeout,
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.MaxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: limits.MaxStreams},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:       l.connContext,
		ConnState:         idle,
		Protocols:         new(http.Protocols),
		// An answer to OPTIONS * that is not ours would lack what ours carry.
		DisableGeneralOptionsHandler: true,
	}
	c.Protocols.SetHTTP1(true)
	if l.TLS != nil {
		c.Protocols.SetHTTP2(true)
	} else {
		c.Protocols.SetUnencryptedHTTP2(true)
	}
	s.working.Go(func() {
		serve := func() error { return c.Serve(c.feed) }
		if l.TLS != nil {
			serve = func() error { return c.ServeTLS(c.feed, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) && !c.retired.Load() {
			s.fail(fmt.Errorf("serving on %s: %w", l.Address, err))
		}
	})
	return c
}

// accept feeds the connections of a socket to whoever is in charge of it.
func (s *Server) accept(b *bound) {
	const pause = 50 * time.Millisecond // when there are no file descriptors left
	for {
		conn, err := b.socket.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.log.Warn("a connection could not be accepted", "cause", err.Error())
			select {
			case <-time.After(pause):
			case <-s.closed:
				return
			}
			continue
		}
		s.mu.Lock()
		free, idle := s.slots, s.limits.BodyIdleTimeout
		s.mu.Unlock()
		// The place is waited for with the connection in hand: a listener that only
		// waits for callers must not keep a place from the others.
		if !free.take(s.closed) {
			_ = conn.Close() // it came too late
			return
		}
		select {
		case b.conns <- &accepted{Conn: conn, slots: free, patience: idle, log: s.log}:
		case <-s.closed:
			_ = conn.Close() // it came too late
			free.give()
			return
		}
	}
}

// retire lets an http.Server serve the connections it has for the grace, without new
// ones.
func (s *Server) retire(c *charge) {
	c.retired.Store(true)
	c.feed.stop()
	s.working.Go(func() {
		select {
		case <-time.After(s.grace):
		case <-s.closed:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if c.Shutdown(ctx) != nil {
			_ = c.Close() // what it returns is that connections were open, which we know
		}
	})
}

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first failure is the one that is reported
	}
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

// Failed delivers the error of a listener that stopped serving by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Leave makes every further answer close its connection, so that callers that keep
// connections go elsewhere. Idle connections are left alone: closed under a request
// that is on its way, they would lose it.
func (s *Server) Leave() { s.closing.Store(true) }

// Shutdown stops to accept, waits for the requests under way until ctx is done and
// then cuts what is left. The error is ctx's if anything was cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	gone := s.bound
	s.bound = nil
	s.mu.Unlock()
	close(s.closed)
	var wg sync.WaitGroup
	errs := make([]error, len(gone))
	for i, b := range gone {
		_ = b.socket.Close() // ends its accept
		b.server.retired.Store(true)
		wg.Go(func() {
			if errs[i] = b.server.Shutdown(ctx); errs[i] != nil {
				_ = b.server.Close() // what it returns is that connections were open, which we know
			}
		})
	}
	wg.Wait()
	s.working.Wait()
	return errors.Join(errs...)
}

// feed is the net.Listener of an http.Server: connections come from a channel, and
// closing it leaves the socket open.
type feed struct {
	conns <-chan net.Conn
	addr  net.Addr
	once  sync.Once
	done  chan struct{}
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *feed) stop() { f.once.Do(func() { close(f.done) }) }

func (f *feed) Close() error {
	f.stop()
	return nil
}

func (f *feed) Addr() net.Addr { return f.addr }
