package proxy

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/links"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// Cache answers a call, or has it sent. See cache.Cache.
type Cache interface {
	Do(context.Context, *call.Call, call.Send) (*call.Answer, error)
}

// Options are what a Proxy needs from outside; all but Cache are required.
type Options struct {
	Log *slog.Logger
	// Cache is asked before anything is sent; nil for none.
	Cache Cache
	// Classify says what an error of the way to the upstream means.
	Classify func(error) call.Failure
	Now      func() time.Time
}

// Proxy serves calls. It is safe for concurrent use.
type Proxy struct{ o Options }

// New makes a Proxy.
func New(o Options) *Proxy { return &Proxy{o: o} }

// exchange is one call on its way to an answer.
type exchange struct {
	p *Proxy
	w http.ResponseWriter
	r *http.Request
	c *call.Call
	// body is what is read of the caller, nil for nothing.
	body *source
	// interims counts the informational answers of all tries that were handed on.
	interims int
	// a is the answer. links leads links of the upstream to the gateway, also in the body if it is rewritten.
	a         *call.Answer
	links     links.Map
	rewritten bool
	// http10 is set for a caller of HTTP/1.0, which can see only by a Content-Length that an answer was cut.
	http10 bool
}

// Serve answers w with what the upstream, or the cache, has for the call. It writes into
// the call's record: status, sizes, times and the cause of a failure; what belongs to the
// single try is written by the layer that NewCounter makes.
//
// It panics with http.ErrAbortHandler when an answer has to be cut short or the caller
// went away, which the server turns into a connection that breaks off.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, c *call.Call) {
	x := exchange{p: p, w: w, r: r, c: c, links: links.NewMap(&c.To.Forms, c.Links), http10: !r.ProtoAtLeast(1, 1)}
	if c.MaxBody > 0 && r.ContentLength > c.MaxBody {
		x.refuse(tooLarge(c.MaxBody))
		return
	}
	defer x.endBody()
	if !x.http10 {
		c.Interim = x.interim
	}
	a, err := x.answer(r.Context())
	if err != nil {
		x.failed(a, err)
		return
	}
	x.a, x.rewritten = a, rewritesBody(a, c)
	defer a.Close()
	if a.Status == http.StatusPartialContent && len(c.Field("Range")) == 0 {
		// RFC 9110, section 15.3.7. A part of JSON cannot have its links rewritten, and a
		// caller whose Range went no further would take it for what it asked for.
		x.refuse(upstreamProblem(call.Failure{Kind: problem.ProxyProtocolError, Sent: true}, c, c.Record.Sent))
		return
	}
	start := p.o.Now()
	defer func() { c.Record.Phases.Body = p.o.Now().Sub(start) }()
	x.deliver()
}

func (x *exchange) answer(ctx context.Context) (*call.Answer, error) {
	if x.p.o.Cache != nil {
		return x.p.o.Cache.Do(ctx, x.c, x.send)
	}
	resp, err := x.send(ctx, x.c, nil)
	if err != nil {
		return nil, err
	}
	return call.AnswerOf(resp), nil
}

// send implements call.Send. c is the exchange's own call, or one that the cache makes in
// the background for the same target.
func (x *exchange) send(ctx context.Context, c *call.Call, q *call.Question) (*http.Response, error) {
	target, err := c.URL()
	if err != nil {
		return nil, err
	}
	out := &http.Request{
		Method: c.Method, URL: target, Header: c.RequestHeader(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	out.Header["Via"] = via(x.r.ProtoMajor, x.r.ProtoMinor)
	q.Apply(out.Header)
	if c.Background {
		delete(out.Header, "Expect")
	} else {
		x.sendBody(out)
	}
	return c.To.Stack.Send(ctx, c, out)
}

// interim hands an informational answer (1xx) of the upstream on while the final one is
// awaited, as RFC 9110, section 15.2, demands of a proxy. 103 (Early Hints) names what a
// page will need, 102 says that a long call is alive. The fields of the final answer wait
// in the same map meanwhile.
//
// The transport refuses an answer with too many of them before it, which may then be tried
// again: all tries together hand on no more than one may have.
func (x *exchange) interim(status int, header http.Header) {
	if x.interims++; x.interims > wire.MostInterim {
		return
	}
	h := x.w.Header()
	final := maps.Clone(h)
	clear(h)
	for name, values := range header {
		if values = x.passed(name, values); values != nil {
			h[name] = values
		}
	}
	call.DropListed(h, header["Connection"])
	x.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, final)
}

// Entries in Via that all messages of a version share: nobody changes them in place.
var (
	via10 = []string{"1.0 " + problem.Pseudonym}
	via11 = []string{"1.1 " + problem.Pseudonym}
	via20 = []string{"2.0 " + problem.Pseudonym}
)

// via is the gateway's entry in Via for a message received in this version.
func via(major, minor int) []string {
	switch {
	case major == 2:
		return via20
	case major == 1 && minor == 0:
		return via10
	}
	return via11
}

// expectsContinue reports whether the caller waits for a 100 (Continue) before it sends its
// body. It gets one from the upstream, and from nobody else.
func (x *exchange) expectsContinue() bool {
	return !x.c.BodyRead && x.r.ContentLength != 0 && !x.http10 &&
		wire.HasToken(x.r.Header["Expect"], "100-continue")
}
