// Package memory bounds what is held in memory on behalf of callers: bodies that are read
// whole, lists that are merged, answers that are kept back to be rewritten. There is one
// Budget for all of it. Each request has an Account, which says what it holds and gives all
// of it back when the request has ended.
package memory

import (
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"ebox-gateway/internal/problem"
)

const (
	// Free is what every request may hold whatever the others do, in bytes. It takes the
	// bodies of most calls, so that those who fill the budget keep nobody out who sends
	// little. server.limits.maxRequests bounds what it comes to.
	Free = 8 << 10
	// share is the part of the budget that one party may have: a half.
	share = 2
	// first is the size of the buffer with which a body begins, in bytes.
	first = 4 << 10
)

// Party is on whose behalf bytes are held: a caller by the name of its rule, or where there
// are no rules a source address.
type Party struct {
	Caller string
	Source netip.Addr
}

// PartyOf is the party of a caller, whose rule has no name where there are no rules.
func PartyOf(caller string, source netip.Addr) Party {
	if caller != "" {
		return Party{Caller: caller}
	}
	return Party{Source: source}
}

// Budget is how many bytes may be held at once. It is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limit   int64
	held    int64
	parties map[Party]int64 // those that hold something
	refused uint64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, parties: make(map[Party]int64)}
}

// Resize changes the limit. Nobody loses what is held.
func (b *Budget) Resize(limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = limit
}

// State is how a budget stands.
type State struct {
	Held, Limit int64
	// Refused counts how often something could not be held.
	Refused uint64
}

// State gives what of the budget is used.
func (b *Budget) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return State{b.held, b.limit, b.refused}
}

// Account is what is held for one request. The methods are safe for concurrent use. A nil
// Account, and one that was never opened, is that of the gateway's own calls: it holds
// whatever it is asked to, and counts nothing.
type Account struct {
	budget *Budget
	party  Party
	held   int64 // guarded by the budget's lock
	closed bool
}

// Open makes a the account of a request of party. It must be closed.
func (a *Account) Open(b *Budget, party Party) { a.budget, a.party = b, party }

// Hold takes n bytes; false if there is no room for them, or the request has ended.
func (a *Account) Hold(n int64) bool {
	if a == nil || a.budget == nil {
		return true
	}
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.closed:
		return false
	case a.held+n > Free && (b.held+n > b.limit || b.parties[a.party]+n > b.limit/share):
		b.refused++
		return false
	}
	a.add(n)
	return true
}

// Give gives n of the bytes back, at most all that are held.
func (a *Account) Give(n int64) {
	if a == nil || a.budget == nil {
		return
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.add(-min(n, a.held))
}

// Close gives back all that is held. From then on nothing more can be held.
func (a *Account) Close() {
	if a == nil || a.budget == nil {
		return
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.add(-a.held)
	a.closed = true
}

// add changes what is held, with the lock.
func (a *Account) add(n int64) {
	if n == 0 {
		return
	}
	b := a.budget
	a.held += n
	b.held += n
	if b.parties[a.party] += n; b.parties[a.party] == 0 {
		delete(b.parties, a.party)
	}
}

var errFull = errors.New("holding the bytes of a request: the budget is used up")

// Full is the problem of a request that would need more memory than there is: 503.
func Full() *problem.Problem {
	return problem.Unavailable("The gateway holds as many bytes of bodies and lists in memory as "+
		"server.limits.maxHeldBytes allows, or half of them for this caller. "+
		"Try again shortly, with fewer requests at once or smaller ones.", time.Second).
		Proxy(problem.ProxyConnectionLimit).Because(errFull)
}

// ReadAll reads r to its end, or up to length bytes if length is not negative. The buffer
// grows with what comes: what the other side has announced takes no memory yet. The error is
// Full's, or that of r.
func (a *Account) ReadAll(r io.Reader, length int64) ([]byte, error) {
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			size := max(2*int64(cap(buf)), first)
			if length >= 0 {
				size = min(size, length)
			}
			if int64(len(buf)) == size {
				return buf, nil
			}
			if !a.Hold(size) { // both are there while one is copied into the other
				return nil, Full()
			}
			buf = append(make([]byte, 0, size), buf...)
			a.Give(int64(len(buf)))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF && int64(len(buf)) < length:
			return nil, io.ErrUnexpectedEOF
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// Buffer keeps bytes as they pass, as far as its Account may hold them.
type Buffer struct {
	account *Account
	bytes   []byte
}

// Buffer makes an empty one.
func (a *Account) Buffer() Buffer { return Buffer{account: a} }

// Append keeps p behind what is there. It is false, and keeps nothing, if there is no room or limit
// bytes would not hold it all. The buffer grows with what comes.
func (b *Buffer) Append(p []byte, limit int) bool {
	need, have := len(b.bytes)+len(p), cap(b.bytes)
	if need > have && need <= limit {
		size := min(max(need, 2*have), limit)
		if b.account.Hold(int64(size - have)) {
			b.bytes = append(make([]byte, 0, size), b.bytes...)
		}
	}
	if need > cap(b.bytes) || need > limit {
		b.Take()
		return false
	}
	b.bytes = append(b.bytes, p...)
	return true
}

// Bytes are those that are kept.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Take gives the bytes to the caller, who holds them from now on, and empties the buffer.
func (b *Buffer) Take() []byte {
	taken := b.bytes
	b.account.Give(int64(cap(taken)))
	b.bytes = nil
	return taken
}
