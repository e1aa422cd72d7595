package listen

import "sync"

// slots bound the connections that are open at once, over all listeners of a Server. A
// connection that finds none waits, and with it those behind it in the kernel's backlog.
// The limit can change; one that was lowered is reached as connections end.
type slots struct {
	mu    sync.Mutex
	limit int // 0 is unlimited
	used  int
	// freed is closed when there may be a slot; nil while nobody waits.
	freed chan struct{}
}

// take waits for a slot; false if done was closed before there was one.
func (s *slots) take(done <-chan struct{}) bool {
	for {
		s.mu.Lock()
		if s.limit <= 0 || s.used < s.limit {
			s.used++
			s.mu.Unlock()
			return true
		}
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-done:
			return false
		}
	}
}

func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.wake()
}

func (s *slots) setLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	s.wake()
}

func (s *slots) wake() {
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}
