package wire

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"
)

// Config is what a Transport is made of.
type Config struct {
	// Dial opens a connection for requests to scheme ("http" or "https") and address (host:port), TLS included. It
	// gives what NewSocket or TLS returned, and nothing else. Its errors are returned as they are: nothing was sent.
	Dial func(ctx context.Context, scheme, address string) (net.Conn, error)
	// Absolute says whether Dial leads to an http proxy, which is asked in absolute form (RFC 9112, section 3.2.2),
	// and gives its Proxy-Authorization, if any. Nil means never.
	Absolute func(scheme, address string) (absolute bool, authorization string)
	// Header bounds the wait from the end of the request to the end of the answer's head, at most an eighth more.
	Header time.Duration
	// Continue is how long the body of a request with Expect waits for a 100, from an upstream that may know nothing of
	// it; 0 is a second, as with curl.
	Continue time.Duration
	// IdleConn is how long an unused connection is kept.
	IdleConn time.Duration
	// Age gives how long a new connection is used; it is not cut while it is.
	Age func() time.Duration
	// Now is the clock for the age and the rest of connections; nil means time.Now.
	Now func() time.Time
	// Calls are those under way, and what else Transports have in common; nil means those of this one alone.
	Calls *Calls
	// Log receives answers that belong to another call; nil is for none.
	Log *slog.Logger
}

// Options are those of one exchange.
type Options struct {
	// Party is whose bytes the answer may be; "" is nobody's. A connection that served one party rests before it
	// serves another, and never does once the first used it again without a rest.
	Party string
	// Once has nothing sent a second time, even if the method is safe.
	Once bool
	// Interim gets every answer of the class 1xx but 101; 100 is among them. It is called before Do returns, on the
	// same goroutine. Its error ends the exchange. Nil means that nobody wants them.
	Interim func(code int, h http.Header) error
	// Waited is what of Config.Header has been waited already, for the answer to another request of the same. A quarter
	// of it is left at least.
	Waited time.Duration
	// Authorization, unless empty, is written in place of any field of that name.
	Authorization string
	// Resent, unless nil, is incremented when the request is sent a second time, since the first connection had ended.
	Resent *int
	// Connected, unless nil, is told of each connection before anything is sent on it, and whether it had served
	// another exchange before.
	Connected func(reused bool)
}

// Counts are numbers since the Transport was made.
type Counts struct {
	Opened  uint64 // connections
	Surplus uint64 // connections closed since bytes came that nobody had asked for
	Ended   uint64 // connections that had ended when they were looked at
	Resent  uint64 // requests sent again since a connection was stale
	Foreign uint64 // answers of other calls that were not delivered
}

// Plus adds up.
func (c Counts) Plus(d Counts) Counts {
	return Counts{c.Opened + d.Opened, c.Surplus + d.Surplus, c.Ended + d.Ended, c.Resent + d.Resent,
		c.Foreign + d.Foreign}
}

// Transport sends requests to upstreams over HTTP/1.1. It follows no redirect, decodes nothing, and adds no field but
// Host and what frames the body. It is safe for concurrent use.
type Transport struct {
	config     Config
	generation atomic.Uint64 // CloseIdleConnections begins a new one
	recent     atomic.Pointer[pool]

	opened, surplus, ended, resent, foreign atomic.Uint64

	mu    sync.Mutex
	pools map[[2]string]*pool // by scheme and host
}

// New makes a Transport without connections.
func New(c Config) *Transport {
	c.Continue = cmp.Or(c.Continue, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Calls == nil {
		c.Calls = NewCalls()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Transport{config: c, pools: make(map[[2]string]*pool)}
}

// Counts gives the numbers so far.
func (t *Transport) Counts() Counts {
	return Counts{t.opened.Load(), t.surplus.Load(), t.ended.Load(), t.resent.Load(), t.foreign.Load()}
}

// CloseIdleConnections closes the connections that are not in use, and those in use as their exchange ends.
func (t *Transport) CloseIdleConnections() {
	t.generation.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		p.sweep(true)
	}
}

// pool gives the connections for a URL.
func (t *Transport) pool(u *url.URL) (*pool, error) {
	if p := t.recent.Load(); p != nil && p.host == u.Host && p.scheme == u.Scheme {
		return p, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]string{u.Scheme, u.Host}
	p := t.pools[key]
	if p == nil {
		port, ok := map[string]string{"http": "80", "https": "443"}[u.Scheme]
		if !ok {
			return nil, fmt.Errorf("%w: its URL's scheme is neither http nor https", errRequest)
		}
		name := u.Hostname()
		if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }) {
			name, _ = idna.Lookup.ToASCII(name) // "" for none
		}
		unusable := func(r rune) bool { return r <= ' ' || strings.ContainsRune(`/?#@\`, r) }
		if name == "" || strings.ContainsFunc(name, unusable) {
			return nil, fmt.Errorf("%w: its URL has no usable host", errRequest)
		}
		host, _, _ := strings.Cut(name, "%") // the zone of an IPv6 address is this machine's
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if u.Port() != "" {
			host += ":" + u.Port()
		}
		address := net.JoinHostPort(name, cmp.Or(u.Port(), port))
		p = &pool{
			t: t, scheme: u.Scheme, host: u.Host, hostField: host, address: address,
			distrusted: t.config.Calls.distrustedUntil(address),
		}
		if t.config.Absolute != nil {
			p.absolute, p.proxyAuth = t.config.Absolute(p.scheme, p.address)
		}
		t.pools[key] = p
	}
	t.recent.Store(p)
	return p, nil
}

// RoundTrip is Do with the request's context and zero Options.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.Do(r.Context(), r, Options{})
}

// Do sends a request and gives the head of its answer, whose Body has to be closed. Once ctx is done, the exchange and
// the Body end with its cause. A body of a known length of a few kilobytes is read whole before anything is sent, and
// goes out together with the head, unless the request expects a 100. Others go up in a goroutine of their own, which
// ends with the exchange as soon as the body's Read returns.
//
// Header fields are written as they are; of r, Host, ContentLength, Body and Trailer frame the message, and Method,
// URL and Close count. Errors that come after connecting are *Error.
func (t *Transport) Do(ctx context.Context, r *http.Request, o Options) (*http.Response, error) {
	x := &exchange{Options: o, t: t, ctx: ctx, r: r, header: max(t.config.Header-o.Waited, t.config.Header/4)}
	answer, err := x.do()
	if err != nil && r.Body != nil && x.up == nil {
		r.Body.Close()
	}
	return answer, err
}
