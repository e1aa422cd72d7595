package egress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a certificate authority of a test's own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) file() string {
	name := filepath.Join(a.t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if err := os.WriteFile(name, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return name
}

func (a *authority) issue(host string, until time.Time) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) config(host string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(host, time.Now().Add(time.Hour))}}
}

// names is a DNS server of a test's own: a name that is not in it does not exist.
type names struct {
	addresses map[string][]netip.Addr
	queries   atomic.Int32
	frozen    bool
}

func (n *names) resolver(t *testing.T) *net.Resolver {
	over := t.Context()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		if over.Err() != nil { // a look-up that its caller has given up goes on for a while
			return nil, over.Err()
		}
		here, there := net.Pipe()
		go n.serve(there)
		context.AfterFunc(over, func() { here.Close(); there.Close() })
		return here, nil
	}}
}

// serve answers DNS over a stream: each message has two bytes of length before it.
func (n *names) serve(c net.Conn) {
	defer c.Close()
	for {
		buf := make([]byte, 2)
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		buf = make([]byte, int(buf[0])<<8|int(buf[1]))
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf) != nil || n.frozen {
			continue
		}
		n.queries.Add(1)
		q := m.Questions[0]
		answers, known := n.addresses[q.Name.String()]
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, Authoritative: true}
		if !known {
			m.RCode = dnsmessage.RCodeNameError
		}
		m.Additionals = nil
		for _, a := range answers {
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
			return
		}
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// listen opens a listener on 127.0.0.1 that closes with the test.
func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// raw serves each connection with a function, which owns it until it returns; all
// have returned when the test ends.
func raw(t *testing.T, serve func(net.Conn)) string {
	l := listen(t)
	done := make(chan struct{})
	open := make(chan net.Conn, 1000)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open <- c
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		close(open)
		for c := range open {
			c.Close()
		}
	})
	return l.Addr().String()
}

// readRequest reads up to the end of a request's header.
func readRequest(c net.Conn) string {
	var text []byte
	b := make([]byte, 1)
	for len(text) < 4 || string(text[len(text)-4:]) != "\r\n\r\n" {
		if _, err := c.Read(b); err != nil {
			return string(text)
		}
		text = append(text, b[0])
	}
	return string(text)
}

// reset closes a connection with RST.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func mustNew(t *testing.T, o Options) *Egress {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Calls = wire.NewCalls()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// transport makes one whose connections close with the test.
func transport(t *testing.T, e *Egress, limits config.Timeouts, g Guard) *Transport {
	tr := e.Transport(limits, g)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// patient are limits that no case runs into.
var patient = config.Timeouts{Connect: 30 * time.Second, Header: 30 * time.Second, Idle: 30 * time.Second}

var toLoopback = Guard{AllowPrivate: true}

func get(t *testing.T, tr *Transport, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr.RoundTrip(r)
}
