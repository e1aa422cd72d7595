// Package explain says what would become of a request, by taking it through the endpoint up
// to the point where it would be sent.
package explain

import (
	"bytes"
	"cmp"
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
	// Rows say in order what is decided, for people.
	Rows []Row
	// Problem is the gateway's own answer, if it would not send the request on; Refused tells
	// that this is an error.
	Problem string
	Refused bool
}

// Row is one thing that is decided. A row without a name adds to the one before.
type Row struct{ Name, Value string }

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
	x.explainCall()
	var found Explanation
	switch {
	case x.sent:
		for i, route := range g.Config.Routes {
			if route.Name == x.call.Route {
				x.explainLimits(&route)
				x.row("who may", cmp.Or(strings.Join(x.whoMay(g.Routes[i]), ", "), "nobody else"))
			}
		}
	case x.inbox != "":
		x.row("asks", x.inbox)
	default:
		x.row("answer", fmt.Sprintf("%d, from the gateway itself", answer.status))
		found.Problem, found.Refused = answer.body.String(), answer.status >= http.StatusBadRequest
	}
	found.Rows = x.rows
	return found, nil
}

// explainer stands where the proxy does and writes down what it would have sent.
type explainer struct {
	*operate.View
	rows []Row
	// call is what was decided; sent says that it would have been sent on. inbox says which
	// providers would have been asked, empty for any other call.
	call  *call.Call
	sent  bool
	inbox string
	// assumed is true if the provider's base URL is not known, since the registry was not asked.
	assumed bool
}

// row adds what has a value.
func (x *explainer) row(name, value string) {
	if value != "" {
		x.rows = append(x.rows, Row{name, value})
	}
}

// show is called in place of asking all providers. It says who would be asked, and who would not
// and why.
func (x *explainer) show(providers []inbox.Provider) {
	var asked, others []string
	for _, p := range providers {
		if p.Refusal == nil {
			asked = append(asked, p.ID)
		} else {
			others = append(others, p.ID+" ("+p.Reason+")")
		}
	}
	x.inbox = cmp.Or(strings.Join(asked, ", "), "nobody")
	if len(others) > 0 {
		x.inbox += "; not asked: " + strings.Join(others, ", ")
	}
	if x.Directory.NoListYet() {
		x.inbox = "every active provider of the registry, which was not asked: --online asks it"
	}
}

// Serve is called with everything decided and nothing sent.
func (x *explainer) Serve(w http.ResponseWriter, _ *http.Request, _ *call.Call) {
	x.sent = true
	w.WriteHeader(http.StatusNoContent)
}

func (x *explainer) done(r *call.Record) { x.call = r.Call }

// explainCall says whose call it is, for whom, and where it goes.
func (x *explainer) explainCall() {
	c := x.call
	caller := "(everybody: no callers are configured)"
	if n := len(x.Config.Callers); n > 0 {
		caller = fmt.Sprintf("(none of the %d callers matches)", n)
	}
	x.row("caller", cmp.Or(c.Caller, caller))
	x.row("route", c.Route)
	x.row("provider", c.Provider)
	x.row("action", c.Action.String())
	if c.Own {
		x.row("enterprise", "own")
	} else {
		x.row("enterprise", c.Enterprise.String())
	}
	if !x.sent {
		return
	}
	if c.Credential != nil {
		x.row("client", c.Credential.Client())
		x.row("scopes", strings.Join(c.Credential.Scopes(), " "))
	}
	if u, err := c.URL(); err == nil {
		x.row("upstream", u.String())
	}
	if x.assumed {
		x.row("", "(the host is a placeholder: the provider's base URL comes from the registry, which was not asked; the "+
			"scopes are those for version 3 of its API; --online asks)")
	}
	if c.Represented != nil {
		x.row("header", call.RepresentedField+": "+strings.Join(c.Represented, ", "))
	}
}

// watching lets federated routes lead to providers that are not known yet.
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
	x.assumed = true
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
