package server

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/tenancy"
)

// InboxRoute is the name under which the caller's own request to the federated inbox is
// recorded. What it takes of each provider is recorded beside it, under the route that
// leads there.
const InboxRoute = "ebox-inbox"

// Inbox is the e-Box over all providers.
type Inbox struct {
	// Inbox merges what the providers answer.
	Inbox *inbox.Inbox
	// Route leads to the providers: its Path holds {providerId}. Whoever may use it, and
	// for whom, may use the inbox.
	Route *Route
	// Providers are those that are active, with those that cannot be called now. The
	// error is a problem: nobody knows yet which there are.
	Providers func() ([]inbox.Provider, error)
	// Reason says as a token why the gateway has no answer of an upstream, from the
	// record of the call.
	Reason func(*exchange.Record) string
	// Show, unless nil, is told who would be asked, and nobody is.
	Show func([]inbox.Provider)
}

var (
	summaryMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	listMethods    = []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodOptions}
)

// federated answers for all providers at once.
func (e *Endpoint) federated(path string, allow []string) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		c := from(r)
		c.record.Route = InboxRoute
		if done := e.ownMethods(c, r, allow); done {
			return
		}
		if err := e.serveInbox(c, r, path); err != nil {
			c.fail(r, err)
		}
	}
}

// serveInbox resolves the call as one to a provider is resolved, once for all of them.
func (e *Endpoint) serveInbox(c *call, r *http.Request, path string) error {
	in := e.o.Inbox
	caller, err := e.identify(c, r)
	if err != nil {
		return err
	}
	rec := &c.record
	rec.Action = in.Route.Classify(r.Method, path)
	tenant, err := e.o.Resolver.Resolve(caller, &in.Route.Tenancy, rec.Action, r.Method, c.claim(r.Header))
	if err != nil {
		return err
	}
	rec.Enterprise, rec.Own, rec.Client = tenant.Number, tenant.Own, tenant.Client
	whole := caller.Partial != nil && !*caller.Partial
	b := &bundle{e: e, c: c, r: r, tenant: tenant, prefix: c.path[:len(c.path)-len(c.rest)]}
	switch {
	case r.Method == http.MethodPatch:
		return b.change(caller)
	case path == inbox.SummaryPath:
		query, wanted, err := inbox.ParseSummaryQuery(c.query)
		if err != nil {
			return err
		}
		return b.read(caller, func(ctx context.Context, round *inbox.Round) (*inbox.Result, error) {
			return in.Inbox.Summary(ctx, round, query, whole || wanted, b.url(inbox.SummaryPath), b.url(inbox.MessagesPath))
		})
	}
	query, err := inbox.ParseQuery(c.query)
	if err != nil {
		return err
	}
	query.Whole = query.Whole || whole
	return b.read(caller, func(ctx context.Context, round *inbox.Round) (*inbox.Result, error) {
		return in.Inbox.List(ctx, round, query, b.url(inbox.MessagesPath))
	})
}

// bundle is one request of a caller as several, one to each provider. It implements
// inbox.Asker.
type bundle struct {
	e      *Endpoint
	c      *call
	r      *http.Request
	tenant tenancy.Tenant
	prefix string // /enterprises/{number}, if the path began so

	header http.Header // what all providers get of the caller's
	parts  sync.WaitGroup
	mu     sync.Mutex
	sent   bool // a provider may have seen something
}

// url is where this caller reaches a path of the endpoint.
func (b *bundle) url(path string) string {
	origin := b.e.origin
	if origin == "" {
		origin = b.c.conn.originOf(b.r.Host)
	}
	return origin + b.e.mount + b.prefix + path
}

// round makes the request to all providers, once the caller was admitted.
func (b *bundle) round(caller *tenancy.Caller, providers []inbox.Provider) (*inbox.Round, error) {
	if err := b.e.o.Admit(b.r.Context(), caller, b.tenant); err != nil {
		return nil, err
	}
	b.header = sharedHeader(b.r)
	return &inbox.Round{ID: b.c.record.ID, Providers: providers, Asker: b, Pace: b.c.record.Pace}, nil
}

// providers are those that there are. If they were only to be shown, that is done, and
// nobody is asked.
func (b *bundle) providers() (list []inbox.Provider, shown bool, err error) {
	in := b.e.o.Inbox
	if list, err = in.Providers(); err != nil || in.Show == nil {
		return list, false, err
	}
	in.Show(list)
	b.c.WriteHeader(http.StatusNoContent)
	return list, true, nil
}

// read asks all providers and answers with what they have together.
func (b *bundle) read(caller *tenancy.Caller, ask func(context.Context, *inbox.Round) (*inbox.Result, error)) error {
	providers, shown, err := b.providers()
	if err != nil || shown {
		return err
	}
	round, err := b.round(caller, providers)
	if err != nil {
		return err
	}
	var result *inbox.Result
	b.together(func(ctx context.Context) { result, err = ask(ctx, round) })
	b.note(result)
	if err != nil {
		return b.gone(err)
	}
	h := b.c.Header()
	h["Cache-Control"] = noCache
	if len(result.Missing) > 0 {
		h[inbox.Header] = []string{inbox.HeaderOf(result.Missing)}
	}
	if result.Next != "" {
		h["Link"] = []string{"<" + result.Next + `>; rel="next"`}
	}
	b.answer(http.StatusOK, result.Body)
	return nil
}

// change sends each provider its own part of the changes.
func (b *bundle) change(caller *tenancy.Caller) error {
	in := b.e.o.Inbox
	if err := inbox.CheckChanges(b.r.Header); err != nil {
		return err
	}
	providers, shown, err := b.providers()
	if err != nil || shown {
		return err
	}
	body, err := readBody(b.r, inbox.MaxChanges)
	if err != nil {
		return err
	}
	b.c.record.BytesIn = int64(len(body))
	changes, err := inbox.ParseChanges(body, b.r.Header["Content-Type"], providers)
	if err != nil {
		return err
	}
	round, err := b.round(caller, providers)
	if err != nil {
		return err
	}
	var result *inbox.Result
	var status int
	b.together(func(ctx context.Context) { result, status, err = in.Inbox.Change(ctx, round, changes) })
	b.note(result)
	if err != nil {
		return b.gone(err)
	}
	b.c.Header()["Cache-Control"] = noStore
	b.answer(status, result.Body)
	return nil
}

// together has the providers asked, and leaves nothing running when it returns, be it
// because of a panic.
func (b *bundle) together(ask func(context.Context)) {
	ctx, cancel := context.WithCancel(b.c)
	defer b.parts.Wait()
	defer cancel()
	ask(ctx)
}

// note records how many providers were asked and which of them are missing.
func (b *bundle) note(result *inbox.Result) {
	rec := &b.c.record
	rec.Sent = b.sent
	if result == nil {
		return
	}
	rec.Asked, rec.Missing = result.Asked, len(result.Missing)
	if rec.Missing > 0 {
		rec.Detail = "without " + inbox.HeaderOf(result.Missing)
	}
}

// gone ends the request of a caller that is not there any more; any other error is its
// answer.
func (b *bundle) gone(err error) error {
	if b.r.Context().Err() == nil {
		return err
	}
	b.c.record.Status, b.c.record.Cause = statusClientGone, err
	panic(http.ErrAbortHandler)
}

// statusClientGone is what the record says of a caller that went away before it was
// answered.
const statusClientGone = 499

var (
	noCache     = []string{"no-cache"}
	noStore     = []string{"no-store"}
	contentJSON = []string{"application/json"}
)

// answer sends a body of the gateway's own making.
func (b *bundle) answer(status int, body []byte) {
	h := b.c.Header()
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	b.c.own = true
	b.c.WriteHeader(status)
	if b.r.Method != http.MethodHead {
		_, _ = b.c.Write(body) // a caller that went away is no error of ours
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
// to this provider takes, with a record of its own.
func (b *bundle) Ask(ctx context.Context, q *inbox.Request) (*inbox.Answer, error) {
	route := b.e.o.Inbox.Route
	target, err := route.Target(TargetRequest{Provider: q.Provider, Client: b.tenant.Client, Method: q.Method, Path: q.Path})
	if err != nil {
		return nil, err
	}
	path := b.prefix + strings.Replace(route.Path, "{providerId}", url.PathEscape(q.Provider), 1)
	p := newPart(b, ctx, q, &target, path+q.Path)

	out := &proxy.Call{
		Upstream: target.Upstream, Path: q.Path, RawQuery: q.Query, Body: q.Body, BodyRead: true, MaxBody: route.MaxBody,
		Links: proxy.LinkBase{Origin: b.e.origin, Prefix: b.e.mount + path},
	}
	if b.tenant.Header != nil {
		out.Set = []proxy.Field{{Name: tenancy.RepresentedHeader, Values: b.tenant.Header}}
	}
	if b.e.origin == "" {
		out.Links.Origin = b.c.conn.originOf(b.r.Host)
	}
	r := b.r.WithContext(p)
	r.Method, r.Header, r.Trailer, r.TransferEncoding = q.Method, b.header, nil, nil
	r.Body, r.ContentLength = http.NoBody, int64(len(q.Body))
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if q.ContentType != nil {
		r.Header = b.header.Clone()
		r.Header["Content-Type"] = q.ContentType
	}
	b.parts.Go(func() {
		p.run(func() {
			if target.Kept != nil && b.e.o.Keeper != nil {
				b.e.o.Keeper.Keep(p, r, out, target.Kept)
				return
			}
			b.e.o.Proxy.Serve(p, r, out)
		})
	})
	return p.answer()
}

var _ inbox.Asker = (*bundle)(nil)
