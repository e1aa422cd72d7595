//go:build unix && !linux

package listen

import "syscall"

// state looks at the connection without reading from it. closing reports whether the caller has
// closed its sending side, or the whole connection: the two are the same until something
// is sent to it. It does not show behind bytes that wait to be read. gone reports whether the
// connection is reset. pending reports whether there are bytes to read, or an end.
func (s *socket) state() (pending, closing, gone bool) {
	control(s.Conn, func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK) // it does not block
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
		case err != nil:
			pending, gone = true, true
		default:
			pending, closing = true, n == 0
		}
	})
	return pending, closing, gone
}
