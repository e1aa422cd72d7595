package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Breaker is the lowest layer, above the credentials. It refuses a call while the
// upstream's circuit is open, with ErrCircuitOpen as 503 and the time left.
//
// A call fails if the transport fails, time-outs of the gateway's own included, if
// its status is 502, 503 or 504 and not Options.Neutral, or if the answer's body
// breaks off; it counts when its body has ended. A probe of a half-open circuit is
// judged by its header alone, since nobody else may call in the meantime. A caller
// who goes away, or whose own body cannot be read, says nothing about the upstream.
func (u *Upstream) Breaker(next call.Sender) call.Sender {
	if u.breaker == nil {
		return next
	}
	return &breakerLayer{u: u, next: next}
}

type breakerLayer struct {
	u    *Upstream
	next call.Sender
}

// Send implements call.Sender.
func (l *breakerLayer) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	b := l.u.breaker
	t, err := b.admit(tenantOf(c))
	if err != nil {
		call.CloseBody(r)
		return nil, err
	}
	out := neutral // if the transport panics, the fault is the gateway's
	settled := false
	defer func() {
		if !settled {
			b.settle(&t, out)
		}
	}()

	sent, upload := watchUpload(r)
	answer, err := l.next.Send(ctx, c, sent)
	if err != nil {
		if upload == nil || !upload.broken.Load() {
			out = l.u.outcomeOf(ctx, err)
		}
		return nil, err
	}
	if failing(answer.StatusCode) {
		if !l.u.o.Neutral(c, answer) {
			out = failed
		}
		return answer, nil
	}
	out = succeeded
	if !t.probing() && !empty(answer) {
		answer.Body = &judgedBody{ReadCloser: answer.Body, u: l.u, ctx: ctx, try: t}
		settled = true
	}
	return answer, nil
}

// failing tells the statuses by which an upstream, or a proxy in front of it, says
// that it cannot serve.
func failing(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable ||
		status == http.StatusGatewayTimeout
}

// empty tells that an answer has no body to wait for.
func empty(answer *http.Response) bool {
	return answer.Body == nil || answer.Body == http.NoBody || answer.ContentLength == 0
}

// outcomeOf says what an error of the layers below means for the circuit.
func (u *Upstream) outcomeOf(ctx context.Context, err error) outcome {
	var refusal problem.Reporter
	if errors.Is(ctx.Err(), context.Canceled) || errors.As(err, &refusal) {
		return neutral
	}
	switch f := u.o.Classify(err); {
	case f.Cancelled:
		return neutral
	case !f.Sent:
		return unreached
	case f.Timeout:
		return timedOut
	}
	return failed
}

// judgedBody settles its call when it ends: a success if it ended well or was
// closed before, since then the upstream had done nothing wrong.
type judgedBody struct {
	io.ReadCloser
	u       *Upstream
	ctx     context.Context
	try     try
	settled atomic.Bool
}

// Read implements io.Reader.
func (b *judgedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case err == io.EOF:
		b.settle(succeeded)
	default:
		b.settle(b.brokenOff(err))
	}
	return n, err
}

// brokenOff is what an error within the body says: its connection was made, so at
// best nothing.
func (b *judgedBody) brokenOff(err error) outcome {
	if b.u.outcomeOf(b.ctx, err) == neutral {
		return neutral
	}
	return failed
}

// Close implements io.Closer.
func (b *judgedBody) Close() error {
	b.settle(succeeded)
	return b.ReadCloser.Close()
}

func (b *judgedBody) settle(o outcome) {
	if b.settled.CompareAndSwap(false, true) {
		b.u.breaker.settle(&b.try, o)
	}
}

// uploadBody notes whether the caller's body could not be read: the transport
// returns such an error as if the exchange had failed.
type uploadBody struct {
	io.ReadCloser
	broken atomic.Bool
}

func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.Store(true)
	}
	return n, err
}

// watchUpload returns the request as it is to be sent, and its body if it has one.
func watchUpload(r *http.Request) (*http.Request, *uploadBody) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	body := &uploadBody{ReadCloser: r.Body}
	sent := new(http.Request)
	*sent = *r
	sent.Body = body
	return sent, body
}
