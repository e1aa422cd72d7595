// Package explain says what would become of a request, by taking it through the endpoint up
// to the point where it would be sent.
package explain

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/server"
)

// Explanation is what would become of a request, without sending it.
type Explanation struct {
	Caller, Listener string
	Route, Action    string
	Provider         string
	Enterprise       string
	Client           string
	Scopes           []string
	// Upstream is the URL that would be called. Assumed is true if the provider's
	// base URL is not known, since the registry was not asked.
	Upstream string
	Assumed  bool
	// Header is what the upstream is told about the enterprise, empty for nothing.
	Header string
	// MaxBody is the route's limit in bytes, 0 for none.
	MaxBody int64
	// CallerConcurrency is in words how many calls the caller may have under way.
	CallerConcurrency string
	// EnterpriseRate, CallerRate and UpstreamRate are in words; Class is the caller's.
	EnterpriseRate, CallerRate, UpstreamRate, Class string
	// Concurrency, Timeouts, Retry, Breaker and Cache say in words how the upstream is
	// called.
	Concurrency, Timeouts, Retry, Breaker, Cache string
	// WhoMay are the names of the callers that may make this call for this enterprise.
	WhoMay []string
	// Inbox says which providers a call to the federated inbox would be made to, and
	// which not and why; empty for any other call.
	Inbox string
	// Status and Problem are the gateway's own answer, if it would not send the
	// request on.
	Status  int
	Problem string
}

// Request is a request that is only thought of.
type Request struct {
	Method string
	// Target is a path with its query, or a whole URL.
	Target string
	// From is the caller's address, Listener the name of the listener it comes in by.
	From     netip.Addr
	Listener string
	Header   http.Header
	// Certificate is the client certificate, taken for verified; nil for none.
	Certificate *x509.Certificate
	// Body is what grant/citizen is asked in.
	Body []byte
	// Online has the registry asked first, so that a provider's real URL is known.
	Online bool
}

// Explain takes a request through the endpoint up to the point where it would be sent.
func Explain(ctx context.Context, g *operate.View, q Request) (Explanation, error) {
	// The path is parsed by the endpoint itself; this is for http.Request's sake.
	u, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return Explanation{},
			fmt.Errorf("reading %q: give a path such as /enterprises/0206731645/ebox/providers/nsso/ebox/messages", q.Target)
	}
	if q.Online {
		if err := g.Directory.Refresh(ctx); err != nil {
			return Explanation{}, err
		}
	}
	x := &explainer{View: g}
	endpoint := g.Endpoint(x, x.watching(g.Routes), x.show, x.done)

	r := &http.Request{
		Method: q.Method, URL: u, RequestURI: q.Target, Host: "localhost", Header: q.Header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if len(q.Body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.Body)), int64(len(q.Body))
	}
	if q.Certificate != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{q.Certificate},
			VerifiedChains: [][]*x509.Certificate{{q.Certificate}}}
	}
	var answer recorder
	endpoint.ServeHTTP(&answer, r.WithContext(server.WithPeer(ctx, q.Listener, q.From)))
	x.found.Status = answer.status
	if x.found.Upstream == "" {
		x.found.Problem = answer.body.String()
	}
	for i, route := range g.Config.Routes {
		if route.Name == x.found.Route && x.found.Upstream != "" {
			x.explainLimits(q.Method, &route)
			x.found.WhoMay = x.whoMay(q.Method, g.Routes[i])
		}
	}
	return x.found, nil
}

// explainer stands where the proxy does and writes down what it would have sent.
type explainer struct {
	*operate.View
	found Explanation
	// record is the request's, keep what the cache would be told.
	record call.Record
	keep   call.Keep
}

// show is called in place of asking all providers.
func (x *explainer) show(providers []inbox.Provider) {
	x.found.Inbox = describeInbox(providers)
	if x.Directory.NoListYet() {
		x.found.Inbox = "every active provider of the registry, which was not asked: --online asks it"
	}
}

// Serve is called with everything decided and nothing sent.
func (x *explainer) Serve(w http.ResponseWriter, _ *http.Request, c *call.Call) {
	if c.Credential != nil {
		x.found.Client, x.found.Scopes = c.Credential.Client(), c.Credential.Scopes()
	}
	x.found.MaxBody, x.keep = c.MaxBody, c.Keep
	if c.Represented != nil {
		x.found.Header = call.RepresentedField + ": " + strings.Join(c.Represented, ", ")
	}
	if u, err := c.URL(); err == nil {
		x.found.Upstream = u.String()
	}
	w.WriteHeader(http.StatusNoContent)
}

func (x *explainer) done(r *call.Record) {
	x.record = *r
	x.found.Caller, x.found.Listener, x.found.Route = r.Caller, r.Listener, r.Route
	x.found.Action, x.found.Provider = r.Action.String(), r.Provider
	x.found.Enterprise = r.Enterprise.String()
	if r.Own {
		x.found.Enterprise = "own"
	}
}

// watching notes how answers would be kept, and lets federated routes lead to
// providers that are not known yet.
func (x *explainer) watching(routes []*server.Route) []*server.Route {
	list := make([]*server.Route, len(routes))
	for i, r := range routes {
		assumed := *r
		assumed.Target = func(c *call.Call) (server.Target, error) {
			target, err := r.Target(c)
			if err == nil || c.Provider == "" || !x.Directory.NoListYet() {
				return target, err
			}
			return x.assume(i, c)
		}
		list[i] = &assumed
	}
	return list
}

func (x *explainer) assume(route int, c *call.Call) (server.Target, error) {
	base, err := url.Parse("https://" + url.PathEscape(c.Provider) + ".invalid")
	if err != nil {
		return server.Target{}, err
	}
	x.found.Assumed = true
	return x.Assume(route, base, c)
}

// recorder is the writer of an answer that nobody reads but us.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// describeInbox says who would be asked, and who would not and why.
func describeInbox(providers []inbox.Provider) string {
	var asked, others []string
	for _, p := range providers {
		if p.Refusal == nil {
			asked = append(asked, p.ID)
		} else {
			others = append(others, p.ID+" ("+p.Reason+")")
		}
	}
	s := strings.Join(asked, ", ")
	if len(asked) == 0 {
		s = "nobody"
	}
	if len(others) > 0 {
		s += "; not asked: " + strings.Join(others, ", ")
	}
	return s
}
