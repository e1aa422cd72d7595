package authn

import (
	"context"
	"math/rand/v2"
	"time"
)

// A certificate is valid for one to three years, and its successor is put into the files
// before or after somebody has registered it in Chaman, rarely in that moment. So
// a new key is loaded and set aside until the Authorization Server has issued a
// token for it; the old one signs in the meantime.

// pendingKey is a key that was loaded and has not yet got a token.
type pendingKey struct {
	key   *Key
	since time.Time
	// last is the last failure to get a token with it, nil before the first try.
	last *Failure
}

// watch looks at the key files every so often, and tries a pending key, until ctx
// is done.
func (c *client) watch(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		c.prove(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.wake:
		}
		if len(c.files.Changed()) > 0 {
			c.reload()
		}
		c.warnOfExpiry()
	}
}

// reload reads the files and decides what becomes of the key in them. Files that
// cannot be loaded, perhaps half written, change nothing but the status: when they
// are whole, their content has changed again.
func (c *client) reload() {
	key, err := LoadKey(c.config)
	now := c.tokens.o.Now()
	log := c.tokens.o.Log.With("client", c.name)
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.key.Load()
	if err != nil {
		c.pending = nil
		failed := &Failure{Client: c.name, Code: noKey, Since: now, reason: "there is no key to sign with", cause: err}
		if c.keyFailure != nil {
			failed.Since = c.keyFailure.Since
		}
		c.keyFailure = failed
		log.Error("the key cannot be loaded", "error", err, "formerKeySigns", current != nil)
		return
	}
	c.keyFailure = nil
	switch {
	case current == nil:
		// Nothing is lost by using a key that was never tried where there is no other.
		c.key.Store(key)
		log.Info("key loaded", "key", key, "subject", key.about.Subject, "notAfter", key.about.NotAfter)
	case key.same(current):
		c.pending = nil
	case c.pending == nil || !key.same(c.pending.key):
		c.pending = &pendingKey{key: key, since: now}
		log.Info("a new key is there: it signs once a token was obtained with it", "key", key, "subject", key.about.Subject,
			"notAfter", key.about.NotAfter)
	}
}

// adoptKey lets the key of the generation before go on signing, if the files hold
// another one by now or none.
func (c *client) adoptKey(old *Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine := c.key.Load()
	if old == nil || old.same(mine) {
		return
	}
	if mine != nil {
		c.pending = &pendingKey{key: mine, since: c.tokens.o.Now()}
	}
	c.key.Store(old)
}

// prove asks for a token with the pending key, if there is one and its time has come, with one set of
// scopes after the other: a refusal of scopes says nothing about the key. Without a source there is
// nothing to ask for yet; the next look asks again.
func (c *client) prove(ctx context.Context) {
	c.mu.Lock()
	p := c.pending
	due := p != nil && (p.last == nil || !c.tokens.o.Now().Before(p.last.until))
	c.mu.Unlock()
	if !due {
		return
	}
	var refused error
	for _, s := range c.sourceList() {
		t, err := s.asking(p.key).fetch(ctx)
		if err == nil {
			c.promote(p, s, t)
			return
		}
		if ctx.Err() != nil {
			return // stopping is no failure of the key
		}
		if refused = err; !scopeRefused(err) {
			break
		}
	}
	if refused != nil {
		c.postpone(p, refused)
	}
}

// promote makes the pending key the one that signs, with the token t of source s
// as its proof.
func (c *client) promote(p *pendingKey, s *Source, t Token) {
	c.mu.Lock()
	if c.pending != p {
		c.mu.Unlock()
		return
	}
	former := c.key.Swap(p.key)
	c.pending = nil
	c.mu.Unlock()
	c.warned = time.Time{}
	c.tokens.o.Log.Info("the new key signs from now on", "client", c.name, "key", p.key, "former", former, "subject",
		p.key.about.Subject, "notAfter", p.key.about.NotAfter)

	// The former key's tokens are good until they expire, and are replaced in the
	// background all the same: its registration may end any moment.
	now := c.tokens.o.Now()
	for _, other := range c.sourceList() {
		other.mu.Lock()
		other.failure = nil
		if other == s {
			other.counted.Requests++
			other.store(t.h, p.key)
		} else {
			other.due = now
		}
		other.mu.Unlock()
	}
}

// postpone remembers that the pending key did not get a token, and when to try it
// again.
func (c *client) postpone(p *pendingKey, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.last = failureOf(err).after(p.last, c.tokens.o.Now(), rand.Float64())
	if p.last.inRow == 1 && c.pending == p {
		c.tokens.o.Log.Warn("the new key gets no token: the former one goes on signing", "client", c.name, "key", p.key,
			"error", err, "reason", p.reason(c.tokens.o.Now()))
	}
}

// reason says to people why the key does not sign yet.
func (p *pendingKey) reason(now time.Time) string {
	const formerSigns = " The former key goes on signing."
	key := p.key.Status(now)
	certificate := "Its certificate (" + key.Subject + ")"
	switch {
	case key.State == KeyExpired:
		return certificate + " has expired on " + key.NotAfter.UTC().Format(time.DateOnly) +
			": put a valid one into its files." + formerSigns
	case key.State == KeyNotYetValid:
		return certificate + " is not valid before " + key.NotBefore.UTC().Format(time.DateTime) +
			" UTC: wait for it, or set this machine's clock if it is behind." + formerSigns
	case p.last == nil:
		return "No token was asked for with it yet; that happens within seconds once a route of this client is in use."
	}
	if !p.last.refused() {
		return "The Authorization Server gave no usable answer; it is tried again." + formerSigns
	}
	if p.last.Code != "invalid_client" {
		return "The Authorization Server answers " + p.last.Code + ": look up the client's registration in Chaman and its " +
			"onboarding." + formerSigns
	}
	subject := ""
	if key.Subject != "" {
		subject = " (" + key.Subject + ")"
	}
	return "The Authorization Server answers invalid_client: is its certificate" + subject +
		" not yet registered in Chaman?" + formerSigns
}
