package listen

import "time"

// lookEvery is how often the connections are looked at whose request takes long. A caller
// that has left is noticed within twice that.
const lookEvery = 400 * time.Millisecond

// watchCallers cancels the requests of callers that have left, until the server has ended.
//
// A handler learns of it by the context of its request. net/http reads from the connection
// for that while a handler works, which costs a goroutine, its stack and two switches for
// each request; most are over before anybody could leave. Here one goroutine looks at the
// connections, and only those are asked of the kernel that serve the same request as when
// it looked before.
func (s *Server) watchCallers() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		for _, c := range s.of(nil) {
			now := c.current.Load()
			if now != nil && now == c.seen {
				now.lookForCaller()
			}
			c.seen = now
		}
	}
}

// lookForCaller cancels the request if its caller has left.
func (e *exchange) lookForCaller() {
	_, closing, gone := e.c.socket.state()
	if gone || closing && !e.kept.Load() {
		e.ctx.cancel()
	}
}
