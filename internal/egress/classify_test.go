package egress_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

// Each case makes the real transport fail against a real socket. What else an answer may
// be that is no HTTP, and how a body ends too early, package wire tests.
func TestWhatFailsIsClassified(t *testing.T) {
	ca := testkit.NewCertificate(t, nil)
	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	// The limits that a case waits for are short; all others are long, so that a
	// busy machine does not change the outcome.
	const soon = 150 * time.Millisecond
	header, idle := config.Timeouts{Header: soon}, config.Timeouts{Idle: soon}

	up := serves(t, ca, "up.example")
	old := up.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	expired := ca.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })

	answering := func(text string) func(net.Conn) {
		return func(c net.Conn) { readRequest(c); io.WriteString(c, text) }
	}
	ends := func(c net.Conn) { readRequest(c) }
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	for name, c := range map[string]struct {
		url    string          // http://up.example by default, with the port of serve
		serve  func(net.Conn)  // nil for nobody
		tls    *tls.Config     // of a server whose handshake comes before serve
		limits config.Timeouts // patient by default
		body   io.Reader
		want   call.Failure
	}{
		"a name that does not exist": {url: "http://nobody.example:443",
			want: call.Failure{Kind: problem.ProxyDNSError}},
		"nobody listens": {url: "http://127.9.8.7:9", // an address of no other test
			want: call.Failure{Kind: problem.ProxyConnectionRefused}},
		"closed before the answer": {serve: ends, want: call.Failure{Kind: problem.ProxyConnectionTerminated, Sent: true}},
		"reset before the answer": {serve: func(c net.Conn) { readRequest(c); reset(c) },
			want: call.Failure{Kind: problem.ProxyConnectionTerminated, Sent: true}},
		"no HTTP": {serve: answering("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
			want: call.Failure{Kind: problem.ProxyProtocolError, Sent: true}},
		"silence instead of an answer": {serve: silent, limits: header,
			want: call.Failure{Kind: problem.ProxyResponseTimeout, Timeout: true, Sent: true}},
		"an upload that nobody reads": {serve: unread,
			limits: idle, body: endless{},
			want: call.Failure{Kind: problem.ProxyConnectionWriteTimeo, Timeout: true, Sent: true}},
		"closed in the body": {serve: answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
			want: call.Failure{Kind: problem.ProxyResponseIncomplete, Sent: true}},
		"a body that stands still": {serve: halfABody, limits: idle,
			want: call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true, Sent: true}},

		"plain HTTP on a TLS port": {url: "https://up.example", serve: func(c net.Conn) {
			c.Read(make([]byte, 5))
			io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
		}, want: call.Failure{Kind: problem.ProxyTLSProtocolError}},
		"TLS 1.1": {tls: old, want: call.Failure{Kind: problem.ProxyTLSAlertReceived}},
		"an expired certificate": {tls: &tls.Config{Certificates: []tls.Certificate{expired.TLS()}},
			want: call.Failure{Kind: problem.ProxyTLSCertificateError}},
		"an unknown authority": {tls: serves(t, testkit.NewCertificate(t, nil), "up.example"),
			want: call.Failure{Kind: problem.ProxyTLSCertificateError}},
		"a certificate of another host": {tls: serves(t, ca, "down.example"),
			want: call.Failure{Kind: problem.ProxyTLSCertificateError}},
		"a handshake that freezes": {url: "https://127.0.0.1", serve: silent, limits: config.Timeouts{Connect: soon},
			want: call.Failure{Kind: problem.ProxyConnectionTimeout, Timeout: true}},
		"a handshake that is cut": {url: "https://up.example",
			serve: func(c net.Conn) { c.Read(make([]byte, 5)); reset(c) },
			want:  call.Failure{Kind: problem.ProxyConnectionTerminated}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := patient
			limits.Connect = cmp.Or(c.limits.Connect, limits.Connect)
			limits.Header = cmp.Or(c.limits.Header, limits.Header)
			limits.Idle = cmp.Or(c.limits.Idle, limits.Idle)
			serve, url := c.serve, cmp.Or(c.url, "http://up.example")
			if c.tls != nil {
				url = "https://up.example"
				serve = func(conn net.Conn) {
					s := tls.Server(conn, c.tls)
					defer s.Close()
					if s.Handshake() == nil && c.serve != nil {
						c.serve(s)
					}
				}
			}
			if serve != nil {
				_, port, _ := net.SplitHostPort(raw(t, serve))
				url += ":" + port
			}
			e := mustNew(t, egress.Options{Resolver: dns.resolver(t), Egress: config.Egress{CAFile: file(t, ca)}})
			tr := transport(t, e, limits, toLoopback)
			r, _ := http.NewRequestWithContext(t.Context(), "POST", url+"/", c.body)
			answer, err := tr.RoundTrip(r)
			if err == nil {
				_, err = io.ReadAll(answer.Body)
				answer.Body.Close()
			}
			if got := egress.Classify(err); got != c.want {
				t.Errorf("%+v, want %+v; the error is %v", got, c.want, err)
			}
			if got := egress.Classify(fmt.Errorf("asking the upstream: %w", err)); got != c.want {
				t.Errorf("wrapped: %+v, want %+v", got, c.want)
			}
		})
	}
}

// The access line, the status and the terminal of a check show the error.
func TestWhatACertificateSaysIsMadePrintable(t *testing.T) {
	ca := testkit.NewCertificate(t, nil)
	evil := serves(t, ca, "evil\x1b[2J.example")
	address := raw(t, func(c net.Conn) { _ = tls.Server(c, evil).Handshake() })
	_, port, _ := net.SplitHostPort(address)
	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	e := mustNew(t, egress.Options{Resolver: dns.resolver(t), Egress: config.Egress{CAFile: file(t, ca)}})
	_, err := get(t, transport(t, e, patient, toLoopback), "https://up.example:"+port)
	if egress.Classify(err).Kind != problem.ProxyTLSCertificateError || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
}

// halfABody answers with a part of what it announces, and nothing more.
func halfABody(c net.Conn) {
	readRequest(c)
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")
	io.Copy(io.Discard, c)
}

// unread takes the head of a request and nothing of its body.
func unread(c net.Conn) {
	readRequest(c)
	for c.SetDeadline(time.Time{}) == nil { // until it is closed
		time.Sleep(10 * time.Millisecond)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNamesThatNobodyResolvesInTime(t *testing.T) {
	dns := &names{frozen: true}
	limits := config.Timeouts{Connect: 100 * time.Millisecond}
	tr := transport(t, mustNew(t, egress.Options{Resolver: dns.resolver(t)}), limits, egress.Guard{})
	_, err := get(t, tr, "http://up.example/")
	if got := egress.Classify(err); got != (call.Failure{Kind: problem.ProxyDNSTimeout, Timeout: true}) {
		t.Fatalf("%+v: %v", got, err)
	}
}

func TestACallerThatGoesAwayIsNoFailureOfTheUpstream(t *testing.T) {
	got := make(chan struct{})
	address := raw(t, func(c net.Conn) { readRequest(c); close(got); io.Copy(io.Discard, c) })
	tr := transport(t, mustNew(t, egress.Options{}), patient, toLoopback)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-got; cancel() }()
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/", nil)
	_, err := tr.RoundTrip(r)
	if f := egress.Classify(err); f != (call.Failure{Cancelled: true, Sent: true}) {
		t.Fatalf("%+v: %v", f, err)
	}
}
