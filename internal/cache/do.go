package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Do answers a call from what is kept, or has it sent and keeps what comes back. The
// answer's body must be closed; what is kept of it is kept when it has been read to its
// end. An error comes as send gave it, or is a problem of the cache's own; the answer
// beside it has nothing but Cache, for the gateway's own answer, and may be nil.
//
// send is called once at most while Do runs, and perhaps later once more, with a call of
// its own, to ask in the background whether what was given still holds.
func (c *Cache) Do(ctx context.Context, x *call.Call, send call.Send) (*call.Answer, error) {
	safe := x.Method == http.MethodGet || x.Method == http.MethodHead
	switch {
	case !x.Keep.Told || safe && !x.Opening && !x.Keep.Reads:
		resp, err := send(ctx, x, nil)
		return with("", resp, err)
	case !safe:
		return c.change(ctx, x, send, "fwd=method")
	case x.Opening:
		return c.change(ctx, x, send, "fwd=bypass; detail=opening")
	case x.Keep.Policy == nil || x.HasBody:
		return c.bypass(ctx, x, send)
	}
	rd := reading{c: c, x: x, send: send, q: newQuery(x)}
	return rd.do(ctx)
}

// with gives what came back with the cache's word.
func with(status string, resp *http.Response, err error) (*call.Answer, error) {
	if err != nil {
		return &call.Answer{Cache: status}, err
	}
	a := call.AnswerOf(resp)
	a.Cache = status
	return a, nil
}

// bypass sends a request that nothing stored can answer and nothing is stored for.
func (c *Cache) bypass(ctx context.Context, x *call.Call, send call.Send) (*call.Answer, error) {
	const status = "fwd=bypass"
	x.Record.Cache = status
	resp, err := send(ctx, x, nil)
	if err == nil {
		c.refused(ctx, x, resp.StatusCode)
	}
	return with(status, resp, err)
}

// change sends what may change something. Before its answer leaves, everything of its
// enterprise at that upstream is void: an answer that did not come says nothing about
// what was done.
func (c *Cache) change(ctx context.Context, x *call.Call, send call.Send, status string) (*call.Answer, error) {
	if x.Keep.Policy == nil {
		status = ""
	}
	x.Record.Cache = status
	posted := c.newPosted(ctx, x)
	known := false
	defer func() {
		if !known { // a panic on the way: nobody knows what was sent
			c.changed(ctx, x, nil)
		}
	}()
	resp, err := send(ctx, x, nil)
	if known = true; err == nil || c.mayHaveArrived(err) {
		c.changed(ctx, x, resp)
	}
	if err == nil && posted != nil && posted.keepPosted(ctx, resp) {
		status += "; stored"
		x.Record.Cache = status
	}
	return with(status, resp, err)
}

// mayHaveArrived reports whether the upstream may have got a request that ended with err. A
// refusal of the gateway's own is one of a request that was not sent.
func (c *Cache) mayHaveArrived(err error) bool {
	var refusal problem.Reporter
	return !errors.As(err, &refusal) && c.o.Classify(err).Sent
}

// newPosted makes ready to keep the answer to a POST; nil if it cannot be kept.
func (c *Cache) newPosted(ctx context.Context, x *call.Call) *reading {
	if x.Method != http.MethodPost || x.Opening || x.Keep.Policy == nil {
		return nil
	}
	rd := &reading{c: c, x: x, q: newQuery(x), requested: c.o.Now()}
	rd.open()
	for _, at := range rd.places {
		rd.loadSecond(ctx, at)
	}
	return rd
}

// keepPosted stores the answer to a POST for later reads, if it says that it is what a
// GET of the same target would bring, and for how long (RFC 9110, section 9.3.3).
//
// It is kept under the epochs that follow the POST's own invalidation, and so for nobody if
// another write has moved one on since the POST began: it may say what was true before that.
func (rd *reading) keepPosted(ctx context.Context, resp *http.Response) bool {
	location := resp.Header.Get("Content-Location")
	if resp.StatusCode != http.StatusOK || location == "" {
		return false
	}
	if target, ok := rd.x.Locate(location); !ok || target != rd.x.TargetAndQuery() {
		return false
	}
	cc := parseCacheControl(resp.Header["Cache-Control"])
	if _, says := saidLifetime(&cc, resp.Header, rd.requested); !says {
		return false
	}
	for _, at := range rd.places {
		at.moveOn()
	}
	return rd.keep(ctx, resp, rd.c.o.Now())
}

// changed makes void what a write has changed: all of the enterprise's, and of what is
// shared the target and whatever else the answer names (section 4.4). resp is nil if
// there was no answer.
func (c *Cache) changed(ctx context.Context, x *call.Call, resp *http.Response) {
	c.invalidate(ctx, x, scopeOf(&x.Keep.Partition))
	if !x.Keep.Shares || resp != nil && resp.StatusCode >= 400 {
		return
	}
	targets := []string{x.TargetAndQuery()}
	if resp != nil {
		for _, name := range [...]string{"Location", "Content-Location"} {
			if target, ok := x.Locate(resp.Header.Get(name)); ok && !slices.Contains(targets, target) {
				targets = append(targets, target)
			}
		}
	}
	for _, target := range targets {
		k := KeyOf(x.Keep.Partition.SharedByAll(), target)
		c.invalidate(ctx, x, k.Resource())
	}
}

// invalidate is Invalidate where a failure changes nothing: the store sees to it.
func (c *Cache) invalidate(ctx context.Context, x *call.Call, s Scope) {
	if err := c.Invalidate(ctx, &x.Redis, s); err != nil {
		c.o.Log.Debug("invalidating in the shared cache failed and will be tried again", "error", err)
	}
}

// refused makes void what the upstream will not give any more, to this enterprise.
func (c *Cache) refused(ctx context.Context, x *call.Call, status int) {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		c.invalidate(ctx, x, scopeOf(&x.Keep.Partition))
	}
}
