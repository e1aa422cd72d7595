package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/problem"
)

// This file is for programs that cannot be changed: those that know an upstream by its own
// URL and can be given a proxy (http_proxy), and those that fetch a token before anything.

// place is the upstream below whose base a URL lies.
type place struct {
	route *Route
	// provider is the Document Provider's id on routes that lead to several; rest is the
	// escaped path below the base, empty or with its slash.
	provider, rest string
}

// locate finds the upstream of a URL. Of bases that lie in one another the longest counts,
// of routes with the same one the first. The path is one that call.CheckPath accepts.
func (e *Endpoint) locate(authority, path string) (at place, ok bool) {
	if !plainAuthority.MatchString(authority) {
		return at, false
	}
	for _, route := range e.o.Routes {
		provider, rest, below := route.Below(authority, path)
		if below && (!ok || len(rest) < len(at.rest)) {
			at, ok = place{route, provider, rest}, true
		}
	}
	return at, ok
}

// plainAuthority is a host and port that are written in ASCII, without user information.
var plainAuthority = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,260}$`)

// cutURL takes an absolute URL apart (RFC 9112, section 3.2.2): its scheme, its authority,
// and the path and query behind them.
func cutURL(target string) (scheme, authority, rest string, ok bool) {
	scheme, behind, ok := strings.Cut(target, "://")
	if !ok || strings.IndexByte(scheme, '/') >= 0 {
		return "", "", "", false
	}
	authority, rest = behind, "/"
	if i := strings.IndexAny(behind, "/?#"); i >= 0 {
		authority, rest = behind[:i], behind[i:]
	}
	return scheme, authority, rest, true
}

// proxied is a request to the gateway as an HTTP proxy.
type proxied struct {
	place
	// scheme and authority are the upstream's as the program writes them. Links in the
	// answer lead there, so that the program follows them by the same proxy.
	scheme, authority string
	// stub reports whether the URL is the Authorization Server's.
	stub bool
}

// asProxy looks whether the gateway is used as a proxy, and for which upstream. A URL of the
// gateway itself is none. Nothing but the upstreams is reached this way.
func (x *exchange) asProxy() error {
	if !x.e.server.ForwardProxy {
		return nil
	}
	if x.r.Method == http.MethodConnect {
		if _, err := x.identify(); err != nil {
			return err
		}
		return noTunnel()
	}
	scheme, authority, rest, ok := cutURL(x.r.RequestURI)
	if !ok {
		return nil
	}
	path, _, _ := strings.Cut(rest, "?")
	if err := call.CheckPath(path); err != nil {
		return err
	}
	at, upstream := x.e.locate(authority, path)
	switch {
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		// Links in the answer would have a scheme that no proxy serves, such as javascript.
	case x.e.isTokenURL(authority, path):
		x.proxied = &proxied{scheme: scheme, authority: authority, stub: true}
		return nil
	case upstream:
		x.proxied = &proxied{place: at, scheme: scheme, authority: authority}
		return nil
	}
	if x.e.edge.knows(x.r, x.conn) {
		return nil
	}
	if _, err := x.identify(); err != nil {
		return err
	}
	return problem.Misdirected("As a proxy, this gateway reaches the e-Box and grant/citizen upstreams of its " +
		"configuration and nothing else, and the URL lies below none of them. Have the program reach other hosts without " +
		"it (no_proxy), or correct the URL; the platform team sees the upstreams' URLs with: gateway routes.")
}

// noTunnel refuses CONNECT. What goes through a tunnel cannot be given a token.
func noTunnel() error {
	p := problem.MethodNotAllowed(http.MethodConnect, anyMethod)
	p.Detail = "This gateway makes no tunnels: it must see a call to add the token to it. Give the program the " +
		"upstream's URL with http:// in place of https://, and leave http_proxy set; the gateway itself uses https."
	return p
}

// isTokenURL reports whether a program would fetch a token at a URL: the token endpoint's own, or
// the stub's path at its host, such as that of an older version.
func (e *Endpoint) isTokenURL(authority, path string) bool {
	u := e.tokenURL
	if u == nil || !plainAuthority.MatchString(authority) || path != u.EscapedPath() && path != e.server.TokenStub {
		return false
	}
	host := links.NewForms(u, "")
	_, same := host.Below(authority, path)
	return same
}

// elsewhere gives the URL by which this caller follows a link to a Document Provider: by
// the gateway's path, or, as a proxy's caller, by the provider's own URL with the scheme
// that the caller uses.
func (x *exchange) elsewhere(link string) (string, bool) {
	_, authority, rest, ok := cutURL(link)
	if !ok {
		return "", false
	}
	path, tail := rest, ""
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		path, tail = rest[:i], rest[i:]
	}
	if call.CheckPath(path) != nil {
		return "", false
	}
	at, ok := x.e.locate(authority, path)
	if !ok || at.provider == "" {
		return "", false
	}
	if x.proxied != nil {
		return x.proxied.scheme + link[strings.Index(link, "://"):], true
	}
	prefix := x.c.Path[:len(x.c.Path)-len(x.rest)]
	return x.publicOrigin() + x.mount() + prefix + strings.Replace(at.route.Path, "{providerId}",
		url.PathEscape(at.provider), 1) + at.rest + tail, true
}

// TokenStubRoute is the name under which requests to the token stub are recorded.
const TokenStubRoute = "token-stub"

var stubMethods = []string{http.MethodPost, http.MethodOptions}

// mostOfTokenRequest is the largest token request that is read, in bytes.
const mostOfTokenRequest = 64 << 10

// stubToken is what programs get that insist on a token. It opens nothing: the gateway drops
// the callers' Authorization and adds a token of its own.
var stubToken, _ = json.Marshal(struct { // no value of it can fail
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}{"worthless", "Bearer", 3600})

// tokenStub answers a token request (RFC 6749, section 5.1). What the program sent, an
// assertion or a secret perhaps, is neither looked at nor kept.
func (e *Endpoint) tokenStub(x *exchange) error {
	x.c.Route, x.c.Query, x.c.BareQuery = TokenStubRoute, "", false
	if done, err := x.ownMethods(stubMethods); done || err != nil {
		return err
	}
	if _, err := x.identify(); err != nil {
		return err
	}
	if e.server.TokenStub == "" {
		return problem.Misdirected("This gateway gets the tokens itself, and forwards no token request. Have the program " +
			"fetch none, or have the platform team set server.tokenStub: it then gets a token that means nothing.")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(x.r.Body, mostOfTokenRequest+1))
	switch {
	case err != nil:
		return problem.BadRequest("The request's body could not be read to its end. Send the whole of it.").Because(err)
	case n > mostOfTokenRequest:
		return problem.TooLarge(mostOfTokenRequest, "The token request is larger than any.")
	}
	x.c.Record.BytesIn = n
	h := x.Header()
	h["Cache-Control"], h["Pragma"] = noStore, noCache
	x.answer(http.StatusOK, stubToken)
	return nil
}
