package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// handshake begins TLS. It is false if the connection is not to be served as HTTP/1.
func (c *conn) handshake() bool {
	nc := tls.Server(c.socket, c.generation.tls)
	if !c.beginWaiting(c.generation.limits.ReadHeaderTimeout) {
		return false
	}
	err := nc.Handshake()
	c.endWaiting()
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS) && looksLikeHTTP(noTLS.RecordHeader):
		c.refuse(problem.BadRequest("This listener speaks TLS, and the request came without it. Use https in the URL; the "+
			"connection is closed."), false)
		return false
	case err != nil:
		c.s.o.Log.Debug("a TLS handshake failed", "source", c.remote)
		return false
	}
	c.nc = nc
	state := nc.ConnectionState()
	c.tls = &state
	if state.NegotiatedProtocol == "h2" {
		c.handOver(nc)
		return false
	}
	return true
}

// looksLikeHTTP reports whether the first bytes of a connection are those of a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

func (c *conn) handOver(nc net.Conn) {
	c.handed.Store(true)
	_ = c.socket.SetReadDeadline(time.Time{}) // a connection that is gone shows when it is read
	c.socket.writeBy = wire.Deadline{}        // net/http begins with deadlines of its own
	c.generation.feed.hand(nc)
}

// prefaceLine is how an HTTP/2 connection begins (RFC 9113, section 3.4): as a request does.
const prefaceLine = "PRI * HTTP/2.0"

// replay is a connection of which something has been read already.
type replay struct {
	net.Conn
	all io.Reader
}

func (c *replay) Read(p []byte) (int, error) { return c.all.Read(p) }

// http2 hands the connection over, whose preface net/http reads once more.
func (c *conn) http2() {
	ahead, _ := io.ReadAll(io.LimitReader(c.r, int64(c.r.Buffered()))) // it is there
	c.r.Release()
	all := io.MultiReader(strings.NewReader(prefaceLine+"\r\n\r\n"), bytes.NewReader(ahead), c.socket)
	c.handOver(&replay{c.socket, all})
}

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
				socket.becomesIdle()
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
