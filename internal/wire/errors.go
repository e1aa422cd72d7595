package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"ebox-gateway/internal/problem"
)

// Error is what went wrong in an exchange after its connection had come about, or in reading the answer's body. The
// errors of the request's body and the cause of a cancelled context are inside it as they were.
type Error struct {
	// Kind is the error type of RFC 9209, one of the problem.Proxy… constants; empty if the context was cancelled.
	Kind string
	// Timeout is true if time ran out.
	Timeout bool
	// Sent is false exactly if no byte of the request can have been read by the upstream.
	Sent bool
	// Stale is true if a connection that had been used before ended before a byte of the answer: most likely the
	// upstream closed it for being idle, and a new one would do.
	Stale bool
	Err   error
}

func (e *Error) Error() string { return "exchanging messages with the upstream: " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

var (
	errRequest    = errors.New("the request cannot be written")
	errBodyShort  = errors.New("the request's body is shorter than its length")
	errBodyLong   = errors.New("the request's body is longer than its length")
	errSwitching  = &SyntaxError{text: "101, which nobody asked for"}
	errInterim    = &SyntaxError{text: "too many interim answers"}
	errStatus     = &SyntaxError{text: "malformed status line"}
	errForeign    = errors.New("the answer names another call that is under way")
	errClosedBody = errors.New("reading a closed body")
	errNotClosed  = errors.New("the TLS connection ended without close_notify")
)

// stage is how far an exchange had come.
type stage int

const (
	writing stage = iota
	waiting       // for the head of the answer
	reading       // its body
)

// classify fills in Kind and Timeout.
func (e *Error) classify(at stage) *Error {
	var (
		syntax    *SyntaxError
		operation *net.OpError
		header    tls.RecordHeaderError
	)
	errors.As(e.Err, &operation)
	switch {
	case errors.Is(e.Err, context.Canceled):
	case errors.As(e.Err, &syntax) && syntax.large:
		e.Kind = problem.ProxyHeaderSectionSize
	case syntax != nil, e.Err == errForeign:
		e.Kind = problem.ProxyProtocolError
	case IsTimeout(e.Err):
		e.Timeout = true
		switch {
		case at == writing:
			e.Kind = problem.ProxyConnectionWriteTimeo
		case at == waiting && !errors.Is(e.Err, syscall.ETIMEDOUT):
			e.Kind = problem.ProxyResponseTimeout
		default:
			e.Kind = problem.ProxyConnectionReadTimeout
		}
	case at == reading && errors.Is(e.Err, io.ErrUnexpectedEOF), e.Err == errNotClosed:
		e.Kind = problem.ProxyResponseIncomplete
	case IsTerminated(e.Err):
		e.Kind = problem.ProxyConnectionTerminated
	case operation != nil && operation.Op == "remote error": // crypto/tls: the peer's alert
		e.Kind = problem.ProxyTLSAlertReceived
	case operation != nil && operation.Op == "local error", errors.As(e.Err, &header):
		e.Kind = problem.ProxyTLSProtocolError
	case operation != nil:
		e.Kind = problem.ProxyConnectionTerminated
	default:
		e.Kind = problem.ProxyInternalError
	}
	return e
}

// IsTimeout reports whether time ran out: ours, or the kernel's for an answer from the network.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
}

// IsTerminated reports whether the other side, or the network, ended the connection.
func IsTerminated(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}
