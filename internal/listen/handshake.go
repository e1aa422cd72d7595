package listen

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
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
