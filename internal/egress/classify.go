package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// Failure is what went wrong between the gateway and an upstream.
type Failure struct {
	// Kind is the error type of RFC 9209, one of the problem.Proxy… constants;
	// empty if Cancelled.
	Kind string
	// Timeout is true if time ran out: a 504 instead of a 502.
	Timeout bool
	// Sent is false exactly if no byte of the request can have been read by the upstream.
	Sent bool
	// Cancelled is true if the request's own context was cancelled: the caller
	// went away, and the upstream is not to blame.
	Cancelled bool
	// Proxy is true if it was the egress proxy that failed or refused.
	Proxy bool
}

// Classify says what an error of Transport.Do, or of reading the body of its answer, is. The error of a request body
// that could not be read, or a cause given to the context by context.WithCancelCause, is inside it as it was; who made
// it has to look for it first.
func Classify(err error) Failure {
	if err == nil {
		return Failure{}
	}
	var connect *connectError
	if errors.As(err, &connect) {
		return connect.classify()
	}
	var exchange *wire.Error
	switch {
	case errors.As(err, &exchange) && errors.Is(err, context.Canceled):
		return Failure{Cancelled: true, Sent: exchange.Sent}
	case exchange != nil:
		return Failure{Kind: exchange.Kind, Timeout: exchange.Timeout, Sent: exchange.Sent}
	case errors.Is(err, context.Canceled):
		return Failure{Cancelled: true, Sent: true}
	case wire.IsTimeout(err):
		return Failure{Kind: problem.ProxyResponseTimeout, Timeout: true, Sent: true}
	}
	return Failure{Kind: problem.ProxyInternalError, Sent: true}
}

// classify tells the stages of connecting apart. Nothing was sent in any of them.
func (e *connectError) classify() Failure {
	f := Failure{Proxy: e.proxy}
	var (
		dns     *net.DNSError
		refusal *tunnelRefusal
	)
	switch {
	case errors.Is(e.err, context.Canceled):
		return Failure{Cancelled: true}
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
	case errors.Is(e.err, syscall.ENETUNREACH), errors.Is(e.err, syscall.EHOSTUNREACH), errors.Is(e.err, syscall.EADDRNOTAVAIL):
		f.Kind = problem.ProxyIPUnroutable
	case wire.IsTerminated(e.err):
		f.Kind = problem.ProxyConnectionTerminated
	case e.stage == stageTLS:
		f.Kind = classifyTLS(e.err)
	case e.stage == stageTunnel:
		f.Kind = problem.ProxyProtocolError
	default:
		f.Kind = problem.ProxyDestinationUnavail
	}
	return f
}

// classifyTLS is for errors of crypto/tls that are neither time-outs nor a closed
// connection.
func classifyTLS(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		operation   *net.OpError
	)
	switch {
	case errors.As(err, &certificate):
		return problem.ProxyTLSCertificateError
	case errors.As(err, &operation) && operation.Op == "remote error": // crypto/tls: the peer's alert
		return problem.ProxyTLSAlertReceived
	}
	return problem.ProxyTLSProtocolError
}
