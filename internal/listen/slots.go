package listen

import (
	"net/netip"
	"sync"
	"time"

	"ebox-gateway/internal/descriptors"
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
	aside int // those that wait aside
	// expelled are those that were told to close and have not yet.
	expelled map[*socket]struct{}
	// freed is closed when there may be a place; nil while nobody waits.
	freed chan struct{}
}

const (
	// mostAside is how many connections may wait aside, and no more than a quarter of the
	// places. Further ones are closed.
	mostAside = 64
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
	if l.open == nil {
		l.open, l.of = make(map[*socket]struct{}), make(map[netip.Addr]int)
	}
	l.open[s] = struct{}{}
	s.rests() // it may have waited long, and is left its moment from here
	l.of[s.source]++
	return true
}

// large tells that a source has half of the places or more.
func (l *slots) large(source netip.Addr) bool { return l.limit > 0 && l.of[source] >= (l.limit+1)/2 }

// stepAside reports whether s, which found no place and will not find one in a moment, must not
// be waited for by those behind it, and whether it may wait aside. leaveAside ends that.
func (l *slots) stepAside(s *socket) (must, may bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.large(s.source) || len(l.expelled) > 0 {
		return false, false
	}
	for other := range l.open {
		if other.source == s.source && other.idleSince.Load() != 0 {
			return false, false // it is closed in a moment, or has a request by then
		}
	}
	if l.aside >= max(min(mostAside, l.limit/4), 1) {
		return true, false
	}
	l.aside++
	return true, true
}

func (l *slots) leaveAside() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside--
}

// What wait ends with.
type waited int

const (
	placed  waited = iota
	again          // no place yet: the connection may have to step aside by now
	stopped        // done was closed before
)

// wait waits for a place, and has others closed for it. short says that it is a file
// descriptor that is missing: a connection has to end, or some have to be free again. With
// aside it waits until it has a place; without, a connection of a large source tries again
// soon, once no descriptor is missing.
func (l *slots) wait(s *socket, short, aside bool, done <-chan struct{}) waited {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for search := true; ; {
		l.mu.Lock()
		if !short && l.take(s) {
			l.mu.Unlock()
			return placed
		}
		if l.freed == nil {
			l.freed = make(chan struct{})
		}
		freed := l.freed
		large := l.large(s.source)
		var idlest *socket
		if search {
			idlest = l.idlest(s.source)
		}
		l.mu.Unlock()
		if idlest != nil {
			idlest.expel()
		}
		select {
		case <-freed:
			short = false
			search = !aside // all who wait aside are woken: they do not each go through all connections
		case <-look.C:
			search = true
			switch {
			case short: // upstreams and files give descriptors back without a word
				short = descriptors.Short(s.Conn)
			case large && !aside:
				return again
			}
		case <-done:
			return stopped
		}
	}
}

// makeRoom closes the connection that has been idle longest.
func (l *slots) makeRoom() {
	l.mu.Lock()
	idlest := l.idlest(netip.Addr{})
	l.mu.Unlock()
	if idlest != nil {
		idlest.expel()
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
		if at == 0 || at > latest || own && s.source != source {
			continue
		}
		large := own || l.large(s.source)
		switch {
		case bestLarge && !large:
		case best == nil, large && !bestLarge, at < since:
			best, bestLarge, since = s, large, at
		}
	}
	if best == nil || !best.idleSince.CompareAndSwap(since, 0) { // a request has just come
		return nil
	}
	if l.expelled == nil {
		l.expelled = make(map[*socket]struct{})
	}
	l.expelled[best] = struct{}{}
	return best
}

// stays notes that a connection that was told to close has a request to answer first.
func (l *slots) stays(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.expelled, s)
}

// give is called once for each connection that had a place.
func (l *slots) give(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[s]; !ok {
		return // it never had one
	}
	delete(l.open, s)
	delete(l.expelled, s)
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
