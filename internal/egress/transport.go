package egress

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/wire"
)

const (
	// idleConn is how long an unused connection is kept. It is below what upstreams and
	// the balancers before them close at.
	idleConn = 10 * time.Second
	// maxConnAge is how long connections are used before the name is looked up anew, give
	// or take a tenth. Requests on them are not cut.
	maxConnAge = 5 * time.Minute
)

// Transport is the lowest layer of an upstream's stack: it follows no redirect, decodes nothing and adds no header but
// Host and what frames the body; a User-Agent that is empty is left out. Classify explains its errors, and those of
// reading an answer's body. It is safe for concurrent use.
//
// A connection that is never idle would never look its upstream's name up again, and a failover by DNS would pass it
// by. So connections are used for maxConnAge and then closed as their exchange ends.
type Transport struct{ *wire.Transport }

// Transport makes the connections of one upstream, which it shares with no other. Connect bounds everything up to a
// usable connection: DNS, TCP, the proxy's CONNECT and TLS together. Header bounds the wait from the end of the request
// to the end of the answer's header, interim answers (1xx) included, and Idle how long a body may stand still, in
// either direction; both cut at most a quarter later.
func (e *Egress) Transport(t config.Timeouts, g Guard) *Transport {
	d := &dialer{egress: e, guard: newGuard(g), limit: t.Connect, idle: t.Idle, config: e.tlsConfig()}
	return &Transport{wire.New(wire.Config{
		Dial: d.open, Absolute: d.absolute, Header: t.Header, IdleConn: idleConn,
		Now: e.o.Now, Calls: e.o.Calls, Log: e.o.Log,
		Age: func() time.Duration {
			return time.Duration(float64(maxConnAge) * (0.9 + 0.2*rand.Float64()))
		},
	})}
}

// Send implements call.Sender: the answer is for the call's party alone, and an opening is never sent twice.
func (t *Transport) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	return t.SendAs(ctx, c, r, "")
}

// SendAs is Send with a value of Authorization, which goes in place of any that r has.
func (t *Transport) SendAs(ctx context.Context, c *call.Call, r *http.Request,
	authorization string) (*http.Response, error) {
	o := wire.Options{Party: c.Party(), Once: c.Opening, Resent: &c.Record.Tries, Authorization: authorization,
		Waited: c.Waited}
	if pass := c.Interim; pass != nil {
		o.Interim = func(status int, h http.Header) error {
			if status != http.StatusContinue { // which is a matter of each connection
				pass(status, h)
			}
			return nil
		}
	}
	return t.Do(ctx, r, o)
}
