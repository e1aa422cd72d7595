package egress

import (
	"context"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/wire"
)

// Transport is the lowest layer of an upstream's stack: it follows no redirect, decodes nothing and adds no header but
// Host and what frames the body; a User-Agent that is empty is left out. It is safe for concurrent use.
//
// A connection that is never idle would never look its upstream's name up again, and a failover by DNS would pass it
// by. So connections are used for MaxConnAge and then closed as their exchange ends.
type Transport struct{ wire *wire.Transport }

// Transport makes the connections of one upstream, which it shares with no other.
func (e *Egress) Transport(t Timeouts, g Guard) *Transport {
	t = t.orDefaults()
	d := &dialer{egress: e, guard: newGuard(g), limit: t.Connect, idle: t.Idle, config: e.tlsConfig()}
	return &Transport{wire.New(wire.Config{
		Dial: d.open, Absolute: d.absolute, Header: t.Header, IdleConn: t.IdleConn, Now: e.now, Calls: e.calls, Log: e.log,
		Age: func() time.Duration {
			return t.MaxConnAge + time.Duration(float64(t.MaxConnAge)*0.1*(2*e.random()-1))
		},
	})}
}

// Do sends one request. Classify explains its errors, and those of reading the answer's body.
func (t *Transport) Do(ctx context.Context, r *http.Request, o wire.Options) (*http.Response, error) {
	return t.wire.Do(ctx, r, o)
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
	return t.wire.Do(ctx, r, o)
}

// RoundTrip is Do with the request's context and zero Options.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.wire.RoundTrip(r) }

// CloseIdleConnections closes the connections that are not in use, so that the name is looked up anew for the next
// ones. Requests under way are not cut.
func (t *Transport) CloseIdleConnections() { t.wire.CloseIdleConnections() }

// Counts gives numbers of the connections so far.
func (t *Transport) Counts() wire.Counts { return t.wire.Counts() }
