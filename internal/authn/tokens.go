// Package authn gets the access tokens that calls to the e-Box services carry.
//
// The Authorization Server issues them for client credentials (RFC 6749, section
// 4.4) to a client that authenticates with a signed JWT, private_key_jwt (RFC
// 7521, RFC 7523). LoadKey reads the key that signs from PKCS#12 (RFC 7292), PEM
// or a Java keystore; Tokens watches the files and lets a new key replace the old
// one once a token was obtained with it.
//
// A Source keeps one token: one per token endpoint, audience, client, key and set
// of scopes, and never per represented enterprise, which is what TokenKey says.
// It is fetched once however many callers wait, on a context of its own; replaced
// in the background before it expires; and not used a second longer. Refusals and
// outages are told apart, remembered, and neither is hammered.
//
// On the way to an upstream, the token layer takes the token from the Source, and
// renews it once if the upstream answers 401 (RFC 6750, section 3); the credentials
// layer, lowest above the transport, writes it into the request.
//
// Tokens, assertions, keys and passwords appear in no log, status or error.
package authn

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/flight"
)

const (
	// poll is how often key, certificate and password files are read.
	poll = 10 * time.Second
	// renewalPoll is how often it is seen which tokens are due.
	renewalPoll = time.Second
)

// Options are what the tokens need from outside.
type Options struct {
	// OAuth are the clients and their token endpoint, as the configuration's check leaves them.
	OAuth config.OAuth
	// Transport carries token requests: the upstream stack of the token endpoint,
	// without a token layer. A stale connection is a *wire.Error.
	Transport http.RoundTripper
	// Shared is a copy of the tokens that replicas share; nil for none.
	Shared Shared
	Now    func() time.Time
	// Log receives what the platform team should know.
	Log *slog.Logger
	// Environment is named in refusals, so that people look in the right Chaman.
	Environment string
}

// Shared is a copy of the tokens that several replicas share, so that ten of them
// ask the Authorization Server once.
type Shared interface {
	// Obtain returns the valid token that is stored under key, unless its hash is
	// stale, which names the token that the caller has and wants replaced; otherwise
	// what fetch returns, storing it. Of callers in all replicas, one at a time calls
	// fetch. If the store cannot be reached or is slow, Obtain calls fetch at once.
	Obtain(ctx context.Context, key TokenKey, stale string, fetch func(context.Context) (Token, error)) (Token, error)
}

// Tokens holds the OAuth clients, their keys and the sources of their tokens.
type Tokens struct {
	o       Options
	clients []*client // in the order of their names
	// clock is what the last answer said of the server's clock.
	clock atomic.Pointer[ClockStatus]

	// base is the context of everything that runs in the background; running counts the token requests
	// under way, and flights holds them. None begins after cancel, which mu guards.
	base    context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	running sync.WaitGroup
	flights flight.Group[*Source, Token]
}

// New loads the keys. A key that cannot be loaded is no error: its client answers with one
// until the files are mended, and Status says why. Tokens can be used at once; Run adds what
// happens in the background.
func New(o Options) *Tokens {
	t := &Tokens{o: o}
	t.base, t.cancel = context.WithCancel(context.Background())
	for _, name := range slices.Sorted(maps.Keys(o.OAuth.Clients)) {
		t.clients = append(t.clients, newClient(t, name, o.OAuth.Clients[name]))
	}
	return t
}

// client finds a client by its name.
func (t *Tokens) client(name string) (*client, error) {
	for _, c := range t.clients {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("looking up OAuth client %q: there is none of this name", name)
}

// find is client, and the scopes in their canonical form.
func (t *Tokens) find(name string, scopes []string) (*client, []string, error) {
	c, err := t.client(name)
	if err != nil {
		return nil, nil, err
	}
	if scopes, err = canonicalScopes(scopes); err != nil {
		return nil, nil, fmt.Errorf("preparing tokens of %s: %w", name, err)
	}
	return c, scopes, nil
}

// Source returns the source of the tokens of a client with the scopes, the same
// one for the same set of scopes in any order. Callers keep it rather than look it
// up per request. No scopes at all means a token with every scope that the client
// has, which only an upstream of one's own should see; it is logged as a warning.
func (t *Tokens) Source(client string, scopes []string) (*Source, error) {
	c, canonical, err := t.find(client, scopes)
	if err != nil {
		return nil, err
	}
	return c.source(canonical), nil
}

// Prime returns nil if a client has had a token, of whatever scopes, since it was made,
// and otherwise asks for one, which Shared may have. A scope that is refused says
// nothing about the client: the next set is tried. Failures are remembered as those of
// callers are, so that Prime may be called every second. The source first, if it is not
// nil and the client's, is tried first: one that is needed anyway.
func (t *Tokens) Prime(ctx context.Context, client string, first *Source) error {
	c, err := t.client(client)
	if err != nil {
		return err
	}
	list := c.sourceList()
	if slices.ContainsFunc(list, (*Source).hasHadToken) {
		return nil
	}
	if slices.Contains(list, first) {
		list = append([]*Source{first}, list...)
	}
	for _, s := range list {
		if _, err = s.Token(ctx); !scopeRefused(err) {
			return err
		}
	}
	return err
}

// Retry ends every pause after a failure: what was refused, or did not answer, is asked
// at once, and the key files are read. It is for somebody who has just registered a
// certificate and does not want to wait for minutes.
func (t *Tokens) Retry() {
	for _, c := range t.clients {
		c.retry()
	}
}

// Try makes one token request that touches nothing: no source sees its result or
// its failure. With another, its key is loaded and signs; without, it is the one that
// signs now.
func (t *Tokens) Try(ctx context.Context, client string, scopes []string, another *config.Client) (Token, error) {
	c, canonical, err := t.find(client, scopes)
	if err != nil {
		return Token{}, err
	}
	key := c.key.Load()
	if another != nil {
		if key, err = LoadKey(*another); err != nil {
			return Token{}, err
		}
	}
	if key == nil {
		return Token{}, c.noKey()
	}
	return tokenRequest{c, key, canonical}.fetch(ctx)
}

// Run watches the key files and renews tokens before they expire, until ctx is
// done. When it returns, nothing runs in the background any more: valid tokens are
// still handed out, and none is fetched. Run is called at most once.
func (t *Tokens) Run(ctx context.Context) {
	var loops sync.WaitGroup
	// A client each: an Authorization Server that lets one wait must not keep
	// another's new key from being seen.
	for _, c := range t.clients {
		loops.Go(func() { c.watch(ctx) })
	}
	loops.Go(func() {
		tick := time.NewTicker(renewalPoll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				t.renew()
			}
		}
	})
	<-ctx.Done()
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	loops.Wait()
	t.running.Wait()
}

// renew begins to replace the tokens that are due.
func (t *Tokens) renew() {
	for _, c := range t.clients {
		for _, s := range c.sourceList() {
			s.renew()
		}
	}
}

// spawn runs f in the background, on a context that outlives every request; false
// if Run has ended.
func (t *Tokens) spawn(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base.Err() != nil {
		return false
	}
	t.running.Go(func() { f(t.base) })
	return true
}

// Adopt takes over what the generation before has in memory, when a new
// configuration replaces an old one: its valid tokens, for the sources that this
// generation has by now, and its keys. A client that stays must not lose the key
// that works to files whose key was never tried: that key is pending here as it
// was there. Adopt is called before Run and before the first request.
func (t *Tokens) Adopt(from *Tokens) {
	for _, c := range t.clients {
		old, _ := from.client(c.name)
		if old == nil || old.config.ClientID != c.config.ClientID ||
			from.o.OAuth.TokenURL != t.o.OAuth.TokenURL || from.o.OAuth.Audience != t.o.OAuth.Audience {
			continue
		}
		c.adoptKey(old.key.Load())
		for _, s := range c.sourceList() {
			for _, prior := range old.sourceList() {
				s.adopt(prior.current.Load())
			}
		}
	}
}
