package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
)

// Carrier sends a call with a credential. It writes that to the wire in place of whatever
// the request's header has under Authorization, and keeps it nowhere.
type Carrier interface {
	SendAs(ctx context.Context, c *call.Call, r *http.Request, authorization string) (*http.Response, error)
}

// credentials is the layer that NewCredentials makes.
type credentials struct {
	next      Carrier
	allowHTTP bool
}

// NewCredentials returns the layer that writes the token into the request. It
// stands lowest above the transport, so that nothing above can log, cache or
// strip a credential; what it tells is the token's hash, in the exchange record.
//
// A token travels over https only. The loopback interface needs no encryption;
// allowHTTP lets tokens travel in the clear elsewhere too, for laboratories.
func NewCredentials(next Carrier, allowHTTP bool) call.Sender {
	return &credentials{next, allowHTTP}
}

// Send implements call.Sender. The token is in no header map: the request stays as it was.
func (l *credentials) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	session := sessionOf(c)
	if session == nil || session.token.h == nil { // a fault of the wiring
		call.CloseBody(r)
		return nil, errors.New("sending a request through the credentials layer: no token layer gave it a token")
	}
	if !mayCarryToken(r.URL, l.allowHTTP) {
		call.CloseBody(r)
		return nil, fmt.Errorf("sending a token to %s over plain http: tokens travel over https only; "+
			"use an https URL, or allow http if this is a laboratory", r.URL.Host)
	}
	token := session.token
	c.Record.TokenHash = token.h.hash
	return l.next.SendAs(ctx, c, r, token.h.header)
}

// mayCarryToken reports whether a token or an assertion may be sent to u: over https,
// within this machine, or where http was allowed in so many words.
func mayCarryToken(u *url.URL, allowHTTP bool) bool {
	return u.Scheme == "https" || allowHTTP || config.IsLoopbackHost(u.Hostname())
}
