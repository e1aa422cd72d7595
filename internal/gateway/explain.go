package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/proxy"
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
	// MaxBody is the route's limit in bytes, 0 for none.
	MaxBody int64
	// Status and Problem are the gateway's own answer, if it would not send the
	// request on.
	Status  int
	Problem string
}

// explain takes a request through the endpoint up to the point where it would be
// sent. target is a path with its query, from the caller's address, listener the
// name of the listener it would come in by.
func (g *generation) explain(method, target string, from netip.Addr, listener string, header http.Header) (Explanation, error) {
	// The path is parsed by the endpoint itself; this is for http.Request's sake.
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return Explanation{}, fmt.Errorf("reading %q: give a path such as /enterprises/0206731645/ebox/providers/nsso/ebox/messages", target)
	}
	x := &explainer{gateway: g}
	endpoint := g.newEndpoint(x, x.assuming(g.routes), x.done)

	r := &http.Request{
		Method: method, URL: u, RequestURI: target, Host: "localhost", Header: header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	var answer recorder
	endpoint.ServeHTTP(&answer, r.WithContext(server.WithPeer(context.Background(), listener, from)))
	x.found.Status = answer.status
	if x.found.Upstream == "" {
		x.found.Problem = answer.body.String()
	}
	return x.found, nil
}

// explainer stands where the proxy does and writes down what it would have sent.
type explainer struct {
	gateway *generation
	found   Explanation
}

// Serve is called with everything decided and nothing sent.
func (x *explainer) Serve(w http.ResponseWriter, r *http.Request, c *proxy.Call) {
	if source, ok := r.Context().Value(authn.SourceKey).(*authn.Source); ok {
		x.found.Client, x.found.Scopes = source.Client(), source.Scopes()
	}
	x.found.MaxBody = c.MaxBody
	if u, err := proxy.Join(c.Upstream.Base, c.Path, c.RawQuery); err == nil {
		x.found.Upstream = u.String()
	}
	w.WriteHeader(http.StatusNoContent)
}

func (x *explainer) done(r *exchange.Record) {
	x.found.Caller, x.found.Listener, x.found.Route = r.Caller, r.Listener, r.Route
	x.found.Action, x.found.Provider = r.Action.String(), r.Provider
	x.found.Enterprise = r.Enterprise.String()
	if r.Own {
		x.found.Enterprise = "own"
	}
}

// assuming lets federated routes lead to providers that are not known yet.
func (x *explainer) assuming(routes []*server.Route) []*server.Route {
	list := make([]*server.Route, len(routes))
	for i, r := range routes {
		assumed := *r
		assumed.Target = func(t server.TargetRequest) (server.Target, error) {
			target, err := r.Target(t)
			if err == nil || t.Provider == "" || !x.gateway.directoryEmpty() {
				return target, err
			}
			return x.assume(i, t)
		}
		list[i] = &assumed
	}
	return list
}

func (x *explainer) assume(route int, t server.TargetRequest) (server.Target, error) {
	const apiVersion = "3"
	base, err := url.Parse("https://" + url.PathEscape(t.Provider) + ".invalid")
	if err != nil {
		return server.Target{}, err
	}
	up, err := proxy.NewUpstream(t.Provider, base, nowhere{}, false)
	if err != nil {
		return server.Target{}, err
	}
	x.found.Assumed = true
	rules, err := x.gateway.newScopeRules(x.gateway.cfg.Routes[route])
	if err != nil {
		return server.Target{}, err
	}
	credential, err := rules.credential(t, apiVersion)
	return server.Target{Upstream: up, Credential: credential}, err
}

// nowhere is the stack of an upstream that is never called.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a request that is only explained was sent")
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
