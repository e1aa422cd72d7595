package authn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

// Session is the credential of one call: the source of its tokens, and the token that
// the layers below send. It implements call.Credential and belongs to one call, whose
// tries follow one another.
type Session struct {
	source *Source
	token  Token
}

// Session makes the credential of one call.
func (s *Source) Session() *Session { return &Session{source: s} }

// Client, Scopes and Again are call.Credential's.
func (s *Session) Client() string { return s.source.Client() }

func (s *Session) Scopes() []string { return s.source.Scopes() }

func (s *Session) Again() call.Credential { return s.source.Session() }

// sessionOf gives a call's session, nil if it has none.
func sessionOf(c *call.Call) *Session {
	s, _ := c.Credential.(*Session)
	return s
}

// maxDrained is how much of a 401's body is read so that its connection can be
// used again; a longer one costs the connection.
const maxDrained = 16 << 10

// tokenLayer is the layer that NewTokenLayer makes.
type tokenLayer struct {
	next     call.Sender
	upstream string
	// helped says that a renewal was the cure when the upstream last answered 401: its 401s
	// are about the token.
	helped atomic.Bool
}

// NewTokenLayer returns the layer that gets a token for a call, whose credential must be a
// *Session, and leaves it there for the credentials layer below. upstream names
// the upstream that next leads to.
//
// A 401 of the upstream drops the token if it is still the one that was refused,
// and the request goes once more with a new one, if its body can be sent again
// and it opens no document. If the upstream refuses that token as well before it may
// force another renewal, the caller gets a 503 that says so: it has no token that it
// could see to. In every other case the caller gets the 401 as it came.
func NewTokenLayer(next call.Sender, upstream string) call.Sender {
	return &tokenLayer{next: next, upstream: upstream}
}

// Send implements call.Sender. Besides the errors of the layers below
// it returns those of Source.Token.
func (l *tokenLayer) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	session := sessionOf(c)
	if session == nil { // a fault of the wiring, and no reason to go out without credentials
		call.CloseBody(r)
		return nil, errors.New("sending a request through the token layer: its call has no credential of this package")
	}
	token, err := session.renew(ctx, c)
	if err != nil {
		call.CloseBody(r)
		return nil, err
	}
	answer, err := l.next.Send(ctx, c, r)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		return answer, err
	}

	// The order matters: everything that can fail comes before the 401 is given up.
	again, wait := session.source.Refused(token, l.upstream)
	if wait > 0 && l.helped.Load() {
		discard(answer)
		return nil, problem.Unavailable("The upstream refuses the gateway's access token again, less than a minute after "+
			"it was renewed for the same reason, "+
			"and the gateway renews it at most once a minute. The upstream did nothing, and this says nothing about the "+
			"enterprise. Try again after the time in Retry-After.", wait)
	}
	if !again || c.Opening {
		return answer, nil
	}
	body, ok := bodyAgain(r)
	if !ok {
		return answer, nil
	}
	renewed, err := session.renew(ctx, c)
	if err != nil || renewed.Hash() == token.Hash() { // some servers issue the same token again
		if body != nil {
			_ = body.Close()
		}
		return answer, nil
	}
	discard(answer)
	second := new(http.Request)
	*second = *r
	second.Body = body
	answer, err = l.next.Send(ctx, c, second)
	if err == nil {
		l.helped.Store(answer.StatusCode != http.StatusUnauthorized)
	}
	return answer, err
}

// renew gets a token for the tries that follow, and notes how long that took.
func (s *Session) renew(ctx context.Context, c *call.Call) (Token, error) {
	now := s.source.client.tokens.o.Now
	start := now()
	token, err := s.source.Token(ctx)
	c.Record.Phases.Token += now().Sub(start)
	if err == nil {
		s.token = token
	}
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
