package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnAnswerThatIsTakenSlowlyIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &accepted{Conn: ours, patience: time.Second}
		defer c.Close()
		go func() {
			for range 10 {
				time.Sleep(900 * time.Millisecond)
				_, _ = io.ReadFull(theirs, make([]byte, 10))
			}
		}()
		if n, err := c.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestAnAnswerThatNobodyTakesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &accepted{Conn: ours, patience: time.Second}
		defer c.Close()
		began := time.Now()
		if n, err := c.Write(make([]byte, 100)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%d bytes after %s, %v", n, time.Since(began), err)
		}
	})
}

func TestConnectionsBeyondTheLimitWaitForAPlace(t *testing.T) {
	s := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}), time.Second, slog.New(slog.DiscardHandler))
	limits := Limits{MaxConnections: 2, MaxStreams: 10, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	if err := s.Listen([]Listener{{Name: "a", Address: "127.0.0.1:0"}, {Name: "b", Address: "127.0.0.1:0"}}, limits); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(t.Context()); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
	})
	ask := func(i int) net.Conn {
		conn, err := net.Dial("tcp", s.Addrs()[i].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn, within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	first, second := ask(0), ask(1)
	defer second.Close()
	if !answered(first, 10*time.Second) || !answered(second, 10*time.Second) {
		t.Fatal("the first two got no answer")
	}
	third := ask(0)
	defer third.Close()
	if answered(third, 100*time.Millisecond) {
		t.Fatal("a third connection found a place")
	}
	first.Close()
	if !answered(third, 10*time.Second) {
		t.Fatal("the place that was given back was not found")
	}
}

func TestNoListenerIsOpenedIfOneCannotBe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := New(http.NotFoundHandler(), time.Second, slog.New(slog.DiscardHandler))
	err = s.Listen([]Listener{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}, Limits{})
	if err == nil || len(s.Addrs()) != 0 {
		t.Errorf("%v, listening on %v", err, s.Addrs())
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
