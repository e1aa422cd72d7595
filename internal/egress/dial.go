package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// dialer opens the connections of one upstream. It does all that comes before the
// first byte of a request itself, CONNECT and TLS included: so one limit holds for
// the whole, and each stage's errors are told apart by type.
type dialer struct {
	egress *Egress
	guard  *guard
	limit  time.Duration // Timeouts.Connect
	idle   time.Duration // Timeouts.Idle
	config *tls.Config
}

// stage is a part of connecting.
type stage string

const (
	stageDial   stage = "dialling" // DNS and TCP
	stageTunnel stage = "asking the egress proxy for a tunnel"
	stageTLS    stage = "shaking hands over TLS"
)

// connectError is a connection that did not come about: no request was sent.
type connectError struct {
	stage stage
	proxy bool // towards the egress proxy, not the upstream
	late  bool // Timeouts.Connect was over
	err   error
}

func (e *connectError) Error() string {
	to := "upstream"
	if e.proxy {
		to = "egress proxy"
	}
	return fmt.Sprintf("connecting to the %s: %s: %v", to, e.stage, e.err)
}

func (e *connectError) Unwrap() error { return e.err }

// tunnelRefusal is the egress proxy's refusal to connect us to the upstream.
type tunnelRefusal struct{ status int }

func (e *tunnelRefusal) Error() string {
	if e.status == http.StatusProxyAuthRequired {
		return "it answered 407: look at the user and password in egress.proxy"
	}
	return fmt.Sprintf("it answered %d: ask its keepers to let the gateway reach this host", e.status)
}

// plain dials for plain http: the upstream itself or, since net/http asks for the
// proxy's address then, the proxy.
func (d *dialer) plain(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	p := d.egress.proxy
	return d.dial(ctx, address, p != nil && !p.tls && address == p.address)
}

// secure dials for https and returns the *tls.Conn that net/http looks for to
// speak HTTP/2.
func (d *dialer) secure(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &connectError{stage: stageDial, err: err}
	}
	p := d.egress.proxy
	switch {
	case p != nil && p.tls && address == p.address:
		// net/http on its way to the proxy itself, for a plain http upstream.
		return d.reachProxy(ctx)
	case p == nil || !p.applies("https", address):
		raw, err := d.dial(ctx, address, false)
		if err != nil {
			return nil, err
		}
		return d.handshake(ctx, raw, host, d.config, false)
	}
	if err := d.judge(host, port); err != nil {
		return nil, err
	}
	raw, err := d.reachProxy(ctx)
	if err != nil {
		return nil, err
	}
	if err := tunnel(ctx, raw, address, p.authorization); err != nil {
		raw.Close()
		return nil, &connectError{stage: stageTunnel, proxy: true, late: ctx.Err() == context.DeadlineExceeded, err: err}
	}
	return d.handshake(ctx, raw, host, d.config, false)
}

// judge refuses a destination behind the proxy that is an address none may have. A
// name is the proxy's to resolve.
func (d *dialer) judge(host, port string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil || d.guard.exempts(host, port) {
		return nil
	}
	if err := d.guard.check(addr); err != nil {
		return &connectError{stage: stageDial, err: err}
	}
	return nil
}

// reachProxy connects to the egress proxy.
func (d *dialer) reachProxy(ctx context.Context) (net.Conn, error) {
	p := d.egress.proxy
	raw, err := d.dial(ctx, p.address, true)
	if err != nil || !p.tls {
		return raw, err
	}
	config := d.config.Clone()
	config.NextProtos = nil // the proxy is spoken to in HTTP/1.1
	return d.handshake(ctx, raw, p.host, config, true)
}

// dial resolves and connects. The proxy's own address is the operator's word;
// every other is checked as it is dialled, so that no second look-up can differ.
func (d *dialer) dial(ctx context.Context, address string, proxy bool) (net.Conn, error) {
	out := net.Dialer{Resolver: d.egress.resolver, KeepAlive: 30 * time.Second}
	if host, port, err := net.SplitHostPort(address); err == nil && !proxy && !d.guard.exempts(host, port) {
		out.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("dialling: %w", errProhibited)
			}
			return d.guard.check(to.Addr())
		}
	}
	raw, err := out.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, &connectError{stage: stageDial, proxy: proxy, late: ctx.Err() == context.DeadlineExceeded, err: err}
	}
	return &conn{Conn: raw, idle: d.idle}, nil
}

func (d *dialer) handshake(ctx context.Context, raw net.Conn, host string, config *tls.Config, proxy bool) (net.Conn, error) {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, &connectError{stage: stageTLS, proxy: proxy, late: ctx.Err() == context.DeadlineExceeded, err: err}
	}
	return secured, nil
}

// tunnel asks the proxy on the connection for one to address (RFC 9110, section
// 9.3.6). The credentials go to the proxy and nowhere else.
func tunnel(ctx context.Context, proxy net.Conn, address, authorization string) error {
	stop := context.AfterFunc(ctx, func() { proxy.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address,
		Header: http.Header{"User-Agent": {""}}, // no name for our own
	}
	if authorization != "" {
		request.Header["Proxy-Authorization"] = []string{authorization}
	}
	if err := request.Write(proxy); err != nil {
		return err
	}
	const mostHeader = 16 << 10
	// The upstream speaks TLS and says nothing before we do, so what is read past
	// the header would be a mistake of the proxy's.
	reader := bufio.NewReader(io.LimitReader(proxy, mostHeader))
	answer, err := http.ReadResponse(reader, request)
	if err != nil {
		return fmt.Errorf("reading its answer: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		return &tunnelRefusal{answer.StatusCode}
	}
	if reader.Buffered() > 0 {
		return errors.New("reading its answer: it sent more than an answer")
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}
