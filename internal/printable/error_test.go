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

// A server writes into its certificate what it likes, and errors repeat that.
func TestTheNamesOfACertificateAreMadePrintableAndShort(t *testing.T) {
	names := []string{"\x1b[2J", strings.Repeat("x", 10_000)}
	err := printable.Error(&tls.CertificateVerificationError{
		Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: names}, Host: "as.example"},
	})
	if text := err.Error(); !strings.Contains(text, "certificate is valid for") || strings.Contains(text, "\x1b") ||
		len(text) > 500 {
		t.Errorf("%d bytes: %.100q", len(text), text)
	}
	var host x509.HostnameError
	if !errors.As(err, &host) {
		t.Error("what to advise cannot be told from the error any more")
	}
}
