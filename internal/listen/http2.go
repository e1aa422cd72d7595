package listen

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// http2Server serves the connections of a generation that speak HTTP/2. It is net/http's, fed
// with connections whose protocol is known.
type http2Server struct {
	server *http.Server
	feed   *feed
	start  sync.Once
}

func newHTTP2Server(s *Server, c *generation) *http2Server {
	h := &http2Server{feed: &feed{conns: make(chan net.Conn), done: make(chan struct{})}}
	h.server = &http.Server{
		Handler:           &streams{s, c},
		ReadHeaderTimeout: c.limits.ReadHeaderTimeout,
		IdleTimeout:       c.limits.IdleTimeout,
		MaxHeaderBytes:    int(c.limits.MaxHeaderBytes),
		// What a caller sends and no handler has read yet is held in memory, which only
		// these windows bound.
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: c.limits.MaxStreams, MaxReceiveBufferPerStream: 64 << 10,
			MaxReceiveBufferPerConnection: 256 << 10,
		},
		// What net/http says of a connection holds bytes of the caller.
		ErrorLog: log.New(constant{s.o.Log}, "", 0),
		ConnContext: func(_ context.Context, nc net.Conn) context.Context {
			return s.connContext(c.Listener, nc)
		},
		ConnState: func(nc net.Conn, state http.ConnState) {
			switch socket := socketOf(nc); {
			case socket == nil:
			case state == http.StateActive:
				socket.idleSince.Store(0)
			case state == http.StateIdle:
				socket.rests()
			}
		},
		Protocols: new(http.Protocols),
		// An answer to OPTIONS * that is not the handler's would lack what its answers carry.
		DisableGeneralOptionsHandler: true,
	}
	h.server.Protocols.SetHTTP2(true)
	h.server.Protocols.SetUnencryptedHTTP2(true)
	return h
}

// constant is a writer that logs that something was written, and nothing of it.
type constant struct{ log *slog.Logger }

func (c constant) Write(p []byte) (int, error) {
	c.log.Debug("an HTTP/2 connection ended with an error")
	return len(p), nil
}

// serve hands a connection over.
func (h *http2Server) serve(s *Server, nc net.Conn) {
	h.start.Do(func() {
		s.working.Go(func() { _ = h.server.Serve(h.feed) }) // ends with the feed
	})
	select {
	case h.feed.conns <- nc:
	case <-h.feed.done:
		_ = nc.Close() // it came too late
	}
}

// shutdown lets the connections end, with GOAWAY, and closes them when ctx is done.
func (h *http2Server) shutdown(ctx context.Context) error {
	h.feed.stop()
	h.start.Do(func() {}) // from now on none is started
	if h.server.Shutdown(ctx) == nil {
		return nil
	}
	_ = h.server.Close() // what it returns is that connections were open, which we know
	return ctx.Err()
}

// feed is the net.Listener of an http.Server whose connections come from a channel.
type feed struct {
	conns chan net.Conn
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

func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }
