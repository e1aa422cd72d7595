package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"ebox-gateway/internal/call"
)

// errNoToken is a fault of the wiring, like errNoSource.
var errNoToken = errors.New("sending a request through the credentials layer: no token layer gave it a token")

// credentials is the layer that NewCredentials makes.
type credentials struct {
	next      call.Sender
	allowHTTP bool
}

// NewCredentials returns the layer that writes the token into the request. It
// stands lowest above the transport, so that nothing above can log, cache or
// strip a credential; what it tells is the token's hash, in the exchange record.
//
// A token travels over https only. The loopback interface needs no encryption;
// allowHTTP lets tokens travel in the clear elsewhere too, for laboratories.
func NewCredentials(next call.Sender, allowHTTP bool) call.Sender {
	return &credentials{next, allowHTTP}
}

// Send implements call.Sender. The request that it was given keeps its header as it was.
func (l *credentials) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	session := sessionOf(c)
	if session == nil || session.token.h == nil {
		call.CloseBody(r)
		return nil, errNoToken
	}
	token := session.token
	if !mayCarryToken(r.URL, l.allowHTTP) {
		call.CloseBody(r)
		return nil, fmt.Errorf("sending a token to %s over plain http: tokens travel over https only; use an https URL, or allow http if this is a laboratory", r.URL.Host)
	}
	// The values are shared with the original; nobody below changes them in place.
	header := make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		// A key that is not in canonical form would stand beside ours on the wire.
		if len(name) == len("Authorization") && strings.EqualFold(name, "Authorization") {
			continue
		}
		header[name] = values
	}
	header["Authorization"] = token.h.header
	out := *r
	out.Header = header
	c.Record.TokenHash = token.h.hash
	return l.next.Send(ctx, c, &out)
}

// isLoopback says whether a host of a URL is this machine: localhost or a loopback
// address. Names below localhost are not: some resolvers ask the network for them.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
