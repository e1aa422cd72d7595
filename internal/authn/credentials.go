package authn

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"ebox-gateway/internal/exchange"
)

// errNoToken is a fault of the wiring, like errNoSource.
var errNoToken = errors.New("sending a request through the credentials layer: no token layer gave it a token")

// credentials is the layer that NewCredentials makes.
type credentials struct {
	next      http.RoundTripper
	allowHTTP bool
}

// NewCredentials returns the layer that writes the token into the request. It
// stands lowest above the transport, so that nothing above can log, cache or
// strip a credential; what it tells is the token's hash, in the exchange record.
//
// A token travels over https only. The loopback interface needs no encryption;
// allowHTTP lets tokens travel in the clear elsewhere too, for laboratories.
func NewCredentials(next http.RoundTripper, allowHTTP bool) http.RoundTripper {
	return &credentials{next, allowHTTP}
}

// RoundTrip implements http.RoundTripper. The request that it was given keeps its
// headers as they were.
func (l *credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	token, _ := ctx.Value(contextToken{}).(Token)
	if token.h == nil {
		closeBody(r)
		return nil, errNoToken
	}
	if !mayCarryToken(r.URL, l.allowHTTP) {
		closeBody(r)
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
	exchange.From(ctx).TokenHash = token.h.hash
	return l.next.RoundTrip(&out)
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
