package call

import "time"

// StatusClientGone is the status in the record of a caller that went away before the answer's
// header; nobody ever receives it. The number is nginx's.
const StatusClientGone = 499

// Record is what happened to one call, from its first byte to its last. The layers write
// it while the request is served; the observers of finished requests read it together
// with the Call. It belongs to the goroutine that serves the request; layers that work in
// another hand their findings back before the handler returns.
//
// A record never holds a token, a body or a query string.
type Record struct {
	// Call is what was decided about the request.
	*Call

	// TokenHash is the SHA-256 of the token that was sent last, in hexadecimal.
	TokenHash string
	// UpstreamStatus is what the upstream answered, 0 if it did not.
	UpstreamStatus int
	// TraceID is the BelGov-Trace-Id of the last try, AnswerTraceID the one that the
	// upstream answered with.
	TraceID       string
	AnswerTraceID string
	// Tries counts how often a request was handed to the transport; Sent is true if an
	// upstream may have seen one.
	Tries int
	Sent  bool
	// Messages are the ids of messages that the body of a write names; MoreMessages says that
	// it names others.
	Messages     []string
	MoreMessages bool
	// Named are the enterprises that the request names in its path, query or body in the
	// words of the API, each once, as ten digits. It may be other ones than Enterprise.
	Named []string
	// Created are the ids of what the upstream made, where evidence is kept.
	Created []string
	// MissingScopes are the scopes that an upstream's refusal asked for: well-formed scope
	// tokens, at most ten.
	MissingScopes []string
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
	// Planned is true if the gateway answered with the 503 of a maintenance.
	Planned bool
	// Cut is true if the answer was cut short.
	Cut bool
	// Asked counts the Document Providers that were asked for one answer over all of
	// them, Missing those that are not in it, asked or not. What each was asked is in a
	// record of its own, whose Parent this is.
	Asked, Missing int
	// BytesIn and BytesOut count the bytes of the bodies.
	BytesIn, BytesOut int64

	// Phases are how long the parts took.
	Phases Phases
}

// Phases are the parts of the time that a request takes.
type Phases struct {
	// Limits is the time spent waiting for rates and bulkheads, Token for a token, Header
	// from the sending of the request to the upstream's header, Body from there to the
	// end, Redis the time spent waiting for Redis, which is a part of the others, Total
	// the whole.
	Limits, Token, Header, Body, Redis, Total time.Duration
}
