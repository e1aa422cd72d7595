package testkit

import (
	"errors"
	"strconv"
	"syscall"
	"testing"
)

// Address is one of the loopback interface. See Port.
func Address(t testing.TB) string {
	t.Helper()
	return "127.0.0.1:" + Port(t)
}

// Port gives a port of 127.0.0.1 that nobody else gets until the test ends, and that a server
// may listen on, again and again: a socket is bound to it that never listens. Linux lets
// another one that has SO_REUSEADDR as well, as those of Go and Redis have, listen there, but gives
// the port to nobody who asks for any. A connection is refused until a server listens.
func Port(t testing.TB) string {
	t.Helper()
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	Must(t, err)
	syscall.CloseOnExec(s)
	t.Cleanup(func() { _ = syscall.Close(s) })
	Must(t, errors.Join(
		syscall.SetsockoptInt(s, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(s, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
	))
	bound, err := syscall.Getsockname(s)
	Must(t, err)
	return strconv.Itoa(bound.(*syscall.SockaddrInet4).Port)
}
