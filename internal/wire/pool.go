package wire

import (
	"crypto/tls"
	"errors"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rest is how long a connection has been unused before it serves another party: an upstream that sends more than
	// one answer to a request mostly does so at once. Bytes that arrive in that time close the connection. It is far
	// longer than 20 ms, since the upstream's machine may be busy.
	rest = 250 * time.Millisecond

	// shortRest is how long it has been unused before it serves the same party: surplus must not become the answer to
	// the next request either.
	shortRest = 50 * time.Millisecond

	// mostResting is how many connections to one host are in their short rest at once. Where there are as many, others
	// serve the same party without it: at thousands of calls a second it would take a thousand connections.
	mostResting = 64

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
	cancel   func()               // socket.cancel, made once
	r        Reader
	pool     *pool
	one      [1]byte

	until      time.Time // its age
	generation uint64
	since      time.Time // when it became unused last; zero while it is in its first exchange
	party      string    // whom it served last
	// ownOnly is set for good once it was used again without a rest. Surplus may then have been taken for the next
	// answer, whose true one takes as long as it likes. So no rest makes it safe for another party.
	ownOnly bool
	// alwaysRests is for one whose last answer had no body, or came before the request's end, where surplus is most
	// likely: it has its short rest however many others have theirs.
	alwaysRests bool
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
	c.cancel = c.socket.cancel
	c.r.src = raw
	return c
}

// verdict is what look found.
type verdict int

const (
	nothing verdict = iota
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
	return nothing
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
	// distrusted is until when no connection to the host is used twice, this Transport's or another's; nil for never.
	distrusted *atomic.Pointer[time.Time]
}

func (p *pool) isDistrusted(now time.Time) bool {
	until := p.distrusted.Load()
	return until != nil && now.Before(*until)
}

// restBefore is how long c has to have been unused before it serves a request of party. busy says that there are
// mostResting. A change (PATCH, PUT, DELETE) waits as long as another party's request does: surplus must not turn its
// refusal into a success.
func (c *conn) restBefore(party string, change, busy bool) time.Duration {
	switch {
	case c.party != party && c.ownOnly:
		return math.MaxInt64
	case c.party != party || change:
		return rest
	case busy && !c.alwaysRests:
		return 0
	}
	return shortRest
}

// take gives the connection that was used last and may serve party, or nil. Those that served the same one come
// first, for they need less rest.
func (p *pool) take(party string, change bool) *conn {
	now := p.t.config.Now()
	if p.isDistrusted(now) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := len(p.idle) - mostResting
	busy := newest >= 0 && now.Sub(p.idle[newest].since) < shortRest
	best := -1
	for i := len(p.idle) - 1; i >= 0; i-- {
		c := p.idle[i]
		unused := now.Sub(c.since)
		if unused >= p.t.config.IdleConn || now.After(c.until) {
			p.idle = slices.Delete(p.idle, i, i+1)
			best = max(best-1, -1) // which is behind it
			c.Close()
			continue
		}
		own := c.party == party
		if (own || best < 0) && unused >= c.restBefore(party, change, busy) {
			best = i
			if own {
				break
			}
		}
	}
	if best < 0 {
		return nil
	}
	c := p.idle[best]
	p.idle = slices.Delete(p.idle, best, best+1)
	c.ownOnly = c.ownOnly || now.Sub(c.since) < rest
	return c
}

// put keeps a connection for the next exchange. If there are too many, the one that was unused longest goes.
func (p *pool) put(c *conn) {
	c.r.Release()
	p.mu.Lock()
	c.since = p.t.config.Now()
	out := c
	if c.generation == p.t.generation.Load() && !p.isDistrusted(c.since) {
		out = nil
		if len(p.idle) == mostIdle {
			out = p.idle[0]
			p.idle = slices.Delete(p.idle, 0, 1)
		}
		p.idle = append(p.idle, c)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.t.config.IdleConn, func() { p.sweep(false) })
		}
	}
	p.mu.Unlock()
	if out != nil {
		out.Close()
	}
}

// sawSurplus counts a connection with surplus bytes. Others may have had them unseen, or have them still to come,
// however long they rest: none is used again, now or as its exchange ends.
func (p *pool) sawSurplus() {
	p.t.surplus.Add(1)
	until := p.t.config.Now().Add(distrust)
	p.distrusted.Store(&until)
	p.sweep(true)
}

// sweep closes all, or, when its time has come, what has been unused for too long.
func (p *pool) sweep(all bool) {
	now, limit := p.t.config.Now(), p.t.config.IdleConn
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && (all || now.Sub(p.idle[n].since) >= limit) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	switch {
	case all: // the timer finds nothing
	case len(p.idle) == 0:
		p.timer = nil
	default: // not for every single connection
		p.timer.Reset(max(limit-now.Sub(p.idle[0].since), limit/8))
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}
