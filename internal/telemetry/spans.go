package telemetry

import (
	"context"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/printable"
)

// lineage is where a record's span stands in its trace.
type lineage struct {
	own    trace.SpanID
	trace  trace.TraceID
	parent trace.SpanContext // not valid for the first span of a trace
}

// lineageOf reads it from the ids of the record; false if it is not to be traced.
func (t *Tracer) lineageOf(r *call.Record) (l lineage, sampled bool) {
	id, ok := bytesOf(r.ID)
	if !ok {
		return l, false
	}
	l.own = second(id)
	var state trace.TraceState
	var above trace.SpanID
	if r.TraceParent != "" {
		if caller := remote(r.TraceParent, r.TraceState); caller.IsValid() {
			l.trace, above, state, sampled = caller.TraceID(), caller.SpanID(), caller.TraceState(), caller.IsSampled()
		}
	}
	whole, part := bytesOf(r.Parent)
	if !l.trace.IsValid() {
		l.trace = trace.TraceID(id)
		if part {
			l.trace = trace.TraceID(whole)
		}
		sampled = t.draw(l.trace)
	}
	if part {
		above = second(whole)
	}
	if sampled && above.IsValid() {
		l.parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: l.trace, SpanID: above,
			TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
	}
	return l, sampled
}

// draw decides by the last seven bytes of the trace id, which are random (W3C Trace
// Context, level 2), so that every tracer with this ratio decides alike.
func (t *Tracer) draw(id trace.TraceID) bool {
	const random = 1<<56 - 1
	return binary.BigEndian.Uint64(id[8:])&random >= t.refuse
}

// remote reads what a caller says of its trace (W3C Trace Context).
func remote(parent, state string) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": parent, "tracestate": state}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// bytesOf gives the sixteen bytes of a UUID whose second half can be the id of a span,
// which zero cannot.
func bytesOf(text string) (raw [16]byte, ok bool) {
	raw, err := uuid.Parse(text)
	return raw, err == nil && second(raw).IsValid()
}

func second(id [16]byte) trace.SpanID { return trace.SpanID(id[8:]) }

// derived gives a span the ids that its context names. It is a sdktrace.IDGenerator.
type derived struct{}

type idsKey struct{}

type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

// NewIDs implements sdktrace.IDGenerator.
func (derived) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	given := ctx.Value(idsKey{}).(ids)
	return given.trace, given.span
}

// NewSpanID implements sdktrace.IDGenerator.
func (derived) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	return ctx.Value(idsKey{}).(ids).span
}

// start begins a span in the past.
func (t *Tracer) start(name string, at time.Time, kind trace.SpanKind, given ids, parent trace.SpanContext,
	a attributes) trace.Span {
	ctx := context.WithValue(context.Background(), idsKey{}, given)
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(kind),
		trace.WithAttributes(a...))
	return span
}

// Done makes the spans of a finished request. template is its route's path, empty if it
// took none. The record is not kept.
//
// For whom it was and what its path and query were stays out: traces often leave for
// another company's service. The access line of the same request id says it.
func (t *Tracer) Done(r *call.Record, template string) {
	l, sampled := t.lineageOf(r)
	if !sampled {
		return
	}
	kind := trace.SpanKindServer
	if r.Parent != "" {
		kind = trace.SpanKindInternal
	}
	method := methodOf(r.Method)
	name := method
	if method == other {
		method, name = "_OTHER", "HTTP" // as the semantic conventions want it
	}
	if template != "" {
		name += " " + template
	}
	a := make(attributes, 0, 24)
	a.text("http.request.method", method)
	a.text("http.route", template)
	a.text("network.protocol.name", "http")
	a.text("network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(r.Protocol, "HTTP/"), ".0"))
	a.number("http.response.status_code", r.Status)
	a.text("ebox.request_id", r.ID)
	a.text("ebox.caller", r.Caller)
	a.text("ebox.route", r.Route)
	if r.Upstream != "" { // it is one that there is
		a.text("ebox.provider", r.Provider)
	}
	a.text("ebox.action", r.Action.String())
	a.text("ebox.cache", r.Cache)
	a.text("ebox.problem", r.ProblemType)
	a.text("ebox.proxy_error", r.ProxyError)
	a.number("ebox.tries", r.Tries)
	a.milliseconds("ebox.phase.limits_ms", r.Phases.Limits)
	a.milliseconds("ebox.phase.token_ms", r.Phases.Token)
	a.milliseconds("ebox.phase.header_ms", r.Phases.Header)
	a.milliseconds("ebox.phase.body_ms", r.Phases.Body)
	failed := r.Status >= 500 || r.Cut || r.Status == 0 && (r.Parent == "" || r.Cause != nil) // a part answers nobody
	if failed {
		a.text("error.type", errorType(r))
	}
	span := t.start(name, r.Start, kind, ids{l.trace, l.own}, l.parent, a)
	end := r.Start.Add(r.Phases.Total)
	if r.Phases.Body > 0 {
		span.AddEvent("answer begins", trace.WithTimestamp(end.Add(-r.Phases.Body)))
	}
	if failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(end))
}

// attributes are those of a span. What is empty, or not above 0, is left out.
type attributes []attribute.KeyValue

func (a *attributes) text(name, value string) {
	if value != "" {
		*a = append(*a, attribute.String(name, value))
	}
}

func (a *attributes) number(name string, n int) {
	if n > 0 {
		*a = append(*a, attribute.Int(name, n))
	}
}

func (a *attributes) milliseconds(name string, d time.Duration) {
	if d > 0 {
		*a = append(*a, attribute.Float64(name, float64(d.Microseconds())/1000))
	}
}

func errorType(r *call.Record) string {
	switch {
	case r.ProxyError != "":
		return r.ProxyError
	case r.Cut || r.Status == 0:
		return "cut"
	}
	return strconv.Itoa(r.Status)
}

// maxAnswerTraceID bounds what a span has of an upstream's trace id, in bytes. One that is no UTF-8
// would cost the whole batch: nothing else can be sent over OTLP.
const maxAnswerTraceID = 128

// try makes the span of one try, which has just got its answer's header or failed.
func (t *Tracer) try(ctx context.Context, r *call.Record, req *http.Request, start time.Time,
	resp *http.Response, err error) {
	l, sampled := t.lineageOf(r)
	id, ok := bytesOf(r.TraceID)
	if !sampled || !ok {
		return
	}
	method := methodOf(req.Method)
	a := make(attributes, 0, 12)
	a.text("http.request.method", method)
	a.text("network.protocol.name", "http")
	a.text("server.address", req.URL.Hostname())
	if port, err := strconv.Atoi(req.URL.Port()); err == nil {
		a.number("server.port", port)
	}
	a.text("ebox.upstream", r.Upstream)
	a.text("belgov.trace_id", r.TraceID)
	a.number("http.request.resend_count", r.Tries-1)
	failure := ""
	switch {
	case err == nil:
		a.number("http.response.status_code", resp.StatusCode)
		if theirs := resp.Header["Belgov-Trace-Id"]; len(theirs) > 0 {
			a.text("belgov.answer_trace_id", printable.Text(theirs[0], maxAnswerTraceID))
		}
		if resp.StatusCode >= 400 {
			failure = strconv.Itoa(resp.StatusCode)
		}
	case ctx.Err() != nil:
		failure = "cancelled"
	default:
		failure = "transport"
	}
	a.text("error.type", failure)
	above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: l.trace, SpanID: l.own, TraceFlags: trace.FlagsSampled,
		TraceState: l.parent.TraceState(), Remote: true})
	span := t.start(method, start, trace.SpanKindClient, ids{l.trace, second(id)}, above, a)
	if failure != "" {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// NewTries makes the layer that has a span of each try. It belongs directly below the one
// that counts them; tracer gives the Tracer in force, nil for none, and the layer then
// costs that question. It adds nothing to what is sent: the trace stays inside.
func NewTries(next call.Sender, tracer func() *Tracer) call.Sender {
	return &tryLayer{next, tracer}
}

type tryLayer struct {
	next   call.Sender
	tracer func() *Tracer
}

// Send implements call.Sender.
func (l *tryLayer) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	t := l.tracer()
	if t == nil {
		return l.next.Send(ctx, c, r)
	}
	start := time.Now()
	resp, err := l.next.Send(ctx, c, r)
	t.try(ctx, c.Record, r, start, resp, err)
	return resp, err
}
