// Package call holds the two things that a request consists of inside the gateway.
//
// A Call is what was decided about it at the door: who asks, for whom, which upstream,
// with which credential, whose answers may be kept and where links lead. It is made once,
// passed as an argument, and read by every layer.
//
// A Record is what happened. Each layer writes there what it alone knows; the access
// line, the metrics, the traces, the page and the evidence read it when the request has
// ended. No layer reads it to decide anything.
//
// Layers on the way to an upstream are Senders. A layer cannot be given a request
// without its Call, so that none can forget whose request it is.
package call

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/memory"
)

// Call is one request as the gateway has decided to handle it. It belongs to the
// goroutine that serves the request and to the layers below it, and is not changed once
// it is on its way to the upstream. It never holds a token.
type Call struct {
	// ID is the X-Request-Id that the answer carries.
	ID string
	// Parent is the id of the caller's request that this one is a part of, where the
	// gateway asks several upstreams for one answer or asks again in the background;
	// empty for a caller's own.
	Parent string
	// TraceParent and TraceState are the caller's W3C trace context as it came. They
	// stay inside the company.
	TraceParent, TraceState string
	// Start is when the request's header had been read.
	Start time.Time

	// Source is the caller's address, after trusted proxies; Listener the name of the
	// listener it came in by; Caller the caller rule that it matched; Actor and
	// Purpose what it asserted in X-Actor and X-Purpose, printable and bounded.
	Source   netip.Addr
	Listener string
	Caller   string
	Actor    string
	Purpose  string
	// Batch says that the caller is of class batch, which is paced rather than refused, until
	// Pace has gone by since Start.
	Batch bool
	Pace  time.Duration

	// Method, Host and Path are the request's own; Path is the whole path, escaped.
	Method, Host, Path string
	// Protocol is "HTTP/1.1" and the like.
	Protocol string
	// Header is the caller's header. Nobody changes it.
	Header http.Header

	// Route is the route's name, Provider the Document Provider's id, Action what the
	// call does to the e-Box, Opening whether it marks a document read: such a call is
	// never repeated once it was sent.
	Route    string
	Provider string
	Action   ebox.Action
	Opening  bool

	// Enterprise is the represented enterprise; with Own the client's own e-Box.
	Enterprise enterprise.Number
	Own        bool
	// Claimed is what the request said of the enterprise in path or header, whether or
	// not it was granted.
	Claimed string
	// Client is the OAuth client's name, Credential where its token comes from; nil for
	// an upstream that gets none.
	Client     string
	Credential Credential

	// Upstream names the upstream in logs and metrics, UpstreamHost its host; empty until
	// it is decided where the call goes, which is To.
	Upstream     string
	UpstreamHost string
	To           *Upstream
	// Target is the escaped path below the upstream's base, accepted by CheckPath: empty,
	// or beginning with "/". Query was accepted by CheckQuery and is sent byte for byte;
	// BareQuery keeps a "?" with nothing behind it.
	Target, Query string
	BareQuery     bool
	// Segments are those of Target, as ebox.Segments reads them.
	Segments []string
	// Represented are the values of On-Behalf-Of-Enterprise-Number, nil for no such field.
	Represented []string
	// Links is where links of this upstream lead for this caller.
	Links links.Base
	// Document marks a call for a document's bytes (…/content): its answer is never
	// rewritten, so ranges and content codings pass.
	Document bool
	// Body is the whole body if it was read already, as BodyRead says.
	Body     []byte
	BodyRead bool
	// HasBody says that the caller's request has a body. MaxBody is the most bytes that it
	// may have; 0 is unlimited.
	HasBody bool
	MaxBody int64

	// IdempotencyKey is the field of that name with which a publication goes up, the
	// caller's or the gateway's own; empty for none.
	IdempotencyKey string

	// Keep is how the answer is kept.
	Keep Keep
	// Background says that nobody waits for the answer: the cache asks for itself.
	Background bool
	// Waited is how long it waited for the answer to another caller's same request, before it
	// was sent itself: its header time-out is shorter by that.
	Waited time.Duration
	// Internal says that the call is the gateway's own, for a token or for the registry's
	// list, and is about nobody's data.
	Internal bool

	// Interim, unless nil, is given the upstream's informational answers (1xx) but for
	// 100 (Continue), while the final one is awaited.
	Interim func(status int, header http.Header)

	// Memory is what is held in memory for the caller's request; nil for a call that is
	// nobody's.
	Memory *memory.Account
	// Redis bounds how long the call waits for Redis.
	Redis Allowance

	// Record is what happened; it is never nil.
	Record *Record
}

// New makes a call and its record, in one allocation.
func New() *Call {
	both := new(struct {
		call   Call
		record Record
	})
	both.call.Record = &both.record
	both.record.Call = &both.call
	return &both.call
}

// Internal makes a call of the gateway's own. name says in logs what for.
func Internal(name string) *Call {
	c := New()
	c.Caller, c.Internal = name, true
	return c
}

// Beside makes a GET of the whole of the same target by the same caller for the same enterprise,
// with a record of its own, that outlives c. Nobody waits for its answer.
func (c *Call) Beside(now time.Time) *Call {
	b := New()
	record := b.Record
	*b = *c
	b.Record = record
	b.ID, b.Parent, b.Start = NewID(), c.ID, now
	b.Method, b.Header = http.MethodGet, c.Header.Clone()
	for _, name := range [...]string{"Cache-Control", "Pragma", "Range", "If-Range", "If-Match", "If-None-Match",
		"If-Modified-Since", "If-Unmodified-Since"} {
		delete(b.Header, name) // what the other call asks of its answer alone
	}
	b.Batch, b.Pace, b.Redis, b.Waited = false, 0, Allowance{}, 0
	b.Body, b.BodyRead, b.HasBody, b.Background, b.Interim = nil, true, false, true, nil
	b.Memory = nil // it is the other call's, and ends with that
	if c.Credential != nil {
		b.Credential = c.Credential.Again()
	}
	return b
}

// PaceLeft is how long a batch call may still wait for rates and places.
func (c *Call) PaceLeft(now time.Time) time.Duration {
	if !c.Batch {
		return 0
	}
	return max(c.Pace-now.Sub(c.Start), 0)
}

// Party names whose data the upstream's answer holds: what belongs to one party must never
// reach another. It is empty for what belongs to nobody.
func (c *Call) Party() string {
	switch {
	case len(c.Represented) > 0:
		return c.Represented[0]
	case c.Own:
		return "own " + c.Client
	case c.Enterprise != 0:
		return c.Enterprise.String()
	}
	return ""
}

// TargetAndQuery is the target with its query, as it stands below the upstream's base.
func (c *Call) TargetAndQuery() string {
	if c.Query == "" && !c.BareQuery {
		return c.Target
	}
	return c.Target + "?" + c.Query
}

// Credential is where the tokens of one call come from. The token itself is known to the
// package that made the credential, and to nobody else.
type Credential interface {
	// Client is the OAuth client's name, Scopes what its tokens open.
	Client() string
	Scopes() []string
	// Again is the same for another call.
	Again() Credential
}

// A Sender sends a call, or refuses it. The request is the call as it is to be sent; a
// layer that changes it changes a copy. An error is what Failure explains, or a
// problem.Reporter if the gateway itself refuses.
//
// A Sender closes the request's body, also if it fails. The body may still be read when
// Send has returned an answer.
type Sender interface {
	Send(ctx context.Context, c *Call, r *http.Request) (*http.Response, error)
}

// SenderFunc is a function as a Sender.
type SenderFunc func(ctx context.Context, c *Call, r *http.Request) (*http.Response, error)

// Send implements Sender.
func (f SenderFunc) Send(ctx context.Context, c *Call, r *http.Request) (*http.Response, error) {
	return f(ctx, c, r)
}

// CloseBody keeps a Sender's promise to close the body of a request that it does not send.
func CloseBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// Failure says what an error of a Sender means, if it is none of the gateway's own
// refusals.
type Failure struct {
	// Kind is the error type of RFC 9209, one of the problem.Proxy… constants; empty if it
	// is not known, or Cancelled.
	Kind string
	// Timeout reports whether time ran out: a 504 instead of a 502.
	Timeout bool
	// Sent reports whether the upstream may have seen the request. It is false only if that is
	// certain not to be.
	Sent bool
	// Cancelled reports whether the exchange was ended from this side. A caller that went away
	// shows in the request's context; anything else is answered as a failure.
	Cancelled bool
	// Proxy reports whether it was the egress proxy that failed or refused.
	Proxy bool
}

// Allowance bounds how long one call may wait for something that it can go on without.
type Allowance struct{ spent time.Duration }

// Spent is how long it has waited so far.
func (a *Allowance) Spent() time.Duration { return a.spent }

// Spend adds to it. On a nil Allowance, which is nobody's, it does nothing.
func (a *Allowance) Spend(d time.Duration) {
	if a != nil {
		a.spent += d
	}
}
