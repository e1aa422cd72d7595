package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"ebox-gateway/internal/descriptors"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/wire"
)

// dialer opens the connections of one upstream. It does all that comes before the
// first byte of a request itself, CONNECT and TLS included: so one limit holds for
// the whole, and each stage's errors are told apart by type.
type dialer struct {
	egress *Egress
	guard  *guard
	limit  time.Duration // config.Timeouts.Connect
	idle   time.Duration // config.Timeouts.Idle
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
	late  bool // config.Timeouts.Connect was over
	err   error
}

func failed(ctx context.Context, at stage, proxy bool, err error) error {
	return &connectError{stage: at, proxy: proxy, late: ctx.Err() == context.DeadlineExceeded, err: err}
}

func (e *connectError) Error() string {
	to := "upstream"
	if e.proxy {
		to = "egress proxy"
	}
	return fmt.Sprintf("connecting to the %s: %s: %v", to, e.stage, printable.Clipped(e.err))
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

// open connects for requests to scheme and address, by way of the egress proxy if that is for them. An http upstream is
// then asked for in absolute form, an https one in a tunnel.
func (d *dialer) open(ctx context.Context, scheme, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &connectError{stage: stageDial, err: err}
	}
	p := d.egress.proxyFor(scheme, address)
	if p == nil {
		return d.connect(ctx, address, host, scheme == "https", false)
	}
	// A destination behind the proxy that is an address has to be one that an upstream may have; a name is
	// the proxy's to resolve.
	if addr, err := netip.ParseAddr(host); err == nil && !d.guard.exempts(host, port) {
		if err := d.guard.check(addr); err != nil {
			return nil, &connectError{stage: stageDial, err: err}
		}
	}
	raw, err := d.connect(ctx, p.address, p.host, p.tls, true)
	if err != nil || scheme == "http" {
		return raw, err
	}
	if err := tunnel(ctx, raw, address, p.authorization); err != nil {
		raw.Close()
		return nil, failed(ctx, stageTunnel, true, err)
	}
	return d.handshake(ctx, raw, host, false)
}

// absolute says which requests go to the egress proxy in absolute form, and with which credentials.
func (d *dialer) absolute(scheme, address string) (bool, string) {
	if p := d.egress.proxyFor(scheme, address); p != nil && scheme == "http" {
		return true, p.authorization
	}
	return false, ""
}

// connect dials, and secures the connection for host if it is to be.
func (d *dialer) connect(ctx context.Context, address, host string, secure, proxy bool) (net.Conn, error) {
	raw, err := d.dial(ctx, address, proxy)
	if err != nil || !secure {
		return raw, err
	}
	return d.handshake(ctx, raw, host, proxy)
}

// dial resolves and connects. The proxy's own address was written by the operator;
// every other is checked as it is dialled, so that no second look-up can differ.
func (d *dialer) dial(ctx context.Context, address string, proxy bool) (net.Conn, error) {
	out := net.Dialer{Resolver: d.egress.o.Resolver, KeepAlive: 30 * time.Second}
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
		return nil, failed(ctx, stageDial, proxy, err)
	}
	if descriptors.Last(raw) {
		_ = raw.Close() // nothing was sent
		return nil, &connectError{stage: stageDial, proxy: proxy, err: fmt.Errorf("dialling: %w", syscall.EMFILE)}
	}
	return wire.NewSocket(raw, d.idle), nil
}

func (d *dialer) handshake(ctx context.Context, raw net.Conn, host string, proxy bool) (net.Conn, error) {
	config := d.config.Clone()
	config.ServerName = host
	secured := wire.TLS(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, failed(ctx, stageTLS, proxy, err)
	}
	return secured, nil
}

// tunnelAnswer are the limits of what a proxy says to CONNECT.
var tunnelAnswer = wire.Limits{Bytes: 16 << 10, Line: 8 << 10, Fields: 64}

// tunnel asks the proxy on the connection for one to address (RFC 9110, section
// 9.3.6). The credentials go to the proxy and nowhere else.
func tunnel(ctx context.Context, proxy net.Conn, address, authorization string) error {
	stop := context.AfterFunc(ctx, func() { proxy.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if authorization != "" {
		request += "Proxy-Authorization: " + authorization + "\r\n"
	}
	if _, err := io.WriteString(proxy, request+"\r\n"); err != nil {
		return err
	}
	reader := wire.NewReader(proxy, nil)
	defer reader.Discard()
	status, err := reader.Status(tunnelAnswer)
	if err != nil {
		return fmt.Errorf("reading its answer: %w", err)
	}
	if status/100 != 2 {
		return &tunnelRefusal{status}
	}
	// The upstream speaks TLS and says nothing before we do, so what is read past
	// the header would be a mistake of the proxy's.
	if reader.Buffered() > 0 {
		return errors.New("reading its answer: it sent more than an answer")
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}
