package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Upstream is one base URL and the stack of round trippers that leads there. It
// is long-lived and safe for concurrent use; make it with NewUpstream.
type Upstream struct {
	// Name is the upstream's name in logs and metrics.
	Name string
	// Base is the base URL, with scheme, host and path and nothing else.
	Base *url.URL
	// Stack sends the request: retries, token, limits, credentials, transport.
	Stack http.RoundTripper
	// RewriteLinks turns links of the upstream into links of the gateway.
	RewriteLinks bool
	// CallerCredentials lets the caller's own Authorization and Cookie go to this
	// upstream, and its Set-Cookie come back. It is for an upstream that gets no token
	// of the gateway's and knows its callers itself.
	CallerCredentials bool

	basePath string // escaped, without a trailing slash
	links    linkForms
}

// NewUpstream prepares an upstream. The base must be an absolute http or https URL
// without user information, query or fragment, and without dot segments.
func NewUpstream(name string, base *url.URL, stack http.RoundTripper, rewriteLinks bool) (*Upstream, error) {
	switch {
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("preparing upstream %s: base URL has scheme %q, give it https", name, base.Scheme)
	case base.Host == "":
		return nil, fmt.Errorf("preparing upstream %s: base URL has no host", name)
	case base.User != nil, base.RawQuery != "", base.ForceQuery, base.Fragment != "":
		return nil, fmt.Errorf("preparing upstream %s: base URL has user information, a query or a fragment, remove it", name)
	}
	path := strings.TrimRight(base.EscapedPath(), "/")
	if err := CheckPath(path); err != nil {
		return nil, fmt.Errorf("preparing upstream %s: base URL has a path that cannot be joined to: %w", name, err)
	}
	return &Upstream{
		Name: name, Base: base, Stack: stack, RewriteLinks: rewriteLinks,
		basePath: path, links: newLinkForms(base, path),
	}, nil
}

// Field is a header that the gateway owns and sets itself.
type Field struct {
	// Name is in canonical form.
	Name   string
	Values []string
}

// LinkBase is where links into an upstream lead for one caller.
type LinkBase struct {
	// Origin is the gateway as this caller reaches it: "http://host[:port]".
	Origin string
	// Prefix is the path that stands for the upstream's base, escaped, without a
	// trailing slash: "/enterprises/0206731645/ebox/providers/nsso".
	Prefix string
	// Named is a query parameter, "name=value", without which the upstream would not
	// know for whom a link is followed; empty for none. A link stays as it is if its
	// query has a parameter that begins with NamedBy.
	Named, NamedBy string
}

// Call is one request as it is to be sent.
type Call struct {
	Upstream *Upstream
	// Path is what follows the upstream's base, escaped and accepted by CheckPath:
	// empty, or beginning with "/".
	Path string
	// RawQuery was accepted by CheckQuery and is sent byte for byte; ForceQuery
	// keeps a "?" with nothing behind it.
	RawQuery   string
	ForceQuery bool
	// Set holds the headers that the gateway owns. They are set after cleaning, so
	// that nothing the caller sent can replace or remove them.
	Set []Field
	// Links is where links of this upstream lead for this caller.
	Links LinkBase
	// Opening marks a call that must never be repeated once it was sent.
	Opening bool
	// Document marks a call for a document's bytes (…/content): its answer is never
	// rewritten, so ranges and content codings pass.
	Document bool
	// Body is the whole body if it was read already, as BodyRead says.
	Body     []byte
	BodyRead bool
	// MaxBody is the most bytes that a request body may have; 0 is unlimited.
	MaxBody int64

	// Prepare, unless nil, may change the header that is about to be sent.
	Prepare func(http.Header)
	// Receive, unless nil, is given what came back, once, and what it returns is what
	// the caller gets. If that is another answer, the first is Receive's to close.
	Receive func(*http.Response, error) (*http.Response, error)
}

// Failure says what an error of the transport means.
type Failure struct {
	// Kind is an error type of RFC 9209; empty if the error is not known.
	Kind string
	// Timeout tells that the upstream was too slow.
	Timeout bool
	// Sent tells that the upstream may have seen the request.
	Sent bool
	// Cancelled tells that the exchange was ended from this side. A caller that went
	// away shows in the request's context; anything else is answered as a failure.
	Cancelled bool
}

// Options are what a Proxy needs from outside; all are required.
type Options struct {
	// Environment is the value of X-EBox-Environment.
	Environment string
	Log         *slog.Logger
	// NewID gives a new UUID, for BelGov-Trace-Id.
	NewID func() string
	// Classify tells what an error of the transport means.
	Classify func(error) Failure
	Now      func() time.Time
}

// Proxy serves calls. It is safe for concurrent use.
type Proxy struct {
	o           Options
	environment []string
}

// New makes a Proxy.
func New(o Options) (*Proxy, error) {
	if o.Environment == "" || o.Log == nil || o.NewID == nil || o.Classify == nil || o.Now == nil {
		return nil, errors.New("making a proxy: an option is missing, all of them are required")
	}
	return &Proxy{o: o, environment: []string{o.Environment}}, nil
}

// Serve sends the call and answers w with what comes back. It fills the exchange
// record of r's context: upstream, status, sizes, times and the cause of a failure;
// what belongs to the single try is written by the layer that NewCounter makes.
//
// It panics with http.ErrAbortHandler when an answer has to be cut short or the
// caller went away, which net/http turns into a connection that ends without the
// end of an answer.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, c *Call) {
	rec := exchange.From(r.Context())
	rec.Upstream, rec.UpstreamHost, rec.Opening = c.Upstream.Name, c.Upstream.Base.Host, c.Opening
	if c.MaxBody > 0 && r.ContentLength > c.MaxBody {
		p.refuse(w, r, tooLarge(c.MaxBody))
		leaveUnread(w, r)
		return
	}
	target := join(c.Upstream.Base, c.Upstream.basePath, c.Path)
	if target == nil {
		p.refuse(w, r, problem.From(errDoubleSlash))
		leaveUnread(w, r)
		return
	}
	target.RawQuery, target.ForceQuery = c.RawQuery, c.ForceQuery

	early := &interim{w: w, c: c, http10: !r.ProtoAtLeast(1, 1)}
	out := p.outgoing(early.trace(r.Context()), r, c, target)
	s := setBody(out, r, c)
	if s != nil {
		defer finishBody(w, r, rec, s)
		if s.expects { // the caller gets its 100 from the upstream, and from nobody else
			early.source, early.hooks.GotFirstResponseByte = s, s.answerBegins
		}
	} else {
		rec.BytesIn = int64(len(c.Body))
	}
	resp, err := c.Upstream.Stack.RoundTrip(out)
	early.end()
	if err == nil && resp.StatusCode < http.StatusOK {
		resp.Body.Close()
		err = errAnswerUnusable
	}
	if c.Receive != nil {
		resp, err = c.Receive(resp, err)
	}
	if err != nil {
		p.failed(w, r, c, s, err)
		return
	}
	defer resp.Body.Close()
	start := p.o.Now()
	defer func() { rec.Phases.Body = p.o.Now().Sub(start) }()
	d := delivery{p: p, w: w, r: r, c: c, s: s, resp: resp, rec: rec}
	d.deliver()
}

// outgoing makes the request as it is to be sent, without its body. It is a copy
// of r for the sake of the context, which a request can get in no cheaper way.
func (p *Proxy) outgoing(ctx context.Context, r *http.Request, c *Call, target *url.URL) *http.Request {
	out := r.WithContext(ctx)
	out.URL, out.Host, out.RequestURI, out.RemoteAddr = target, "", "", ""
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	out.Header, out.Trailer = requestHeader(r, c), nil
	if c.Prepare != nil {
		c.Prepare(out.Header)
	}
	out.TransferEncoding, out.Close, out.TLS = nil, false, nil
	out.Body, out.GetBody = nil, nil
	return out
}

// finishBody ends all reading of the caller's body.
func finishBody(w http.ResponseWriter, r *http.Request, rec *call.Record, s *source) {
	s.close()
	var end error
	if rec.BytesIn, end = s.state(); end == nil {
		leaveUnread(w, r)
	}
}

// lingerUnread is how long a connection stays open for the rest of a body that
// nobody will read.
const lingerUnread = 500 * time.Millisecond

// leaveUnread is for an answer that came before the end of the request's body and
// has said that the connection closes. Before it closes, the server reads on, without
// any limit of its own in time: a caller that waits for a 100 would wait for the end
// of the connection while the server waits for the body. A moment is right for
// callers that send all the same, whom a close at once would cost the answer.
func leaveUnread(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerUnread))
	}
}
