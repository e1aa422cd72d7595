package telemetry

import (
	"context"
	"encoding/binary"
	"net"
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
// Context, level 2), so that everybody who decides so decides alike.
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
	attributes []attribute.KeyValue) trace.Span {
	ctx := context.WithValue(context.Background(), idsKey{}, given)
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(kind),
		trace.WithAttributes(attributes...))
	return span
}

// Done tells of a finished request. template is its route's path, empty if it took
// none. The record is not kept.
//
// For whom it was and what its path and query were stays out: traces often leave for
// another company's service. The access line of the same request id says it.
func (t *Tracer) Done(r *call.Record, template string) {
	l, sampled := t.lineageOf(r)
	if !sampled {
		return
	}
	method, kind := methodOf(r.Method), trace.SpanKindServer
	if r.Parent != "" {
		kind = trace.SpanKindInternal
	}
	attributes := make([]attribute.KeyValue, 0, 24)
	text := func(name, value string) {
		if value != "" {
			attributes = append(attributes, attribute.String(name, value))
		}
	}
	name := method
	if method == other {
		method, name = "_OTHER", "HTTP" // as the semantic conventions want it
	}
	if template != "" {
		name += " " + template
	}
	text("http.request.method", method)
	text("http.route", template)
	text("network.protocol.name", "http")
	text("network.protocol.version", strings.TrimSuffix(strings.TrimPrefix(r.Protocol, "HTTP/"), ".0"))
	text("ebox.request_id", r.ID)
	text("ebox.caller", r.Caller)
	text("ebox.route", r.Route)
	if r.Upstream != "" { // it is one that there is
		text("ebox.provider", r.Provider)
	}
	text("ebox.action", r.Action.String())
	text("ebox.cache", r.Cache)
	text("ebox.problem", r.ProblemType)
	text("ebox.proxy_error", r.ProxyError)
	if r.Status != 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", r.Status))
	}
	for _, phase := range [...]struct {
		name string
		took time.Duration
	}{{"limits", r.Phases.Limits}, {"token", r.Phases.Token}, {"header", r.Phases.Header}, {"body", r.Phases.Body}} {
		if phase.took > 0 {
			attributes = append(attributes, attribute.Float64("ebox.phase."+phase.name+"_ms",
				float64(phase.took.Microseconds())/1000))
		}
	}
	if r.Tries > 0 {
		attributes = append(attributes, attribute.Int("ebox.tries", r.Tries))
	}
	failed := r.Status >= 500 || r.Cut || r.Status == 0 && (r.Parent == "" || r.Cause != nil) // a part answers nobody
	if failed {
		text("error.type", errorType(r))
	}
	span := t.start(name, r.Start, kind, ids{l.trace, l.own}, l.parent, attributes)
	end := r.Start.Add(r.Phases.Total)
	if r.Phases.Body > 0 {
		span.AddEvent("answer begins", trace.WithTimestamp(end.Add(-r.Phases.Body)))
	}
	if failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(end))
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

// try tells of one try, which has just got its answer's header or failed.
func (t *Tracer) try(ctx context.Context, r *call.Record, req *http.Request, start time.Time,
	resp *http.Response, err error) {
	l, sampled := t.lineageOf(r)
	id, ok := bytesOf(r.TraceID)
	if !sampled || !ok {
		return
	}
	method := methodOf(req.Method)
	attributes := make([]attribute.KeyValue, 0, 12)
	host, port := req.URL.Hostname(), req.URL.Port()
	attributes = append(attributes,
		attribute.String("http.request.method", method), attribute.String("server.address", host),
		attribute.String("network.protocol.name", "http"), attribute.String("ebox.upstream", r.Upstream),
		attribute.String("belgov.trace_id", r.TraceID))
	if n, err := net.LookupPort("tcp", port); err == nil && port != "" {
		attributes = append(attributes, attribute.Int("server.port", n))
	}
	if r.Tries > 1 {
		attributes = append(attributes, attribute.Int("http.request.resend_count", r.Tries-1))
	}
	failure := ""
	if err != nil {
		failure = "transport"
		if ctx.Err() != nil {
			failure = "cancelled"
		}
	} else {
		attributes = append(attributes, attribute.Int("http.response.status_code", resp.StatusCode))
		if theirs := resp.Header["Belgov-Trace-Id"]; len(theirs) > 0 {
			attributes = append(attributes, attribute.String("belgov.answer_trace_id", theirs[0]))
		}
		if resp.StatusCode >= 400 {
			failure = strconv.Itoa(resp.StatusCode)
		}
	}
	if failure != "" {
		attributes = append(attributes, attribute.String("error.type", failure))
	}
	above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: l.trace, SpanID: l.own, TraceFlags: trace.FlagsSampled,
		TraceState: l.parent.TraceState(), Remote: true})
	span := t.start(method, start, trace.SpanKindClient, ids{l.trace, second(id)}, above, attributes)
	if failure != "" {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// NewTries makes the layer that tells of each try. It belongs directly below the one
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
