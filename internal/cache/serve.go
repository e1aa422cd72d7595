package cache

import (
	"context"
	"net/http"

	"ebox-gateway/internal/exchange"
)

// Pseudonym names this cache in Cache-Status.
const Pseudonym = "ebox-gateway"

// Serve answers an exchange from what is stored, or has it forwarded and stores what
// comes back. It panics as Exchange.Forward does, to cut an answer short.
func (c *Cache) Serve(x Exchange, t *Task) {
	r := x.Request()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		c.write(x, t, "fwd=method")
	case t.Opening:
		c.write(x, t, "fwd=bypass; detail=opening")
	case t.Policy == nil || r.ContentLength != 0:
		c.bypass(x, t)
	default:
		rd := reading{c: c, x: x, t: t, q: newQuery(r, x.Field), record: exchange.From(r.Context())}
		rd.serve(r.Context())
	}
}

// bypass forwards a request that nothing stored can answer and nothing is stored for.
func (c *Cache) bypass(x Exchange, t *Task) {
	c.note(x, "fwd=bypass")
	x.Forward(nil, func(resp *http.Response, err error) (*http.Response, error) {
		if err == nil {
			c.refused(x, t, resp)
			addStatus(resp, "fwd=bypass")
		}
		return resp, err
	})
}

// write forwards what may change something. Before its answer leaves, everything of its
// enterprise at that upstream is void: an answer that did not come says nothing about
// what was done.
func (c *Cache) write(x Exchange, t *Task, status string) {
	told := false
	forwarded := false
	posted := c.newPosted(x, t)
	defer func() {
		if !told && (!forwarded || exchange.From(x.Request().Context()).Sent) {
			c.wrote(x, t, nil)
		}
	}()
	if t.Policy != nil {
		c.note(x, status)
	}
	x.Forward(nil, func(resp *http.Response, err error) (*http.Response, error) {
		if err != nil {
			if exchange.From(x.Request().Context()).Sent {
				told = true
				c.wrote(x, t, nil)
			}
			return nil, err
		}
		told = true
		alone := posted != nil && posted.untouched()
		c.wrote(x, t, resp)
		if t.Policy != nil {
			if alone && posted.keepPosted(resp) {
				status += "; stored"
				exchange.From(x.Request().Context()).Cache = status
			}
			addStatus(resp, status)
		}
		return resp, nil
	})
	forwarded = true
}

// newPosted makes ready to keep the answer to a POST; nil if it cannot be kept.
func (c *Cache) newPosted(x Exchange, t *Task) *reading {
	r := x.Request()
	if r.Method != http.MethodPost || t.Opening || t.Policy == nil {
		return nil
	}
	rd := &reading{c: c, x: x, t: t, q: newQuery(r, x.Field), record: exchange.From(r.Context()), posted: true, requested: c.o.Now()}
	rd.q.method = http.MethodGet
	rd.open()
	return rd
}

// untouched tells that nothing was made void where the answer would be kept since the
// request began. After another write, it may say what was true before that.
func (rd *reading) untouched() bool {
	for i := range rd.n {
		if at := &rd.places[i]; rd.c.epochs.mark(&at.key) != at.mark {
			return false
		}
	}
	return true
}

// keepPosted stores the answer to a POST for later reads, if it says that it is what a
// GET of the same target would bring, and for how long (RFC 9110, section 9.3.3). What
// the POST made void is void already, so this is kept under the new epoch.
func (rd *reading) keepPosted(resp *http.Response) bool {
	location := one(resp.Header["Content-Location"])
	if resp.StatusCode != http.StatusOK || location == "" {
		return false
	}
	if target, ok := rd.x.Locate(location); !ok || target != rd.t.Target {
		return false
	}
	cc := parseCacheControl(resp.Header["Cache-Control"])
	if _, says := saidLifetime(&cc, resp.Header, rd.requested); !says {
		return false
	}
	c, store := rd.c, rd.c.store()
	for i := range rd.n {
		at := &rd.places[i]
		at.mark = c.epochs.mark(&at.key)
		if store == nil {
			continue
		}
		if _, mark, err := store.Load(rd.x.Request().Context(), &at.key); err == nil && !c.owed.concerns(&at.key) {
			at.second, at.store = mark, store
		}
	}
	return rd.keep(resp, c.o.Now())
}

// wrote makes void what a write has changed: all of the enterprise's, and of what is
// shared the target and whatever else the answer names (section 4.4). resp is nil if
// there was no answer.
func (c *Cache) wrote(x Exchange, t *Task, resp *http.Response) {
	ctx := x.Request().Context()
	c.invalidate(ctx, t.Partition.Scope())
	if !t.Shares || resp != nil && resp.StatusCode >= 400 {
		return
	}
	shared := t.Partition.SharedByAll()
	drop := func(target string) {
		k := shared.Key(target)
		c.invalidate(ctx, k.Resource())
	}
	drop(t.Target)
	if resp == nil {
		return
	}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if v := one(resp.Header[name]); v != "" {
			if target, ok := x.Locate(v); ok && target != t.Target {
				drop(target)
			}
		}
	}
}

// invalidate is Invalidate where a failure changes nothing: Run sees to it.
func (c *Cache) invalidate(ctx context.Context, s Scope) {
	if err := c.Invalidate(ctx, s); err != nil {
		c.o.Log.Debug("invalidating in the shared cache failed and will be tried again", "error", err)
	}
}

// refused makes void what the upstream will not give any more, to this enterprise.
func (c *Cache) refused(x Exchange, t *Task, resp *http.Response) {
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		c.invalidate(x.Request().Context(), t.Partition.Scope())
	}
}

// note says what the cache does, in the record and on an answer of the gateway's own.
func (c *Cache) note(x Exchange, status string) {
	exchange.From(x.Request().Context()).Cache = status
	x.Note(Pseudonym + "; " + status)
}

// addStatus adds the cache's entry to those of the caches before it.
func addStatus(resp *http.Response, status string) {
	before := resp.Header["Cache-Status"]
	resp.Header["Cache-Status"] = append(before[:len(before):len(before)], Pseudonym+"; "+status)
}
