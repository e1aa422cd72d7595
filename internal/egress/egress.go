// Package egress is the way out: the transports on which requests reach upstreams.
//
// A host name says little about where a connection ends. So every address is
// checked at the moment it is dialled, after resolution, against the ranges that
// no upstream can be in: loopback, private networks (RFC 1918, 4193, 6598),
// link-local and metadata services, multicast and the rest of the IANA
// special-purpose registries, also when written as IPv4-mapped or NAT64
// (RFC 6052) addresses. Behind an egress proxy, reached with CONNECT (RFC 9110,
// section 9.3.6), the proxy resolves names and the callers' allow-list of hosts
// decides.
//
// On the connections HTTP/1.1 is spoken, by package wire, and asked for by ALPN: many providers stand behind servers
// whose HTTP/2 is the less tried part, and one connection per request keeps the bytes of two enterprises apart.
//
// Nothing waits for ever: connecting, the answer's header, a body that stands
// still in either direction and an unused connection each have their limit, while
// a body that makes progress may take hours. Classify turns what goes wrong into
// an error type of RFC 9209 and says whether the request can have been seen.
package egress

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/wire"
)

// Options is what the way out needs to know of the company it leaves.
type Options struct {
	// Egress is the configuration's way out, checked there. The environment (HTTPS_PROXY and
	// its like) is not looked at. Of noProxy, "example.be" is it and everything below,
	// ".example.be" or "*.example.be" what is below; loopback always is one.
	Egress config.Egress
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver *net.Resolver
	// Now is the clock for the age of connections.
	Now func() time.Time
	// Calls are the trace ids under way, which an answer to another call must not name. To notice that over a
	// reload, the next Egress is given the same.
	Calls *wire.Calls
	// Log receives answers that name another call; nil is for none.
	Log *slog.Logger
}

// Guard says which addresses an upstream may have. The zero value allows public
// addresses alone.
type Guard struct {
	// AllowPrivate allows private, shared (RFC 6598) and loopback addresses too;
	// link-local, metadata, multicast and reserved ones stay refused.
	AllowPrivate bool
	// Host is one that the operator wrote into the configuration himself, such as
	// "127.0.0.1", "localhost" or "10.0.0.5", with or without ":port": whatever
	// address it has is allowed. The name dialled counts, not the address: another
	// name for 127.0.0.1 stays refused.
	Host string
}

// GuardOf is the guard of an upstream whose URL an operator wrote into the configuration.
// An address or localhost is allowed as it was written; where a name leads is said by DNS,
// and checked.
func GuardOf(u *url.URL, allowPrivate bool) Guard {
	guard := Guard{AllowPrivate: allowPrivate}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "localhost" {
		guard.Host = u.Host
	}
	return guard
}

// GuardOfProvider is the guard of a Document Provider. Where the list comes from elsewhere
// than the configuration, the operator has not written the addresses in it.
func GuardOfProvider(r *config.Registry, id string) Guard {
	for _, p := range r.Providers {
		if p.ID == id {
			return GuardOf(p.URL, r.AllowPrivateNetworks)
		}
	}
	return Guard{AllowPrivate: r.AllowPrivateNetworks}
}

// Egress makes the transports to upstreams. It is safe for concurrent use.
type Egress struct {
	o     Options
	roots *x509.CertPool // those of egress.caFile besides the system's; nil for the system's
	proxy *proxy         // nil: none
}

// proxy is the egress proxy in the form that the dialer uses.
type proxy struct {
	address       string // host:port to dial
	host          string
	tls           bool
	authorization string // the Proxy-Authorization field, or ""
	// applies reports whether a destination is reached through the proxy.
	applies func(scheme, hostport string) bool
}

// New reads the authorities of egress.caFile, which its error names. A file that holds a broken one is
// refused whole: certificates that are missing would only be noticed when an upstream's is checked.
func New(o Options) (*Egress, error) {
	e := &Egress{o: o}
	if u := o.Egress.ProxyURL(); u != nil {
		e.proxy = newProxy(u, o.Egress.NoProxy)
	}
	file := o.Egress.CAFile
	if file == "" {
		return e, nil
	}
	text, err := files.Text(file, files.Most)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of egress.caFile: %w", err)
	}
	if e.roots, err = files.Trusted(text); err != nil {
		return nil, fmt.Errorf("reading egress.caFile %s: %w", file, err)
	}
	return e, nil
}

func newProxy(u *url.URL, noProxy []string) *proxy {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	p := &proxy{address: net.JoinHostPort(u.Hostname(), port), host: u.Hostname(), tls: u.Scheme == "https"}
	if u.User != nil {
		password, _ := u.User.Password()
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	// httpproxy knows the rules that curl and Go share. Which proxy it answers
	// does not matter, so it does not get to know ours.
	const some = "http://proxy"
	rules := httpproxy.Config{HTTPProxy: some, HTTPSProxy: some, NoProxy: strings.Join(noProxy, ",")}
	choose := rules.ProxyFunc()
	p.applies = func(scheme, hostport string) bool {
		chosen, _ := choose(&url.URL{Scheme: scheme, Host: hostport}) // fails under CGI only
		return chosen != nil
	}
	return p
}

// proxyFor is the egress proxy if requests to a destination go through it, or else nil.
func (e *Egress) proxyFor(scheme, hostport string) *proxy {
	if e.proxy == nil || !e.proxy.applies(scheme, hostport) {
		return nil
	}
	return e.proxy
}

// Proxied gives the address of the egress proxy, host:port, that requests to u go
// through; false if u is dialled directly.
func (e *Egress) Proxied(u *url.URL) (string, bool) {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	p := e.proxyFor(u.Scheme, net.JoinHostPort(u.Hostname(), port))
	if p == nil {
		return "", false
	}
	return p.address, true
}

// tlsConfig is the base of every handshake with an upstream.
func (e *Egress) tlsConfig() *tls.Config {
	return &tls.Config{
		RootCAs:    e.roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// Unused connections live for seconds, so many are opened; resumption
		// spares them half of the handshake.
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
		// Small first records would cost a system call each.
		DynamicRecordSizingDisabled: true,
	}
}
