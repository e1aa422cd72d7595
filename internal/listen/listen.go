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
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/memory"
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

// Options are what a Server is made of. All but ConnContext and Memory are required.
type Options struct {
	Handler http.Handler
	// ConnContext, unless nil, gives the context that the requests of a connection
	// get theirs from. It must not be one that can be cancelled, which would cost each
	// request a place among its children.
	ConnContext func(Listener, net.Conn) context.Context
	// NewID gives the id of a request that is refused before any handler sees it.
	NewID func() string
	Log   *slog.Logger
	// Memory bounds what is held for heads that are long; nil does not.
	Memory *memory.Budget
	// Reserve keeps the last file descriptors of the process free, and half of the others
	// for upstreams (package descriptors).
	Reserve bool
	// TurnedAway, unless nil, is told of each connection that is closed unanswered, since its
	// source has half of the places or more and no connection that is idle.
	TurnedAway func()
}

// Server serves one handler on a set of listeners that can be changed while it serves.
type Server struct {
	o     Options
	open  func(network, address string) (net.Listener, error) // net.Listen
	slots slots
	// aside counts the connections that wait aside (see slots).
	aside atomic.Int32
	// lingering counts the connections and streams that only wait for the end of a body.
	lingering atomic.Int32
	// shortAt is when file descriptors were last short, in nanoseconds since 1970; waiting
	// counts the sockets that accept nobody since they are.
	shortAt atomic.Int64
	waiting atomic.Int32
	// turnedAt is when a connection was last turned away, in the same way.
	turnedAt atomic.Int64
	// capped reports whether it is these that limit the connections.
	capped atomic.Bool

	mu    sync.Mutex
	bound []*bound
	conns map[*conn]struct{}
	// generations are those that may have connections.
	generations map[*generation]struct{}
	over        bool // Shutdown was called

	watch sync.Once // starts watchCallers
	// leaving makes every answer close its connection.
	leaving atomic.Bool
	// working counts the goroutines. closed ends those that only wait; ended is closed when no
	// connection is left.
	working       sync.WaitGroup
	closed, ended chan struct{}
}

// listener is what a *net.TCPListener is.
type listener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// bound is a socket that is listened on.
type bound struct {
	socket     listener
	generation atomic.Pointer[generation] // what new connections get
	aside      sync.WaitGroup             // of those that have come and wait aside
	// stop ends accepting; stopped is closed when it has ended, the socket is closed and nobody waits aside.
	stop, stopped chan struct{}
}

// generation is a listener with its limits as it was in force when a connection was accepted.
// Another one takes its place if anything of it changes: it then has the callers of its
// connections come back anew, by "Connection: close" in each answer, for the grace.
type generation struct {
	Listener
	limits  config.Limits
	grace   time.Duration
	tls     *tls.Config
	retired atomic.Bool
	http2   *http.Server
	feed    feed // of http2
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	return &Server{
		o: o, open: net.Listen, slots: slots{open: make(map[*socket]struct{}), of: make(map[netip.Addr]int)},
		conns: make(map[*conn]struct{}), generations: make(map[*generation]struct{}),
		closed: make(chan struct{}), ended: make(chan struct{}),
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
