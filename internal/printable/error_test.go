package printable_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/problem"
)

func TestErrorsOfTheTransportQuoteNothing(t *testing.T) {
	const secret = "eyJhbGciOi"
	quoting := func(err error) error { return fmt.Errorf("reading %s: %w", secret, err) }
	cases := map[string]struct {
		err  error
		want string
	}{
		"cancelled": {quoting(context.Canceled), "context canceled"},
		"too late":  {quoting(context.DeadlineExceeded), "deadline exceeded"},
		"closed":    {quoting(io.ErrUnexpectedEOF), "unexpected EOF"},
		"refused": {
			quoting(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}), "dial tcp: connection refused"},
		"reset":        {quoting(syscall.ECONNRESET), "connection reset"},
		"no such name": {quoting(&net.DNSError{Err: "no such host", Name: "as.example"}), "as.example"},
		"unknown authority": {
			quoting(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "unknown authority"},
		"an alert": {quoting(tls.AlertError(40)), "handshake failure"},
		"no TLS":   {quoting(tls.RecordHeaderError{Msg: secret}), "does not speak TLS"},
		"a problem": {quoting(problem.Unavailable("The circuit is open.", 0).Because(errors.New(secret))),
			"The circuit is open."},
		"anything else": {quoting(errors.New("malformed HTTP response " + secret)), "*errors.errorString"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := printable.Error(c.err).Error(); !strings.Contains(got, c.want) || strings.Contains(got, secret) {
				t.Fatalf("%q, want %q", got, c.want)
			}
		})
	}
}
