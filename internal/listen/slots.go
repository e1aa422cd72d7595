package listen

import (
	"net/netip"
	"sync"
	"time"
)

// slots are the places of the connections that are open at once, over all listeners of a
// Server. They are shared out by source address, so that nobody keeps the others out:
//
//   - The last eighth of the places is for sources that have less than half of all.
//   - When no place is left for a connection, one without a request under way is closed for
//     it, the one that has been so longest: of the same source, if that has half of the
//     places or more; else of such sources first. It is left a moment to send its request.
//   - Where there is none to close, the connection waits. One whose source has half of the
//     places waits aside, so that those behind it need not.
//
// The limit can change; one that was lowered is reached as connections end.
type slots struct {
	mu    sync.Mutex
	limit int // 0 is unlimited
	open  map[*socket]struct{}
	of    map[netip.Addr]int
	// freed is closed when there may be a place; nil while nobody waits.
	freed chan struct{}
}

const (
	// moment is how long a connection without a request is not closed for another one.
	moment = 100 * time.Millisecond
	// lookAgain is how often a connection that waits looks for one to close.
	lookAgain = 50 * time.Millisecond
)

// try takes a place if there is one.
func (l *slots) try(s *socket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(s)
}

func (l *slots) take(s *socket) bool {
	if l.limit > 0 && (len(l.open) >= l.limit || l.large(s.source) && len(l.open) >= l.limit-l.limit/8) {
		return false
	}
	l.open[s] = struct{}{}
	s.becomesIdle() // it may have waited long, and is left its moment from here
	l.of[s.source]++
	return true
}

// mostAside is how many connections may wait aside. Further ones are closed.
func (l *slots) mostAside() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int32(max(min(64, l.limit/4), 1))
}

// large reports whether a source has half of the places or more.
func (l *slots) large(source netip.Addr) bool { return l.limit > 0 && l.of[source] >= (l.limit+1)/2 }

// wait waits for a place until done is closed, and has others closed for it. It is false if there
// is none: without aside, also if it is its own source that has the places.
func (l *slots) wait(s *socket, aside bool, done <-chan struct{}) bool {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for search := true; ; {
		l.mu.Lock()
		if l.take(s) {
			l.mu.Unlock()
			return true
		}
		if !aside && l.large(s.source) && !l.soon(s.source) {
			l.mu.Unlock()
			return false
		}
		if l.freed == nil {
			l.freed = make(chan struct{})
		}
		freed := l.freed
		var idlest *socket
		if search {
			idlest = l.idlest(s.source)
		}
		l.mu.Unlock()
		if idlest != nil {
			idlest.owner.evict()
		}
		select {
		case <-freed:
			search = !aside // all who wait aside are woken: they do not each go through all connections
		case <-look.C:
			search = true
		case <-done:
			return false
		}
	}
}

// soon reports whether a connection is about to close, or one of a source can be closed in a moment.
func (l *slots) soon(source netip.Addr) bool {
	for s := range l.open {
		if at := s.idleSince.Load(); at == evicted || at != 0 && s.source == source {
			return true
		}
	}
	return false
}

// makeRoom closes the connection that has been idle longest.
func (l *slots) makeRoom() {
	l.mu.Lock()
	idlest := l.idlest(netip.Addr{})
	l.mu.Unlock()
	if idlest != nil {
		idlest.owner.evict()
	}
}

// idlest finds the connection to be closed for one of source, nil if there is none. It is
// found once.
func (l *slots) idlest(source netip.Addr) *socket {
	var best *socket
	var bestLarge bool
	var since int64
	own, latest := l.large(source), time.Now().Add(-moment).UnixNano()
	for s := range l.open {
		at := s.idleSince.Load()
		if at <= 0 || at > latest || own && s.source != source {
			continue
		}
		large := own || l.large(s.source)
		switch {
		case bestLarge && !large:
		case best == nil, large && !bestLarge, at < since:
			best, bestLarge, since = s, large, at
		}
	}
	if best == nil || !best.idleSince.CompareAndSwap(since, evicted) { // a request has just come
		return nil
	}
	return best
}

// give is called for each connection that is closed.
func (l *slots) give(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[s]; !ok {
		return // it never had one, or gave it back
	}
	delete(l.open, s)
	if l.of[s.source]--; l.of[s.source] == 0 {
		delete(l.of, s.source)
	}
	l.wake()
}

func (l *slots) setLimit(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = n
	l.wake()
}

func (l *slots) wake() {
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}
