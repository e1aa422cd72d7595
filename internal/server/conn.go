package server

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"

	"ebox-gateway/internal/listen"
)

// conn is what is known of a connection, worked out once when it is accepted.
type conn struct {
	listener string
	remote   netip.Addr
	local    netip.Addr
	// host is the local address as it would stand in a Host field, with its port.
	host   string
	scheme string
}

// contextKey is the key of the connection in the context of its requests.
type contextKey struct{}

var (
	connKey     any = contextKey{}
	unknownConn     = &conn{scheme: "http"}
)

// connOf gives the connection that the request came in by.
func connOf(ctx context.Context) *conn {
	if c, ok := ctx.Value(connKey).(*conn); ok {
		return c
	}
	return unknownConn
}

// ConnContext is listen.Options.ConnContext: what an Endpoint has to know of a connection.
func ConnContext(l listen.Listener, nc net.Conn) context.Context {
	c := &conn{listener: l.Name, scheme: "http", remote: addrOf(nc.RemoteAddr()), local: addrOf(nc.LocalAddr())}
	if nc.LocalAddr() != nil {
		c.host = nc.LocalAddr().String()
	}
	if l.TLS != nil {
		c.scheme = "https"
	}
	return context.WithValue(context.Background(), connKey, c)
}

// addrOf gives the IP address, v4-mapped ones as IPv4, without zone.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap()
}

// certificateOf gives the client certificate that the TLS layer has verified.
func certificateOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// WithPeer returns a context as that of a request which came in by a listener from
// an address, for requests that come from elsewhere than a connection.
func WithPeer(ctx context.Context, listener string, remote netip.Addr) context.Context {
	return context.WithValue(ctx, connKey, &conn{listener: listener, remote: remote.Unmap(), scheme: "http",
		host: "localhost"})
}
