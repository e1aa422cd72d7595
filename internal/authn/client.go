package authn

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
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
	// files, and when the expiry of the certificate was last logged.
	files  *watch.Files
	warned time.Time

	mu      sync.Mutex
	sources []*Source // in the order of their scopes; replaced, not changed
	pending *pendingKey
	// keyFailure says why the files as they are cannot be loaded; nil if they can.
	keyFailure *Failure
	// wake has the files looked at, and a pending key tried, at once.
	wake chan struct{}
}

// newClient loads the client's key, if that is possible.
func newClient(t *Tokens, name string, c config.Client) *client {
	n := &client{
		name: name, config: c, tokens: t,
		// The files are remembered before they are loaded: a change in between is then
		// seen as one.
		files: watch.NewFiles(keyFiles(c)...),
		wake:  make(chan struct{}, 1),
	}
	n.reload()
	n.warnOfExpiry()
	return n
}

// source returns the source for canonical scopes, making it the first time.
func (c *client) source(scopes []string) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := slices.BinarySearchFunc(c.sources, scopes, func(s *Source, scopes []string) int {
		return slices.Compare(s.scopes, scopes)
	})
	if found {
		return c.sources[at]
	}
	if len(scopes) == 0 {
		c.tokens.o.Log.Warn("tokens without scopes are asked for: they open all that the client may", "client", c.name)
	}
	s := &Source{client: c, scopes: scopes, forced: make(map[string]time.Time)}
	c.sources = slices.Insert(slices.Clone(c.sources), at, s)
	return s
}

// sourceList gives the sources in the order of their scopes. It must not be changed.
func (c *client) sourceList() []*Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sources
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

// unavailable is a failure that is no refusal.
func (c *client) unavailable(reason string, cause error) *Failure {
	return &Failure{Client: c.name, Code: Unavailable, reason: reason, cause: cause}
}

// noKey is the failure of a client that has nothing to sign with.
func (c *client) noKey() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keyFailure == nil {
		return c.unavailable("its key has just been loaded", nil)
	}
	return c.keyFailure
}

// warnOfExpiry logs once a day that the certificate needs attention.
func (c *client) warnOfExpiry() {
	now, key := c.tokens.o.Now(), c.key.Load()
	if key == nil || now.Sub(c.warned) < 24*time.Hour {
		return
	}
	s := key.Status(now)
	if s.State == KeyUsable || s.State == KeyNoCertificate {
		return
	}
	c.warned = now
	c.tokens.o.Log.Warn("the certificate of an OAuth client needs attention: register a new one in Chaman in time",
		"client", c.name,
		"state", s.State, "subject", s.Subject, "notBefore", s.NotBefore, "notAfter", s.NotAfter, "daysLeft", *s.DaysLeft)
}
