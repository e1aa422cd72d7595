// Inside, since crypto/tls's server sends tickets with the handshake alone: a Transport reads them with its first
// answer, and none waits on an unused connection.

package wire

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

// sessions says when a ticket has been taken in.
type sessions struct{ got chan struct{} }

func (s sessions) Get(string) (*tls.ClientSessionState, bool)  { return nil, false }
func (s sessions) Put(_ string, state *tls.ClientSessionState) { close(s.got) }

// TLS 1.3 servers may send session tickets at any time after the handshake. They are no surplus.
func TestATicketOnAnUnusedConnectionIsTakenIn(t *testing.T) {
	goOn := make(chan struct{})
	address := testkit.Accept(t, func(_ int, c net.Conn) {
		server := tls.Server(c, &tls.Config{
			Certificates: []tls.Certificate{testkit.NewCertificate(t, nil).TLS()},
			ClientAuth:   tls.RequestClientCert, // the ticket then comes after the client's last handshake message
		})
		_ = server.Handshake()
		<-goOn
		_, _ = server.Write([]byte("x"))
		_, _ = server.Read(make([]byte, 1))
	})
	raw, err := net.Dial("tcp", address)
	testkit.Must(t, err)
	tickets := sessions{make(chan struct{})}
	secured := TLS(NewSocket(raw, time.Minute), &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tickets})
	testkit.Must(t, secured.Handshake())
	c := newConn(nil, secured)
	defer c.drop()
	testkit.Eventually(t, "the ticket", func() bool {
		if found := c.look(); found != nothing {
			t.Fatalf("found %d", found)
		}
		select {
		case <-tickets.got:
			return true
		default:
			return false
		}
	})
	close(goOn)
	testkit.Eventually(t, "surplus", func() bool { return c.look() == surplus })
}
