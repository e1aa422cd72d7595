package server

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// exhausted is a socket for whose first connection there is no file descriptor.
type exhausted struct {
	net.Listener
	failed bool
}

func (l *exhausted) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// The time after which accepting is tried again is not that which a caller may stand
// still, though both are a kind of patience: a flood that took the last descriptor
// kept everybody out for a minute.
func TestAcceptingGoesOnSoonAfterDescriptorsRanOut(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(http.NotFoundHandler(), time.Second, slog.New(slog.NewTextHandler(io.Discard, nil)))
	s.limits.BodyIdleTimeout = time.Hour
	b := &bound{socket: &exhausted{Listener: socket}, conns: make(chan net.Conn)}
	s.working.Go(func() { s.accept(b) })
	defer s.working.Wait()
	defer socket.Close()
	client, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	select {
	case conn := <-b.conns:
		conn.Close()
	case <-time.After(20 * time.Second):
		close(s.closed)
		t.Fatal("nothing is accepted any more")
	}
}
