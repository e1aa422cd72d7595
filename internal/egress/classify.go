package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// Classify says what an error of Transport.Do, or of reading the body of its answer, is. The error of a request body
// that could not be read, or a cause given to the context by context.WithCancelCause, is inside it as it was; who made
// it has to look for it first.
func Classify(err error) call.Failure {
	if err == nil {
		return call.Failure{}
	}
	var connect *connectError
	if errors.As(err, &connect) {
		return connect.classify()
	}
	var exchange *wire.Error
	switch {
	case errors.As(err, &exchange) && errors.Is(err, context.Canceled):
		return call.Failure{Cancelled: true, Sent: exchange.Sent}
	case exchange != nil:
		return call.Failure{Kind: exchange.Kind, Timeout: exchange.Timeout, Sent: exchange.Sent}
	case errors.Is(err, context.Canceled):
		return call.Failure{Cancelled: true, Sent: true}
	case wire.IsTimeout(err):
		return call.Failure{Kind: problem.ProxyResponseTimeout, Timeout: true, Sent: true}
	}
	return call.Failure{Kind: problem.ProxyInternalError, Sent: true}
}

// classify names the stage of connecting that failed. Nothing was sent in any of them.
func (e *connectError) classify() call.Failure {
	f := call.Failure{Proxy: e.proxy}
	var (
		dns         *net.DNSError
		refusal     *tunnelRefusal
		certificate *tls.CertificateVerificationError
		operation   *net.OpError
	)
	switch {
	case errors.Is(e.err, context.Canceled):
		return call.Failure{Cancelled: true}
	case errors.As(e.err, &refusal):
		switch {
		case refusal.status == http.StatusGatewayTimeout:
			f.Kind, f.Timeout = problem.ProxyConnectionTimeout, true
		case refusal.status >= 500:
			f.Kind = problem.ProxyDestinationUnavail
		default:
			f.Kind = problem.ProxyConfigurationError
		}
	case errors.Is(e.err, errProhibited):
		f.Kind = problem.ProxyIPProhibited
	case errors.As(e.err, &dns):
		f.Kind = problem.ProxyDNSError
		if dns.IsTimeout {
			f.Kind, f.Timeout = problem.ProxyDNSTimeout, true
		}
	case e.late, wire.IsTimeout(e.err):
		f.Kind, f.Timeout = problem.ProxyConnectionTimeout, true
	case errors.Is(e.err, syscall.ECONNREFUSED):
		f.Kind = problem.ProxyConnectionRefused
	case errors.Is(e.err, syscall.ENETUNREACH), errors.Is(e.err, syscall.EHOSTUNREACH),
		errors.Is(e.err, syscall.EADDRNOTAVAIL):
		f.Kind = problem.ProxyIPUnroutable
	case wire.IsTerminated(e.err):
		f.Kind = problem.ProxyConnectionTerminated
	case e.stage == stageTLS && errors.As(e.err, &certificate):
		f.Kind = problem.ProxyTLSCertificateError
	case e.stage == stageTLS && errors.As(e.err, &operation) && operation.Op == "remote error": // the peer's alert
		f.Kind = problem.ProxyTLSAlertReceived
	case e.stage == stageTLS:
		f.Kind = problem.ProxyTLSProtocolError
	case e.stage == stageTunnel:
		f.Kind = problem.ProxyProtocolError
	default:
		f.Kind = problem.ProxyDestinationUnavail
	}
	return f
}
