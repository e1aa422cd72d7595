package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"ebox-gateway/internal/problem"
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

// looksLikeHTTP tells that the first bytes of a connection are those of a request.
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
	c.socket.writeBy = deadline{}             // net/http begins with deadlines of its own
	c.generation.http2.serve(c.s, nc)
}

// The beginning of an HTTP/2 connection (RFC 9113, section 3.4) is a request line and what
// stands after an empty line.
const (
	prefaceLine = "PRI * HTTP/2.0"
	prefaceRest = "SM\r\n\r\n"
)

// replay is a connection of which something has been read already.
type replay struct {
	net.Conn
	ahead []byte
}

func (c *replay) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// http2 takes the rest of the preface and hands the connection over.
func (c *conn) http2() {
	rest := make([]byte, len(prefaceRest))
	for n := 0; n < len(rest); {
		m, err := c.r.Read(rest[n:])
		if n += m; err != nil {
			return
		}
	}
	if string(rest) != prefaceRest {
		c.refuse(unreadable(http.StatusBadRequest, "the preface of HTTP/2 is malformed"), false)
		return
	}
	ahead := []byte(prefaceLine + "\r\n\r\n" + prefaceRest)
	if n := c.r.Buffered(); n > 0 {
		more := make([]byte, n)
		_, _ = io.ReadFull(c.r, more) // it is there
		ahead = append(ahead, more...)
	}
	c.r.Discard()
	c.handOver(&replay{c.socket, ahead})
}
