package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"

	"ebox-gateway/internal/call"
)

// outcome is what a call said about the upstream.
type outcome uint8

const (
	// neutral says nothing: the gateway itself failed, or the caller did.
	neutral outcome = iota
	// succeeded is an answer, whatever it says.
	succeeded
	// unreached is a connection that was never made, whoever the call was for.
	unreached
	// failed is a failure that may have to do with whom the call was for.
	failed
)

// Breaker is the lowest layer, above the credentials. It refuses a call while the
// upstream's circuit is open, with ErrCircuitOpen as 503 and the time left.
//
// A call fails if the transport fails, time-outs of the gateway's own included, if
// its status is 502, 503 or 504 and not Options.Neutral, or if the answer's body
// breaks off; it counts when its body has ended. A probe of a half-open circuit is
// judged by its header alone, since nobody else may call in the meantime. A caller
// who went away says nothing about the upstream, nor do the gateway's own refusals, a
// body of the caller's that cannot be read, or a panic of the transport.
func (u *Upstream) Breaker(next call.Sender) call.Sender {
	b := u.breaker
	if b == nil {
		return next
	}
	return call.SenderFunc(func(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
		t, err := b.admit(c)
		if err != nil {
			call.CloseBody(r)
			return nil, err
		}
		sent, upload := watchUpload(r)
		answer, err := next.Send(ctx, c, sent)
		switch {
		case err != nil && upload != nil && upload.broken.Load():
			b.settle(t, neutral)
		case err != nil:
			b.settle(t, u.outcomeOf(ctx, err))
		case failing(answer.StatusCode) && u.o.Neutral(c, answer):
			b.settle(t, neutral)
		case failing(answer.StatusCode):
			b.settle(t, failed)
		case t.probing() || empty(answer):
			b.settle(t, succeeded)
		default:
			answer.Body = &endedBody{ReadCloser: answer.Body, end: func(err error) { b.settle(t, u.bodyOutcome(ctx, err)) }}
		}
		return answer, err
	})
}

// outcomeOf says what an error of the layers below means for the circuit.
func (u *Upstream) outcomeOf(ctx context.Context, err error) outcome {
	if refused(err) || errors.Is(ctx.Err(), context.Canceled) {
		return neutral
	}
	switch f := u.o.Classify(err); {
	case f.Cancelled:
		return neutral
	case !f.Sent:
		return unreached
	}
	return failed
}

// bodyOutcome says what the end of a body means. One that was closed before its end had
// nothing wrong by then; one that breaks off was of a connection that was made.
func (u *Upstream) bodyOutcome(ctx context.Context, err error) outcome {
	switch {
	case err == nil || err == io.EOF:
		return succeeded
	case u.outcomeOf(ctx, err) == neutral:
		return neutral
	}
	return failed
}
