package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"syscall"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Classify says what an error of Transport.RoundTrip, or of reading the body of
// its answer, is. The error of a request body that could not be read, or a cause
// given to the context by context.WithCancelCause, comes back from net/http as it
// was; who made it has to look for it first.
func Classify(err error) call.Failure {
	if err == nil {
		return call.Failure{}
	}
	var connect *connectError
	if errors.As(err, &connect) {
		return connect.classify()
	}
	if errors.Is(err, context.Canceled) {
		return call.Failure{Cancelled: true, Sent: true}
	}
	f := classifyExchange(err)
	f.Sent = !refusedUnseen(err)
	return f
}

// classify tells the stages of connecting apart. Nothing was sent in any of them.
func (e *connectError) classify() call.Failure {
	f := call.Failure{Proxy: e.proxy}
	var (
		dns     *net.DNSError
		refusal *tunnelRefusal
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
	case e.late, isTimeout(e.err):
		f.Kind, f.Timeout = problem.ProxyConnectionTimeout, true
	case errors.Is(e.err, syscall.ECONNREFUSED):
		f.Kind = problem.ProxyConnectionRefused
	case errors.Is(e.err, syscall.ENETUNREACH), errors.Is(e.err, syscall.EHOSTUNREACH), errors.Is(e.err, syscall.EADDRNOTAVAIL):
		f.Kind = problem.ProxyIPUnroutable
	case isTerminated(e.err):
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

// classifyExchange is for errors on a connection that had come about.
func classifyExchange(err error) call.Failure {
	var (
		body      *bodyError
		operation *net.OpError
		header    tls.RecordHeaderError
		protocol  textproto.ProtocolError
		stream    streamError
	)
	inBody := errors.As(err, &body)
	switch {
	case errors.Is(err, errStalled):
		return call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true}
	case errors.As(err, &operation) && operation.Op == "write" && operation.Timeout():
		return call.Failure{Kind: problem.ProxyConnectionWriteTimeo, Timeout: true}
	case isTimeout(err) && (inBody || errors.Is(err, syscall.ETIMEDOUT)):
		return call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true}
	case isTimeout(err):
		return call.Failure{Kind: problem.ProxyResponseTimeout, Timeout: true}
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		return call.Failure{Kind: problem.ProxyResponseIncomplete}
	case isTerminated(err):
		return call.Failure{Kind: problem.ProxyConnectionTerminated}
	case operation != nil && operation.Op == "remote error":
		return call.Failure{Kind: problem.ProxyTLSAlertReceived}
	case operation != nil && operation.Op == "local error", errors.As(err, &header):
		return call.Failure{Kind: problem.ProxyTLSProtocolError}
	case errors.As(err, &protocol):
		return call.Failure{Kind: problem.ProxyProtocolError}
	case errors.As(err, &stream):
		return call.Failure{Kind: stream.kind()}
	}
	kind := kindByText(err)
	switch {
	case kind != "":
	case inBody:
		kind = problem.ProxyResponseIncomplete
	default:
		kind = problem.ProxyInternalError
	}
	return call.Failure{Kind: kind, Timeout: kind == problem.ProxyConnectionReadTimeout}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
}

// isTerminated reports whether the other side, or the network, ended the
// connection.
func isTerminated(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// streamError has the fields of net/http's own type for a stream that was reset,
// which is not exported but fills in any struct that looks like it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string {
	return fmt.Sprintf("stream %d reset with code %d", e.StreamID, e.Code)
}

// Error codes of RFC 9113, section 7.
const (
	codeInternal      = 0x2
	codeRefusedStream = 0x7
	codeCancel        = 0x8
	codeCalm          = 0xb
)

func (e streamError) kind() string {
	if e.Cause != nil { // the reset was ours, and this is why
		if kind := kindByText(e.Cause); kind != "" {
			return kind
		}
	}
	switch e.Code {
	case codeInternal, codeRefusedStream, codeCancel, codeCalm:
		return problem.ProxyConnectionTerminated
	}
	return problem.ProxyProtocolError
}

// refusedUnseen reports whether the upstream said that it did nothing with the
// request (RFC 9113, section 8.7). net/http repeats such a request itself; if it
// cannot, because the body is gone, only its words tell why.
func refusedUnseen(err error) bool {
	var stream streamError
	if errors.As(err, &stream) {
		return stream.Code == codeRefusedStream
	}
	text := err.Error()
	return strings.Contains(text, "cannot retry err") &&
		(strings.Contains(text, "REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY"))
}

// kindByText knows the errors for which net/http has no type, only words; a test
// makes each of them happen that a test can. Words are looked at nowhere but here
// and in refusedUnseen.
func kindByText(err error) string {
	text := err.Error()
	for _, known := range []struct{ words, kind string }{
		{"server response headers exceeded", problem.ProxyHeaderSectionSize},
		{"header list larger than advertised limit", problem.ProxyHeaderSectionSize},
		{"server closed idle connection", problem.ProxyConnectionTerminated},
		{"http2: client connection lost", problem.ProxyConnectionReadTimeout}, // a ping without an answer
		{"GOAWAY", problem.ProxyConnectionTerminated},
		{"REFUSED_STREAM", problem.ProxyConnectionTerminated},
		{"client conn not usable", problem.ProxyConnectionTerminated},
		{"client conn could not be established", problem.ProxyProtocolError},
		{"client connection force closed", problem.ProxyConnectionTerminated},
		{"malformed", problem.ProxyProtocolError},
		{"HTTP/1.x transport connection broken", problem.ProxyProtocolError},
		{"connection error: ", problem.ProxyProtocolError}, // HTTP/2, with its code
		{"Content-Length", problem.ProxyProtocolError},
		{"transfer encoding", problem.ProxyProtocolError},
		{"chunk", problem.ProxyProtocolError},
		{"trailer", problem.ProxyProtocolError},
	} {
		if strings.Contains(text, known.words) {
			return known.kind
		}
	}
	return ""
}
