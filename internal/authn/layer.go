package authn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"ebox-gateway/internal/exchange"
)

type (
	contextSource struct{}
	contextToken  struct{}
)

// SourceKey is the context key of the *Source, for a context that carries it
// itself.
var SourceKey any = contextSource{}

// WithSource returns a context whose requests are sent with tokens of s.
func WithSource(ctx context.Context, s *Source) context.Context {
	return context.WithValue(ctx, SourceKey, s)
}

// tokenContext hands a token to the credentials layer, and to nobody who does not
// know its key.
type tokenContext struct {
	context.Context
	token Token
}

func (c *tokenContext) Value(key any) any {
	if key == (contextToken{}) {
		return c.token
	}
	return c.Context.Value(key)
}

// maxDrained is how much of a 401's body is read so that its connection can be
// used again; a longer one costs the connection.
const maxDrained = 16 << 10

// errNoSource is a fault of the wiring: a request without a source must not go
// out without credentials.
var errNoSource = errors.New("sending a request through the token layer: its context has no token source")

// tokenLayer is the layer that NewTokenLayer makes.
type tokenLayer struct {
	next     http.RoundTripper
	upstream string
	now      func() time.Time
}

// NewTokenLayer returns the layer that gets a token from the *Source in the
// request's context and hands it to the credentials layer below. upstream names
// the upstream that next leads to; now tells the time, time.Now if nil.
//
// A 401 of the upstream drops the token if it is still the one that was refused,
// and the request goes once more with a new one, if its body can be sent again
// and it opens no document. In every other case the caller gets the 401 as it came.
func NewTokenLayer(next http.RoundTripper, upstream string, now func() time.Time) http.RoundTripper {
	if now == nil {
		now = time.Now
	}
	return &tokenLayer{next, upstream, now}
}

// RoundTrip implements http.RoundTripper. Besides the errors of the layers below
// it returns those of Source.Token.
func (l *tokenLayer) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	source, _ := ctx.Value(SourceKey).(*Source)
	if source == nil {
		closeBody(r)
		return nil, errNoSource
	}
	record := exchange.From(ctx)
	token, err := l.token(ctx, source, record)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	answer, err := l.next.RoundTrip(r.WithContext(&tokenContext{ctx, token}))
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		return answer, err
	}

	// The order matters: everything that can fail comes before the 401 is given up.
	again := source.Refused(token, l.upstream)
	if !again || record.Opening {
		return answer, nil
	}
	body, ok := bodyAgain(r)
	if !ok {
		return answer, nil
	}
	renewed, err := l.token(ctx, source, record)
	if err != nil || renewed.Hash() == token.Hash() { // some servers issue the same token again
		if body != nil {
			_ = body.Close()
		}
		return answer, nil
	}
	discard(answer)
	second := r.WithContext(&tokenContext{ctx, renewed})
	second.Body = body
	return l.next.RoundTrip(second)
}

// token gets a token and notes how long that took.
func (l *tokenLayer) token(ctx context.Context, source *Source, record *exchange.Record) (Token, error) {
	start := l.now()
	token, err := source.Token(ctx)
	record.Phases.Token += l.now().Sub(start)
	return token, err
}

// bodyAgain returns the body for a second sending; false if there is none to be
// had. The first one may still be read by the transport and is left to it.
func bodyAgain(r *http.Request) (io.ReadCloser, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil
}

// discard reads a short body to its end and closes it. One of unknown or greater
// length is closed at once: reading it might take as long as its sender likes.
func discard(answer *http.Response) {
	if answer.ContentLength >= 0 && answer.ContentLength <= maxDrained {
		_, _ = io.CopyN(io.Discard, answer.Body, answer.ContentLength)
	}
	_ = answer.Body.Close()
}

// closeBody keeps the promise of RoundTrippers to close the body even if they fail.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
