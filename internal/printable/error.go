package printable

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"syscall"

	"ebox-gateway/internal/problem"
)

// Error makes an error of a transport fit for a log. net/http quotes what it cannot parse,
// and what a broken server sends in place of a header might be a token. So only errors whose
// texts are known to be made here or in the operating system keep theirs; the others keep
// their type.
func Error(err error) error {
	for _, known := range [...]error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	var (
		dial        *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		number      syscall.Errno
		reporter    problem.Reporter
	)
	switch {
	case errors.As(err, &certificate):
		return Clipped(certificate)
	case errors.As(err, &record):
		return errors.New("the server does not speak TLS")
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &name):
		return name
	case errors.As(err, &dial):
		return dial
	case errors.As(err, &number):
		return number
	case errors.As(err, &reporter):
		// Its cause may come from the transport, so that only what a caller would read
		// is kept.
		p := reporter.Problem()
		return errors.New(p.Title + ": " + p.Detail)
	}
	return fmt.Errorf("the exchange failed with a %T, whose text might quote the answer", root(err))
}

// maxError bounds the text of an error that may hold somebody else's words, in bytes.
const maxError = 500

// Clipped makes an error's text printable and short, and stays that error. What a certificate calls
// itself stands in the errors of its verification: megabytes of it, or what steers a terminal.
func Clipped(err error) error { return clipped{err} }

type clipped struct{ error }

// Error implements error.
func (c clipped) Error() string { return Text(c.error.Error(), maxError) }

// Unwrap gives the error itself.
func (c clipped) Unwrap() error { return c.error }

// Panic makes an error of what recover gave: the place, and the text if it is the runtime's
// own. Another text might quote what was being read.
func Panic(fault any) error {
	text := fmt.Sprintf("a %T", fault)
	if known, ok := fault.(runtime.Error); ok {
		text = known.Error()
	}
	return fmt.Errorf("panic: %s\n%s", text, debug.Stack())
}

// root is the innermost error of a chain.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
