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
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/config"
)

const (
	// poll is how often key, certificate and password files are read.
	poll = 10 * time.Second
	// defaultTimeout is that of Options.
	defaultTimeout = 10 * time.Second
)

// Options are what the tokens need from outside.
type Options struct {
	// Clients are the OAuth clients; their names differ.
	Clients []Client
	// Transport carries token requests: the upstream stack of the token endpoint,
	// without a token layer. It tells a stale connection by a *wire.Error.
	Transport http.RoundTripper
	// Shared is a copy of the tokens that replicas share; nil for none.
	Shared Shared
	// Now tells the time; time.Now if nil.
	Now func() time.Time
	// Log receives what the platform team should know; discarded if nil.
	Log *slog.Logger
	// Timeout is the longest that one token request may take; 10 s if 0.
	Timeout time.Duration
	// Environment is named in refusals, so that people look in the right Chaman.
	Environment string
	// AllowHTTP lets assertions and tokens travel between the gateway and a token
	// endpoint over plain http. The loopback interface needs no permission. Anybody
	// on the way can then use them: for laboratories only.
	AllowHTTP bool
}

// Client is one OAuth client of the configuration.
type Client struct {
	// Name is its name in the configuration, Config what that says of it.
	Name   string
	Config config.Client
	// TokenURL is the token endpoint; Audience the aud of assertions, TokenURL if "".
	TokenURL, Audience string
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
	endpoint endpoint
	shared   Shared
	log      *slog.Logger
	now      func() time.Time
	clients  []*client // in the order of Options

	// base is the context of everything that runs in the background.
	base   context.Context
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and Add of running against its Wait
	closed bool
	// running counts the token requests under way.
	running sync.WaitGroup
}

// New checks the options and loads the keys. A key that cannot be loaded is no
// error: its client answers with one until the files are mended, and Status says
// why. Tokens can be used at once; Run adds what happens in the background.
func New(o Options) (*Tokens, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Tokens{
		endpoint: endpoint{
			transport: o.Transport, now: o.Now, timeout: cmp.Or(o.Timeout, defaultTimeout), environment: o.Environment,
		},
		shared: o.Shared, log: o.Log, now: o.Now,
	}
	t.base, t.cancel = context.WithCancel(context.Background())
	for _, c := range o.Clients {
		if err := c.complete(o.AllowHTTP); err != nil {
			return nil, fmt.Errorf("setting up OAuth client %q: %w", c.Name, err)
		}
		if t.client(c.Name) != nil {
			return nil, fmt.Errorf("setting up OAuth client %q: there are two of this name", c.Name)
		}
		t.clients = append(t.clients, newClient(t, c))
	}
	return t, nil
}

// complete fills in the audience and checks what must not be wrong whoever sets it up.
func (c *Client) complete(allowHTTP bool) error {
	if c.Name == "" || c.Config.ClientID == "" {
		return errors.New("it needs a name and a client id")
	}
	u, err := url.Parse(c.TokenURL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("the token URL must be an absolute https URL without user or fragment")
	}
	if !mayCarryToken(u, allowHTTP) {
		return errors.New("the token URL is plain http: use https, or allow http if this is a laboratory")
	}
	if c.Audience == "" {
		c.Audience = c.TokenURL
	}
	return nil
}

func (t *Tokens) client(name string) *client {
	for _, c := range t.clients {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Source returns the source of the tokens of a client with the scopes, the same
// one for the same set of scopes in any order. Callers keep it rather than look it
// up per request. No scopes at all means a token with every scope that the client
// has, which only an upstream of one's own should see; it is logged as a warning.
func (t *Tokens) Source(client string, scopes []string) (*Source, error) {
	c := t.client(client)
	if c == nil {
		return nil, fmt.Errorf("looking up OAuth client %q: there is none of this name", client)
	}
	canonical, err := canonicalScopes(scopes)
	if err != nil {
		return nil, fmt.Errorf("preparing tokens of %s: %w", client, err)
	}
	return c.source(canonical), nil
}

// Prime returns nil if a client has had a token, of whatever scopes, since it was made,
// and otherwise asks for one, which Shared may have. A scope that is refused says
// nothing about the client: the next set is tried. Failures are remembered as those of
// callers are, so that Prime may be called every second. The source first, if it is not
// nil and the client's, is tried first: one that is needed anyway.
func (t *Tokens) Prime(ctx context.Context, client string, first *Source) error {
	c := t.client(client)
	if c == nil {
		return fmt.Errorf("looking up OAuth client %q: there is none of this name", client)
	}
	var last error
	list := c.sourceList()
	if i := slices.Index(list, first); i > 0 {
		list = slices.Insert(slices.Delete(list, i, i+1), 0, first)
	}
	for _, s := range list {
		if s.hasHadToken() {
			return nil
		}
	}
	for _, s := range list {
		if _, last = s.Token(ctx); last == nil {
			return nil
		}
		var refused *RefusedError
		if !errors.As(last, &refused) || refused.Code != "invalid_scope" {
			return last
		}
	}
	return last
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
	c := t.client(client)
	if c == nil {
		return Token{}, fmt.Errorf("looking up OAuth client %q: there is none of this name", client)
	}
	canonical, err := canonicalScopes(scopes)
	if err != nil {
		return Token{}, fmt.Errorf("preparing a token of %s: %w", client, err)
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
	return c.fetch(ctx, key, canonical)
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
	loops.Go(func() { t.renewals(ctx) })
	<-ctx.Done()
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	loops.Wait()
	t.running.Wait()
}

// renewals replaces, once a second, the tokens that are due and were used. The
// first request after the moment does so too; this loop is for tokens that are
// used now and then, so that nobody has to wait.
func (t *Tokens) renewals(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := t.now()
		for _, c := range t.clients {
			for _, s := range c.sourceList() {
				if h := s.current.Load(); h != nil && h.used.Load() && h.valid(now) {
					s.renewIfDue(h, now)
				}
			}
		}
	}
}

// spawn runs f in the background, on a context that outlives every request; false
// if Run has ended.
func (t *Tokens) spawn(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
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
		old := from.client(c.Name)
		if old == nil || old.Config.ClientID != c.Config.ClientID || old.TokenURL != c.TokenURL ||
			old.Audience != c.Audience {
			continue
		}
		c.adoptKey(old.key.Load())
		for _, s := range c.sourceList() {
			if prior := old.lookUp(strings.Join(s.scopes, " ")); prior != nil {
				s.adopt(prior.current.Load())
			}
		}
	}
}

// mayCarryToken says whether a token or an assertion may be sent to u: over https,
// within this machine, or where http was allowed in so many words.
func mayCarryToken(u *url.URL, allowHTTP bool) bool {
	return u.Scheme == "https" || allowHTTP || config.IsLoopbackHost(u.Hostname())
}
