package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener is one address that the endpoint listens on.
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
}

// Server serves one handler on a number of listeners.
type Server struct {
	handler http.Handler
	limits  Limits
	slots   slots
	log     *slog.Logger

	mu      sync.Mutex
	servers []*http.Server
	addrs   []net.Addr
	serving sync.WaitGroup
	failed  chan error
}

// New makes a server that does not listen yet.
func New(handler http.Handler, limits Limits, log *slog.Logger) *Server {
	return &Server{handler: handler, limits: limits, slots: newSlots(limits.MaxConnections), log: log, failed: make(chan error, 1)}
}

// Listen opens every listener and starts to serve. If one cannot be opened none
// is, and the error says which.
func (s *Server) Listen(listeners []Listener) error {
	opened := make([]net.Listener, 0, len(listeners))
	for _, l := range listeners {
		nl, err := net.Listen("tcp", l.Address)
		if err != nil {
			for _, o := range opened {
				_ = o.Close() // nothing was accepted yet
			}
			return fmt.Errorf("listening on %s: %w; is another program using the port?", l.Address, err)
		}
		opened = append(opened, nl)
	}
	for i, l := range listeners {
		s.serve(l, opened[i])
	}
	return nil
}

func (s *Server) serve(l Listener, nl net.Listener) {
	srv := &http.Server{
		Handler:           s.handler,
		TLSConfig:         l.TLS,
		ReadHeaderTimeout: s.limits.ReadHeaderTimeout,
		IdleTimeout:       s.limits.IdleTimeout,
		MaxHeaderBytes:    s.limits.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:       l.connContext,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: s.limits.MaxStreams},
		// A TRACE answered here, or an OPTIONS *, would not be an answer of ours.
		DisableGeneralOptionsHandler: true,
	}
	srv.Protocols.SetHTTP1(true)
	if l.TLS != nil {
		srv.Protocols.SetHTTP2(true)
	} else {
		srv.Protocols.SetUnencryptedHTTP2(true)
	}
	nl = s.slots.limit(nl)
	s.mu.Lock()
	s.servers = append(s.servers, srv)
	s.addrs = append(s.addrs, nl.Addr())
	s.mu.Unlock()
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		var err error
		if l.TLS != nil {
			err = srv.ServeTLS(nl, "", "")
		} else {
			err = srv.Serve(nl)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			select {
			case s.failed <- fmt.Errorf("serving on %s: %w", l.Address, err):
			default: // the first failure is the one that is reported
			}
		}
	}()
}

// Addrs are the addresses that are listened on, in the order of the listeners.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]net.Addr(nil), s.addrs...)
}

// Failed delivers the error of a listener that stopped serving by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// CloseIdle makes every further answer close its connection, so that callers that
// keep connections go elsewhere; requests are still served.
func (s *Server) CloseIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, srv := range s.servers {
		srv.SetKeepAlivesEnabled(false)
	}
}

// Shutdown stops to accept, waits for the requests under way until ctx is done
// and then cuts what is left. The error is ctx's if anything was cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	servers := s.servers
	s.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, srv := range servers {
		wg.Go(func() {
			if errs[i] = srv.Shutdown(ctx); errs[i] != nil {
				_ = srv.Close() // what it returns is that connections were open, which we know
			}
		})
	}
	wg.Wait()
	s.serving.Wait()
	return errors.Join(errs...)
}
