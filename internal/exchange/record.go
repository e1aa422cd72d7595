// Package exchange holds the record of one request on its way through the
// gateway: who asked, for whom, what was sent where, how it went and how long
// each part took.
//
// Each layer writes what it alone knows and reads what the layers before it
// wrote; the access log, the metrics and the evidence read the whole at the end.
// A record belongs to the goroutine that serves the request. Layers that work in
// another goroutine hand their findings back before the handler returns.
//
// A record never holds a token, a body or a query string.
package exchange

import (
	"context"
	"net/netip"
	"time"

	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/enterprise"
)

// Record is one request, from its first byte to its last.
type Record struct {
	// ID is the X-Request-Id that the answer carries.
	ID string
	// Parent is the id of the caller's request that this one is a part of, where the
	// gateway asks several upstreams for one answer or asks again in the background;
	// empty for a caller's own.
	Parent string
	// TraceParent and TraceState are the caller's W3C trace context as it came. They
	// stay inside the company.
	TraceParent, TraceState string
	// Start is when the request's headers had been read.
	Start time.Time

	// Source is the caller's address, after trusted proxies; Listener the name
	// of the listener it came in by; Caller the caller rule that it matched;
	// Actor and Purpose what it asserted in X-Actor and X-Purpose, printable and bounded.
	Source   netip.Addr
	Listener string
	Caller   string
	Actor    string
	Purpose  string
	// Batch tells a caller of class batch, which is paced rather than refused, for
	// at most Pace.
	Batch bool
	Pace  time.Duration

	// Method, Host and Path are the request's own; Path is still escaped.
	Method, Host, Path string
	// Protocol is "HTTP/1.1" and the like.
	Protocol string

	// Route is the route's name, Provider the Document Provider's id, Action
	// what the call does to the e-Box, Opening whether it marks a document read.
	Route    string
	Provider string
	Action   ebox.Action
	Opening  bool

	// Enterprise is the represented enterprise; with Own the client's own e-Box.
	Enterprise enterprise.Number
	Own        bool
	// Claimed is what the request said of the enterprise in path or header, whether
	// or not it was granted.
	Claimed string
	// Client is the OAuth client's name, TokenHash the SHA-256 of the token that
	// was sent last, in hexadecimal.
	Client    string
	TokenHash string

	// Upstream names the upstream, UpstreamHost its host; UpstreamStatus is what
	// it answered, 0 if it did not.
	Upstream       string
	UpstreamHost   string
	UpstreamStatus int
	// TraceID is the BelGov-Trace-Id of the last try, AnswerTraceID the one that
	// the upstream answered with.
	TraceID       string
	AnswerTraceID string
	// Tries counts how often a request was handed to the transport; Sent is true
	// if an upstream may have seen one.
	Tries int
	Sent  bool
	// Messages are the ids of messages that the body of a write names, where evidence is
	// kept; MoreMessages says that it names others, or could not be read to its end.
	Messages     []string
	MoreMessages bool
	// Created are the ids of what the upstream made, where evidence is kept.
	Created []string
	// IdempotencyKey is the Idempotency-Key of a write as it was sent, printable and
	// bounded.
	IdempotencyKey string
	// Intent is true if the evidence was told of this write before it was sent, and
	// waits for its outcome.
	Intent bool
	// Cache is what the cache did, as in Cache-Status.
	Cache string

	// Status is what the caller got, ProblemType, Detail and Cause why, if the gateway
	// was the author; Cause is for the log alone.
	Status      int
	ProblemType string
	ProxyError  string
	Detail      string
	Cause       error
	// Cut is true if the answer was cut short.
	Cut bool
	// Asked counts the Document Providers that were asked for one answer over all of
	// them, Missing those that are not in it, asked or not. What each was asked is in
	// a record of its own, whose Parent this is.
	Asked, Missing int
	// BytesIn and BytesOut count the bytes of the bodies.
	BytesIn, BytesOut int64

	// Phases are how long the parts took.
	Phases Phases
}

// Phases are the parts of the time that a request takes.
type Phases struct {
	// Limits is the time spent waiting for rates and bulkheads, Token for a
	// token, Header from the sending of the request to the upstream's header,
	// Body from there to the end, Redis the time spent waiting for Redis, which is
	// a part of the others, Total the whole.
	Limits, Token, Header, Body, Redis, Total time.Duration
}

type key struct{}

// Key is the context key of the record, for a context that carries it itself.
var Key any = key{}

// With returns a context that carries the record.
func With(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, Key, r)
}

// From returns the record of the request that ctx belongs to. A context without
// one gets a record of its own, so that no layer has to ask: what it writes there
// is read by nobody.
func From(ctx context.Context) *Record {
	if r, ok := ctx.Value(Key).(*Record); ok {
		return r
	}
	return new(Record)
}
