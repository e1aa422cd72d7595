package listen

import "net"

// OpenBy has sockets opened by another function than net.Listen: those of the tests count what is open, fail, or give
// pipes in a bubble of synctest. What they are has a SetDeadline, as those of net.Listen have.
func (s *Server) OpenBy(open func(network, address string) (net.Listener, error)) { s.open = open }
