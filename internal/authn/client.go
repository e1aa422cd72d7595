package authn

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/watch"
)

// client is one OAuth client while the gateway runs: its key, the key that may
// come next, and its sources.
type client struct {
	name   string // in the configuration
	config config.Client
	tokens *Tokens
	// key signs; nil if none could be loaded yet.
	key atomic.Pointer[Key]

	// What follows belongs to the goroutine that watches: what was last seen of the key's
	// files, and when the expiry of the certificate was last logged, and its state then.
	files    *watch.Files
	warned   time.Time
	warnedOf string

	mu      sync.Mutex
	sources map[string]*Source // by canonical scopes, parted by blanks
	pending *pendingKey
	// keyFailure says why the files as they are cannot be loaded; nil if they can.
	keyFailure *failure
	// wake has the files looked at, and a pending key tried, at once.
	wake chan struct{}
}

// newClient loads the client's key, if that is possible.
func newClient(t *Tokens, name string, c config.Client) *client {
	n := &client{
		name: name, config: c, tokens: t,
		// The files are remembered before they are loaded: a change in between is then
		// seen as one.
		files:   watch.NewFiles(keyFiles(c)...),
		sources: make(map[string]*Source),
		wake:    make(chan struct{}, 1),
	}
	n.reload()
	n.warnOfExpiry()
	return n
}

// source returns the source for canonical scopes, making it the first time.
func (c *client) source(scopes []string) *Source {
	name := strings.Join(scopes, " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sources[name]; s != nil {
		return s
	}
	if len(scopes) == 0 {
		c.tokens.log.Warn("tokens without scopes are asked for: they open all that the client may", "client", c.name)
	}
	s := &Source{client: c, scopes: scopes}
	c.sources[name] = s
	return s
}

// lookUp returns the source for canonical scopes, nil if there is none yet.
func (c *client) lookUp(scopes string) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sources[scopes]
}

// sourceList gives the sources in the order of their scopes.
func (c *client) sourceList() []*Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*Source, 0, len(c.sources))
	for _, name := range slices.Sorted(maps.Keys(c.sources)) {
		list = append(list, c.sources[name])
	}
	return list
}

// fetch asks the Authorization Server for one token.
func (c *client) fetch(ctx context.Context, key *Key, scopes []string) (t Token, err error) {
	defer c.contain(&err)
	return c.tokens.endpoint.fetch(ctx, c, key, scopes)
}

// contain makes a panic over what a server or Redis answered a failure of that one request.
// Requests run on goroutines of their own, where it would end the gateway.
func (c *client) contain(err *error) {
	if fault := recover(); fault != nil {
		c.tokens.log.Error("a token request panicked", "client", c.name, "error", printable.Panic(fault))
		*err = &UnavailableError{Client: c.name, Reason: "a fault of the gateway, which its log shows"}
	}
}

// obtain gets a token for a source, through the shared copy if there is one.
func (c *client) obtain(ctx context.Context, key *Key, scopes []string, stale string) (t Token, err error) {
	defer c.contain(&err)
	fetch := func(ctx context.Context) (Token, error) { return c.fetch(ctx, key, scopes) }
	if c.tokens.shared == nil {
		return fetch(ctx)
	}
	// The store has the time of one request more: waiting for another replica's.
	ctx, cancel := context.WithTimeout(ctx, 2*c.tokens.endpoint.oauth.Timeout)
	defer cancel()
	name := c.tokenKey(key, scopes)
	t, err = c.tokens.shared.Obtain(ctx, name, stale, fetch)
	var (
		refused     *RefusedError
		unavailable *UnavailableError
	)
	switch {
	case err == nil && (t.Key() != name || !t.Valid(c.tokens.now())):
		return Token{}, &UnavailableError{Client: c.name, Reason: "the shared copy gave a token that does not belong here"}
	case err == nil || errors.As(err, &refused) || errors.As(err, &unavailable):
		return t, err
	}
	return Token{}, &UnavailableError{Client: c.name, Reason: "the shared copy of the tokens failed", Err: err}
}

// retry ends the pauses of the client's sources and of its pending key.
func (c *client) retry() {
	c.mu.Lock()
	if c.pending != nil {
		c.pending.last = nil
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it will be looked at
	}
	for _, s := range c.sourceList() {
		s.retry()
	}
}

// noKey is the error of a client that has nothing to sign with.
func (c *client) noKey() error {
	e := &UnavailableError{Client: c.name, Reason: "there is no key to sign with", NoKey: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keyFailure != nil {
		e.Err, e.Since = c.keyFailure.err, c.keyFailure.since
	}
	return e
}

// warnOfExpiry logs once a day that the certificate needs attention, and at once when it
// expires.
func (c *client) warnOfExpiry() {
	key := c.key.Load()
	if key == nil {
		return
	}
	now := c.tokens.now()
	s := key.status(now)
	if s.State == KeyUsable || s.State == KeyNoCertificate {
		return
	}
	if s.State == c.warnedOf && now.Sub(c.warned) < 24*time.Hour {
		return
	}
	c.warned, c.warnedOf = now, s.State
	c.tokens.log.Warn("the certificate of an OAuth client needs attention: register a new one in Chaman in time",
		"client", c.name,
		"state", s.State, "subject", s.Subject, "notBefore", s.NotBefore, "notAfter", s.NotAfter, "daysLeft", *s.DaysLeft)
}
