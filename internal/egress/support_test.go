package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// file is where Options find an authority.
func file(t *testing.T, ca *testkit.Certificate) string {
	name, _ := ca.Files(t, t.TempDir())
	return name
}

// serves gives a server the certificate of a host.
func serves(t *testing.T, ca *testkit.Certificate, host string) *tls.Config {
	issued := ca.Issue(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{host}, nil })
	return &tls.Config{Certificates: []tls.Certificate{issued.TLS()}}
}

// names is a DNS server of a test's own: a name that is not in it does not exist.
type names struct {
	addresses map[string][]netip.Addr
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

// raw serves each connection with a function, which owns it until it returns.
func raw(t *testing.T, serve func(net.Conn)) string {
	return testkit.Accept(t, func(_ int, c net.Conn) { serve(c) })
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

func mustNew(t *testing.T, o egress.Options) *egress.Egress {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Calls = wire.NewCalls()
	e, err := egress.New(o)
	testkit.Must(t, err)
	return e
}

// transport makes one whose connections close with the test.
func transport(t *testing.T, e *egress.Egress, limits config.Timeouts, g egress.Guard) *egress.Transport {
	tr := e.Transport(limits, g)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// patient are limits that no case runs into.
var patient = config.Timeouts{Connect: 5 * time.Minute, Header: 5 * time.Minute, Idle: 5 * time.Minute}

var toLoopback = egress.Guard{AllowPrivate: true}

func get(t *testing.T, tr *egress.Transport, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	testkit.Must(t, err)
	return tr.RoundTrip(r)
}
