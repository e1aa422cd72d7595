package server

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/problem"
)

// edge is what the gateway demands of a request before it looks at what is asked:
// that it is meant for this gateway (Host) and that no page in somebody's browser
// sent it (Origin, Sec-Fetch-Site, Referer).
//
// The endpoint asks for no credentials, so anything on the machine that can reach
// it can use it, and a browser reaches it on behalf of any page that its user
// visits. DNS rebinding makes such a page same-origin, which is why the Host is
// checked as well: the name an attacker rebinds is one that we do not know.
type edge struct {
	hosts   map[string]bool // lower case, without port
	domains []string        // ".example.be", whose subdomains are known
	origins map[string]bool // as a browser writes them
}

// newEdge makes the rules. publicUrl, if any, and allowedHosts name the gateway, a host
// "*.example.be" all subdomains; allowedOrigins are those of pages that may use it, as
// "https://app.example.be".
func newEdge(c *config.Server) *edge {
	e := &edge{hosts: map[string]bool{"localhost": true}, origins: make(map[string]bool, len(c.AllowedOrigins))}
	if c.PublicURL != nil {
		e.hosts[strings.ToLower(c.PublicURL.Hostname())] = true
	}
	for _, h := range c.AllowedHosts {
		if domain, ok := strings.CutPrefix(h, "*"); ok {
			e.domains = append(e.domains, strings.ToLower(domain))
			continue
		}
		e.hosts[strings.ToLower(hostname(h))] = true
	}
	for _, o := range c.AllowedOrigins {
		e.origins[strings.ToLower(strings.TrimSuffix(o, "/"))] = true
	}
	return e
}

// check refuses a request that is not for this gateway, or that a page sent which may not: with
// refusal as what the page is told. It gives the origin that was allowed, empty if there was
// none. proxied reports whether the request names an upstream in place of the gateway.
func (e *edge) check(r *http.Request, c *conn, proxied bool, refusal string) (origin string, err error) {
	switch {
	case proxied || e.knows(r, c):
	case r.Method == http.MethodConnect || !strings.HasPrefix(r.RequestURI, "/") && r.RequestURI != "*":
		return "", problem.Misdirected("This gateway is no proxy. Call its own paths, or, for a program that knows the " +
			"upstream's URL alone, have the platform team set server.forwardProxy.")
	default:
		return "", problem.Misdirected("This gateway does not answer for the host that the request names. Use localhost, " +
			"the gateway's address or its public URL, or have the platform team add the name to server.allowedHosts.")
	}
	origin, foreign := e.page(r)
	if foreign != "" {
		return "", foreignPage(foreign, refusal)
	}
	return origin, nil
}

func (e *edge) knows(r *http.Request, c *conn) bool {
	if r.Host == "" {
		// Only HTTP/1.0 may leave it out (RFC 9112, section 3.2).
		return !r.ProtoAtLeast(1, 1)
	}
	host := strings.ToLower(hostname(r.Host))
	if e.hosts[host] {
		return true
	}
	for _, domain := range e.domains {
		if len(host) > len(domain) && strings.HasSuffix(host, domain) {
			return true
		}
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().WithZone("") == c.local
}

// hostname strips port, brackets and a trailing dot.
func hostname(host string) string {
	if strings.HasSuffix(host, "]") {
		return strings.Trim(host, "[]")
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.TrimSuffix(host, ".")
}

// page reports whether a browser's page sent a request, by the fields
// that a script cannot set: origin is that of a page which may, foreign the field that
// names one which may not.
func (e *edge) page(r *http.Request) (origin, foreign string) {
	h := r.Header
	if origins := h["Origin"]; len(origins) > 0 {
		if len(origins) == 1 && e.origins[strings.ToLower(origins[0])] {
			return origins[0], ""
		}
		return "", "Origin"
	}
	for _, site := range h["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return "", "Sec-Fetch-Site"
		}
	}
	for _, referer := range h["Referer"] {
		from, err := url.Parse(referer)
		if err != nil || !e.sameSite(from, r) {
			return "", "Referer"
		}
	}
	return "", ""
}

func (e *edge) sameSite(from *url.URL, r *http.Request) bool {
	return from.Host != "" && strings.EqualFold(from.Host, r.Host) ||
		e.origins[strings.ToLower(from.Scheme+"://"+from.Host)]
}

// sameOrigin refuses to a browser an opening or a write that no page of the gateway's own
// origin asked for. Sec-Fetch-Site: none, which a typed address has, survives redirects: a
// link in a mail to a site that redirects here would mark a document read.
func (x *exchange) sameOrigin() error {
	switch c := x.c; c.Action {
	case ebox.Open, ebox.Change, ebox.Reply, ebox.Publish:
	case ebox.Mandates:
		if c.Method == http.MethodGet || c.Method == http.MethodHead {
			return nil
		}
	default:
		return nil
	}
	if x.origin != "" || !fetches(x.r.Header) {
		return nil
	}
	if site := x.r.Header["Sec-Fetch-Site"]; len(site) == 1 && site[0] == "same-origin" {
		return nil
	}
	return foreignPage("Sec-Fetch-Site", "A browser opens documents and changes something only for a page of this "+
		"gateway's own. A program whose library adds Sec-Fetch fields sets Sec-Fetch-Site: same-origin.")
}

// fetches reports whether a request has fetch metadata. The fetch of server-side JavaScript adds
// Sec-Fetch-Mode alone; no browser sends that without the site.
func fetches(h http.Header) bool {
	fields := 0
	for name := range h {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			fields++
		}
	}
	if agent := h["User-Agent"]; fields == 1 && len(h["Sec-Fetch-Mode"]) == 1 && len(agent) == 1 {
		return agent[0] != "node" && agent[0] != "undici" && !strings.HasPrefix(agent[0], "Deno/")
	}
	return fields > 0
}

// What a page is told that may not use the endpoint, or what Guard guards.
const (
	notThisGateway = "A page in a browser may not use this gateway. If it must, have the platform team add its origin " +
		"to server.allowedOrigins."
	notThisListener = "A page in a browser may not use this listener. Use curl, the gateway's own commands, or the page " +
		"that the listener serves."
)

func foreignPage(field, detail string) error {
	return problem.Forbidden(detail,
		problem.Issue{Type: problem.IssueInvalidInput, In: "header", Name: field, Detail: "names a site that is not allowed"})
}

// isBrowser reports whether a browser wrote a request, by fields that programs do not send:
// the second is all that comes with a visit by plain http to another machine.
func isBrowser(h http.Header) bool {
	return fetches(h) || len(h["Upgrade-Insecure-Requests"]) > 0
}

var noSniffing = []string{"nosniff"}

// contained is the policy of a page that came as a document: no script runs, and nothing is
// loaded from anywhere. A picture or a frame that it names could be another document, which
// asking for marks read.
const contained = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

// contain keeps what a browser shows from acting. An attachment that is a page would
// otherwise run in the gateway's own origin, and its script could read every e-Box
// with requests that check takes for the user's. In a sandbox its origin is null.
// What cannot run is shown as ever. A 304 without a type leaves what the browser has.
func contain(h http.Header, status int) {
	h["X-Content-Type-Options"] = noSniffing
	types := h["Content-Type"]
	if len(types) == 1 && cannotRun(types[0]) || len(types) == 0 && status == http.StatusNotModified {
		return
	}
	own := h["Content-Security-Policy"] // perhaps shared with an answer in the cache
	h["Content-Security-Policy"] = append(own[:len(own):len(own)], contained)
}

// cannotRun reports whether no browser makes a page with scripts of a media type. A list
// in one field may be read as any of its items.
func cannotRun(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || strings.IndexByte(contentType, ',') >= 0 {
		return false
	}
	switch media {
	case "application/json", "application/problem+json", "text/plain", "text/csv", "application/pdf", "application/zip",
		"application/octet-stream", "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}

// exposeTo adds the CORS fields (Fetch standard) that let a page of an allowed
// origin read the answer.
func exposeTo(h http.Header, origin string) {
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = []string{"*"}
	own := h["Vary"] // perhaps shared with an answer in the cache
	h["Vary"] = append(own[:len(own):len(own)], "Origin")
}

// isPreflight tells a CORS preflight from an OPTIONS request of a program.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight adds what a preflight of an allowed origin asks for.
func preflight(h http.Header, r *http.Request, allow string) {
	h["Access-Control-Allow-Methods"] = []string{allow}
	if names := r.Header.Values("Access-Control-Request-Headers"); len(names) > 0 {
		h["Access-Control-Allow-Headers"] = names
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h["Access-Control-Allow-Private-Network"] = []string{"true"}
	}
	h["Access-Control-Max-Age"] = []string{"600"}
}

// Guard puts the rules of the edge in front of a handler that is not part of the
// endpoint, such as the admin listener's. Nothing there is for pages of other sites, so
// whoever is refused is not told how to allow them.
func (e *Endpoint) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := e.edge.check(r, connOf(r.Context()), false, notThisListener); err != nil {
			problem.Write(w, r, problem.From(err), call.NewID(), 0)
			return
		}
		next.ServeHTTP(w, r)
	})
}
