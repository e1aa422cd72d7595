package server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/tenancy"
)

// InboxRoute is the name under which the caller's own request to the federated inbox is
// recorded. What it takes of each provider is recorded beside it, under the route that
// leads there.
const InboxRoute = "ebox-inbox"

// Inbox is the e-Box over all providers.
type Inbox struct {
	// Timeout bounds the asking of all providers, but for what a call is held back (Pace).
	Timeout time.Duration
	Now     func() time.Time
	// Route leads to the providers: its Path holds {providerId}. Whoever may use it, and
	// for whom, may use the inbox.
	Route *Route
	// Providers are those that are active, with those that cannot be called now. The
	// error is a problem: nobody knows yet which there are.
	Providers func() ([]inbox.Provider, error)
	// Reason says as a token why the gateway has no answer of an upstream, from the
	// record of the call.
	Reason func(*call.Record) string
}

var (
	summaryMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	listMethods    = []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodOptions}
)

// serveInbox answers for all providers at once. It judges the call as one to a provider is
// judged, once for all of them.
func (x *exchange) serveInbox(path string) error {
	c, in := x.c, x.e.o.Inbox
	caller, err := x.identify()
	if err != nil {
		return err
	}
	if c.Method == http.MethodPatch {
		if err := inbox.CheckChanges(x.r.Header); err != nil {
			return err
		}
	}
	tenant, body, err := x.judge(caller, in.Route, ebox.ParsePath(path), inbox.MaxChanges)
	if err != nil {
		return err
	}
	x.represent(tenant)
	c.Record.BytesIn = int64(len(body))
	providers, err := in.Providers()
	if err != nil {
		return err
	}
	b := &bundle{x: x, tenant: tenant, prefix: c.Path[:len(c.Path)-len(x.rest)]}
	if c.Method == http.MethodPatch {
		changes, err := inbox.ParseChanges(body, x.r.Header["Content-Type"], providers, &x.memory)
		if err != nil {
			return err
		}
		return b.ask(caller, providers, noStore, func(ctx context.Context, round *inbox.Round) (*inbox.Result, error) {
			return round.Change(ctx, changes)
		})
	}
	query, err := inbox.ParseQuery(c.Query)
	if err != nil {
		return err
	}
	query.Whole = query.Whole || caller.Partial != nil && !*caller.Partial
	return b.ask(caller, providers, noCache, func(ctx context.Context, round *inbox.Round) (*inbox.Result, error) {
		if path == inbox.SummaryPath {
			return round.Summary(ctx, query, b.url(inbox.SummaryPath), b.url(inbox.MessagesPath))
		}
		return round.List(ctx, query, b.url(inbox.MessagesPath))
	})
}

// bundle is one request of a caller as several, one to each provider. It implements
// inbox.Asker.
type bundle struct {
	x      *exchange
	tenant tenancy.Tenant
	prefix string // /enterprises/{number}, if the path began so

	header http.Header // what all providers get of the caller's
	parts  sync.WaitGroup
	mu     sync.Mutex
	sent   bool // a provider may have seen something
}

// url is where this caller reaches a path of the endpoint.
func (b *bundle) url(path string) string {
	return b.x.publicOrigin() + b.x.e.mount + b.prefix + path
}

// ask asks the providers, once the caller was admitted, and answers with what they have together.
func (b *bundle) ask(caller *tenancy.Caller, providers []inbox.Provider, cacheControl []string,
	ask func(context.Context, *inbox.Round) (*inbox.Result, error),
) (err error) {
	x, in := b.x, b.x.e.o.Inbox
	if err := x.admit(caller, b.tenant); err != nil {
		return err
	}
	b.header = sharedHeader(x.r)
	round := &inbox.Round{
		ID: x.c.ID, Providers: providers, Asker: b, Timeout: in.Timeout + x.c.Pace, Memory: &x.memory, Now: in.Now,
	}
	var result *inbox.Result
	b.together(func(ctx context.Context) { result, err = ask(ctx, round) })
	rec := x.c.Record
	rec.Sent, rec.Asked, rec.Missing = b.sent, result.Asked, len(result.Missing)
	if rec.Missing > 0 {
		rec.Detail = "without " + inbox.HeaderOf(result.Missing)
	}
	switch {
	case err != nil && x.r.Context().Err() != nil: // the caller is not there any more
		rec.Status, rec.Cause = call.StatusClientGone, err
		panic(http.ErrAbortHandler)
	case err != nil:
		return err
	}
	h := x.Header()
	h["Cache-Control"] = cacheControl
	if len(result.Missing) > 0 && result.Status == http.StatusOK { // 207 says it in its body
		h[inbox.Header] = []string{inbox.HeaderOf(result.Missing)}
	}
	if result.Next != "" {
		h["Link"] = []string{"<" + result.Next + `>; rel="next"`}
	}
	x.answer(result.Status, result.Body)
	return nil
}

// together has the providers asked, and leaves nothing running when it returns, be it
// because of a panic.
func (b *bundle) together(ask func(context.Context)) {
	ctx, cancel := context.WithCancel(b.x.r.Context())
	defer b.parts.Wait()
	defer cancel()
	ask(ctx)
}

var (
	noCache     = []string{"no-cache"}
	noStore     = []string{"no-store"}
	contentJSON = []string{"application/json"}
)

// answer sends a body of the gateway's own making.
func (x *exchange) answer(status int, body []byte) {
	h := x.Header()
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.own = true
	x.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.Write(body) // a caller that went away is no error of ours
	}
}

// sharedHeader is the caller's header without what belongs to this one answer, its form,
// its parts and what the caller has of it already, and without what describes its body,
// of which each provider gets another.
func sharedHeader(r *http.Request) http.Header {
	h := make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		switch name {
		case "Accept", "Accept-Encoding", "Range", "Expect", "Te", "Trailer", "Transfer-Encoding", "Digest", "Repr-Digest":
		default:
			if !strings.HasPrefix(name, "If-") && !strings.HasPrefix(name, "Content-") {
				h[name] = values
			}
		}
	}
	h["Accept"] = contentJSON
	h["Accept-Encoding"] = []string{"identity"}
	return h
}

// Ask implements inbox.Asker: it sends the request by the way that a call of this caller
// to this provider takes, with a call of its own.
func (b *bundle) Ask(ctx context.Context, q *inbox.Request) (*inbox.Answer, error) {
	e, route := b.x.e, b.x.e.o.Inbox.Route
	header := b.header
	if q.ContentType != nil {
		header = b.header.Clone()
		header["Content-Type"] = q.ContentType
	}
	path := b.prefix + strings.Replace(route.Path, "{providerId}", url.PathEscape(q.Provider), 1)
	c := b.call(q, header, path+q.Path)
	c.MaxBody = int64(route.MaxBody)
	if err := aim(c, route, e.mount+path, b.x.publicOrigin()); err != nil {
		return nil, err
	}
	r := (&http.Request{
		Method: q.Method, Header: header, Body: http.NoBody, ContentLength: int64(len(q.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	p := &part{ctx: ctx, c: c, bundle: b, header: make(http.Header), given: make(chan struct{})}
	p.answered.Body, p.w = io.Pipe()
	b.parts.Go(func() {
		defer func() { p.end(recover()) }()
		e.o.Proxy.Serve(p, r, c)
	})
	<-p.given // the stack below ends with the context
	if p.failure != nil {
		return nil, p.failure
	}
	return &p.answered, nil
}

// call makes the call to one provider, which is the caller's own up to where it is sent.
func (b *bundle) call(q *inbox.Request, header http.Header, path string) *call.Call {
	c, from := call.New(), b.x.c
	c.ID, c.Parent, c.Start = call.NewID(), from.ID, time.Now()
	c.TraceParent, c.TraceState = from.TraceParent, from.TraceState
	c.Source, c.Listener, c.Caller, c.Actor, c.Purpose = from.Source, from.Listener, from.Caller, from.Actor, from.Purpose
	c.Batch, c.Pace, c.Memory = from.Batch, from.Pace, from.Memory
	c.Method, c.Host, c.Path, c.Protocol, c.Header = q.Method, from.Host, path, from.Protocol, header
	c.Route, c.Provider, c.Action = b.x.e.o.Inbox.Route.Name, q.Provider, from.Action
	c.Enterprise, c.Own, c.Claimed, c.Client, c.Represented = from.Enterprise, from.Own, from.Claimed,
		from.Client, from.Represented
	c.Target, c.Segments, c.Query = q.Path, ebox.Segments(q.Path), q.Query
	c.Body, c.BodyRead, c.HasBody = q.Body, true, len(q.Body) > 0
	return c
}

var _ inbox.Asker = (*bundle)(nil)
