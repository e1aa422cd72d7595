package egress

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// defaultRandom is the randomness of a gateway that was given none.
func defaultRandom() float64 { return rand.Float64() }

// Transport is the lowest layer of an upstream's stack: an http.RoundTripper that
// follows no redirect, decodes nothing and adds no header but Host, what frames
// the body, and User-Agent unless the request has it, be it empty. It is safe for
// concurrent use.
//
// A connection that is never idle would never look its upstream's name up again,
// and a failover by DNS would pass it by. So the connections have generations:
// after MaxConnAge, or CloseIdleConnections, new requests open new ones, and the
// old are closed as their last request ends.
type Transport struct {
	egress   *Egress
	timeouts Timeouts
	dialer   *dialer
	watch    *stallWatch
	current  atomic.Pointer[generation]
}

type generation struct {
	*http.Transport
	until time.Time
}

// Transport makes the connections of one upstream, which it shares with no other.
func (e *Egress) Transport(t Timeouts, g Guard) *Transport {
	t = t.orDefaults()
	out := &Transport{
		egress: e, timeouts: t, watch: newStallWatch(t.Idle),
		dialer: &dialer{egress: e, guard: newGuard(g), limit: t.Connect, idle: t.Idle, config: e.tlsConfig()},
	}
	out.current.Store(out.generation(e.now()))
	return out
}

func (t *Transport) generation(now time.Time) *generation {
	age := t.timeouts.MaxConnAge
	age += time.Duration(float64(age) * 0.1 * (2*t.egress.random() - 1))
	return &generation{t.egress.transport(t.timeouts, t.dialer), now.Add(age)}
}

// RoundTrip sends one request. Classify explains its errors, and those of reading
// the answer's body.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	g := t.current.Load()
	if now := t.egress.now(); now.After(g.until) {
		g = t.renew(g, now)
	}
	answer, err := g.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.Body != http.NoBody {
		answer.Body = t.watch.body(answer.Body)
	}
	return answer, nil
}

// CloseIdleConnections closes the connections that are not in use and has the name
// looked up anew for the next ones. Requests under way are not cut.
func (t *Transport) CloseIdleConnections() { t.renew(t.current.Load(), t.egress.now()) }

// renew replaces a generation, unless somebody else just did, and returns the one
// in force.
func (t *Transport) renew(old *generation, now time.Time) *generation {
	if t.current.CompareAndSwap(old, t.generation(now)) {
		// Connections of the old that are busy close when they become idle: its
		// pool takes none back from here on.
		old.CloseIdleConnections()
	}
	return t.current.Load()
}
