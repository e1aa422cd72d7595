package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rest is how long a connection has been unused before it serves another party: an upstream that sends more than
	// one answer to a request mostly does so at once. Bytes that arrive in that time close the connection. It is far
	// longer than 20 ms, since the upstream's machine may be busy.
	rest = 250 * time.Millisecond

	// Settle is how long it has been unused before it serves even the same party: surplus must not become the answer
	// to the next request. Where so many calls are made that mostSettling connections rest already, they serve the
	// same party sooner, for at thousands of calls a second resting would take a thousand connections. Nothing
	// follows an answer without a body so soon. PATCH, PUT and DELETE go over connections that rested as for
	// another party: surplus must not turn their refusal into a success.
	Settle       = 50 * time.Millisecond
	mostSettling = 64

	// distrust is how long no connection to a host is used twice, once one of them has had surplus bytes.
	distrust = 10 * time.Minute

	// mostIdle bounds the unused connections to one host.
	mostIdle = 1024
)

// conn is a connection with HTTP/1.1 on it. One exchange at a time owns it, or its pool.
type conn struct {
	net.Conn // *tls.Conn or *Socket
	socket   *Socket
	records  *records             // below TLS; nil without
	state    *tls.ConnectionState // nil without TLS
	cancel   func()               // socket.Cancel, made once
	r        Reader
	pool     *pool
	one      [1]byte

	until      time.Time // its age
	generation uint64
	used       bool   // it has served an exchange
	party      string // whom it served last
	wary       bool   // it settles before it serves anybody, however busy the host is
	// hurried is set for good once it was used again without a rest. Surplus may then have been taken for the next
	// answer; the answer that is still to come takes as long as it likes, so no rest makes it safe for another party.
	hurried bool
	since   int64 // when it became unused, on nano's clock
	// traces are the last trace ids sent here: an answer that names an earlier one came late.
	traces [4]string
	turn   int
}

// newConn takes what Config.Dial gave.
func newConn(p *pool, raw net.Conn) *conn {
	c := &conn{Conn: raw, pool: p}
	if secured, ok := raw.(*tls.Conn); ok {
		state := secured.ConnectionState()
		c.records, c.state = secured.NetConn().(*records), &state
		c.socket = c.records.socket
	} else {
		c.socket = raw.(*Socket)
	}
	c.cancel = c.socket.Cancel
	c.r.src = raw
	return c
}

// verdict is what look found.
type verdict int

const (
	quiet   verdict = iota
	surplus         // bytes that nobody asked for
	ended           // the end
)

// look sees, without waiting, what is on an unused connection. Over TLS there may be records that are no answer, such
// as session tickets: they are taken in. A record that has begun and not ended counts as surplus.
func (c *conn) look() verdict {
	if c.r.Buffered() > 0 {
		return surplus
	}
	if c.socket.raw == nil {
		return ended // what cannot be looked at is not used again
	}
	c.socket.looking = true
	n, err := c.Conn.Read(c.one[:])
	c.socket.looking = false
	switch {
	case n > 0:
		return surplus
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return ended
	case c.records != nil && c.records.within():
		return surplus
	}
	return quiet
}

// drop closes the connection at once; what waits in it is lost.
func (c *conn) drop() {
	c.r.Discard()
	c.socket.Conn.Close()
}

// pool keeps the connections to one host.
type pool struct {
	t            *Transport
	scheme, host string // as in URLs
	address      string // host:port, in ASCII
	hostField    string
	absolute     bool // requests go to an http proxy in absolute form
	proxyAuth    string

	mu    sync.Mutex
	idle  []*conn     // in the order in which they became unused
	timer *time.Timer // sweeps them; nil while it is not running
	// distrusted is until when, on nano's clock, no connection to the host is used twice, this Transport's or another's.
	distrusted *atomic.Int64
}

// take gives the connection that was used last and may serve party, or nil. Those that served the same one come
// first, for they need less rest. If settled, only one that rested as for another.
func (p *pool) take(party string, settled bool) *conn {
	now, age := nano(), p.t.config.Now()
	if now < p.distrusted.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	calm := sort.Search(len(p.idle), func(i int) bool { return time.Duration(now-p.idle[i].since) < Settle })
	last := calm
	if !settled && len(p.idle)-calm >= mostSettling {
		last = len(p.idle)
	}
	best := -1
	for i := last - 1; i >= 0; i-- {
		c := p.idle[i]
		unused := time.Duration(now - c.since)
		if unused >= p.t.config.IdleConn || age.After(c.until) {
			p.idle = slices.Delete(p.idle, i, i+1)
			if best > i {
				best--
			}
			c.Close()
			continue
		}
		own := c.party == party
		if unused >= rest && (own || !c.hurried) || own && !settled && (!c.wary || unused >= Settle) {
			if best < 0 {
				best = i
			}
			if own {
				best = i
				break
			}
		}
	}
	if best < 0 {
		return nil
	}
	c := p.idle[best]
	p.idle = slices.Delete(p.idle, best, best+1)
	c.hurried = c.hurried || time.Duration(now-c.since) < rest
	return c
}

// put keeps a connection for the next exchange. If there are too many, the one that was unused longest goes.
func (p *pool) put(c *conn) {
	c.r.Release()
	c.since = nano()
	p.mu.Lock()
	if c.generation != p.t.generation.Load() || c.since < p.distrusted.Load() {
		p.mu.Unlock()
		c.Close()
		return
	}
	var old *conn
	if len(p.idle) == mostIdle {
		old = p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.t.config.IdleConn, func() { p.sweep(false) })
	}
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// sawSurplus counts a connection with surplus bytes. Others may have had them unseen, or have them still to come,
// however long they rest: none is used again, now or as its exchange ends.
func (p *pool) sawSurplus() {
	p.t.surplus.Add(1)
	p.distrusted.Store(nano() + int64(distrust))
	p.sweep(true)
}

// sweep closes all, or, when its time has come, what has been unused for too long.
func (p *pool) sweep(all bool) {
	now, limit := nano(), p.t.config.IdleConn
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && (all || time.Duration(now-p.idle[n].since) >= limit) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	switch {
	case all: // the timer finds nothing
	case len(p.idle) == 0:
		p.timer = nil
	default: // not for every single connection
		p.timer.Reset(max(limit-time.Duration(now-p.idle[0].since), limit/8))
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}
