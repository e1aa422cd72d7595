package testkit

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Accept listens on the loopback interface until the test ends. Each connection is served by a function, which gets
// its number, from 0, and owns it until it returns. When the test ends all are closed, and what serves them is waited
// for.
func Accept(t testing.TB, serve func(n int, c net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Must(t, err)
	over, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				defer context.AfterFunc(over, func() { _ = c.Close() })()
				serve(n, c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); end(); running.Wait() })
	return l.Addr().String()
}
