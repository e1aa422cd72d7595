// Package egress is the way out.
package egress

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Options is what the way out needs to know of the company it leaves.
type Options struct {
	// Proxy is the egress proxy, http or https, with user and password if it asks
	// for them; nil means that upstreams are dialled directly.
	Proxy *url.URL
	// NoProxy are the destinations that are dialled directly all the same:
	// "example.be" (and everything below it), ".example.be" (only what is below),
	// an address, a CIDR block, each but the last with ":port"; "*" is all.
	NoProxy []string
	// CAFile holds PEM certificates of authorities that are trusted besides those
	// of the system; empty means none.
	CAFile string
	// Roots are the authorities trusted before CAFile is added; nil means the
	// system's. New does not change them.
	Roots *x509.CertPool
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver Resolver
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Resolver looks names up; *net.Resolver is one. Its errors should be
// *net.DNSError.
type Resolver interface {
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
}

// Guard says which addresses an upstream may resolve to. The zero value allows
// public addresses alone.
type Guard struct {
	// AllowPrivate allows private, shared (RFC 6598) and loopback addresses too;
	// link-local, metadata, multicast and reserved ones stay refused.
	AllowPrivate bool
	// Hosts are hosts that the operator wrote into the configuration himself,
	// such as "127.0.0.1", "localhost" or "10.0.0.5", with or without ":port":
	// whatever address they have is allowed. The name dialled counts, not the
	// address: another name for 127.0.0.1 stays refused.
	Hosts []string
}

// Timeouts are the time limits towards one upstream.
type Timeouts struct {
	// Connect bounds everything up to a usable connection: DNS, TCP, the proxy's
	// CONNECT and TLS together; 0 means 3 s.
	Connect time.Duration
	// Header bounds the wait from the end of the request to the answer's header;
	// 0 means 30 s.
	Header time.Duration
	// Idle is how long a body may stand still, in either direction; 0 means 60 s.
	// A body that makes progress is never cut, however long it takes.
	Idle time.Duration
	// IdleConn is how long an unused connection is kept; 0 means 10 s, which is
	// below what upstreams and the balancers before them close at.
	IdleConn time.Duration
	// MaxConnAge is how long connections are used before the name is looked up
	// anew, give or take a tenth; 0 means 5 min. Requests on them are not cut.
	MaxConnAge time.Duration
}

// Egress makes the transports to upstreams. It is safe for concurrent use.
type Egress struct{}

// New reads CAFile and checks the proxy's URL and NoProxy. The error names the
// setting that is wrong, and never the proxy's password.
func New(o Options) (*Egress, error) { return &Egress{}, nil }

// Transport makes the connections of one upstream, which it shares with no other.
func (e *Egress) Transport(t Timeouts, g Guard) *Transport { return &Transport{} }

// Transport is the lowest layer of an upstream's stack: an http.RoundTripper
// that follows no redirect, decodes nothing and adds no header.
type Transport struct{}

// RoundTrip sends one request. Classify explains its errors, and those of reading
// the answer's body.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return nil, nil }

// CloseIdleConnections closes the connections that are not in use and has the
// names looked up anew for the next ones. Requests under way are not cut.
func (t *Transport) CloseIdleConnections() {}
