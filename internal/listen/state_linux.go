package listen

import "golang.org/x/sys/unix"

// state looks at the connection without reading from it. closing reports whether the caller has
// closed its sending side, or the whole connection: the two are the same until something
// is sent to it. gone reports whether the connection is reset. pending reports whether there are bytes
// to read, or an end.
func (s *socket) state() (pending, closing, gone bool) {
	control(s.Conn, func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
			return
		}
		events := fds[0].Revents
		pending = events&unix.POLLIN != 0
		closing = events&unix.POLLRDHUP != 0
		gone = events&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return pending, closing, gone
}
