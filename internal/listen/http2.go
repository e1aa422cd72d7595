package listen

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
)

// newHTTP2 makes the server of the connections of a generation that speak HTTP/2. It is net/http's,
// and gets them, whose protocol is known, from the generation's feed.
func newHTTP2(s *Server, c *generation) *http.Server {
	h := &http.Server{
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
		ErrorLog: log.New(io.Discard, "", 0),
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
	h.Protocols.SetHTTP2(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	return h
}

// feed is the net.Listener of an http.Server whose connections are handed to it.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
}

func newFeed() feed { return feed{make(chan net.Conn), make(chan struct{})} }

func (f feed) hand(nc net.Conn) {
	select {
	case f.conns <- nc:
	case <-f.done:
		_ = nc.Close() // it came too late
	}
}

func (f feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close is called once by the http.Server.
func (f feed) Close() error {
	close(f.done)
	return nil
}

func (f feed) Addr() net.Addr { return &net.TCPAddr{} }
