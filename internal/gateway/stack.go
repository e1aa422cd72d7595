package gateway

import (
	"net/http"
	"net/netip"
	"net/url"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/proxy"
)

// upstreamOptions are what the stack of one upstream is made of.
type upstreamOptions struct {
	name         string
	timeouts     config.Timeouts
	guard        egress.Guard
	allowHTTP    bool
	withoutToken bool
}

// stack puts the layers of one upstream together, from the outside in:
//
//	token        gets a token before anything else is spent on the call, so that
//	             a missing one is never held against the upstream; on a 401 drops
//	             the token and sends once more
//	counter      counts what is handed to the transport and names each try by a
//	             trace id of its own
//	credentials  sets Authorization: lowest above the transport, so that nothing
//	             above it can log, strip or store a token
//	transport    connections, time-outs, the check of addresses
//
// Retries belong above token; rate, bulkhead and breaker between token and
// counter. The transport is the upstream's own: connections are shared with no
// other upstream, even on the same host.
func (g *Gateway) stack(o upstreamOptions) (stack http.RoundTripper, transport *egress.Transport) {
	transport = g.egress.Transport(egress.Timeouts{
		Connect: o.timeouts.Connect, Header: o.timeouts.Header, Idle: o.timeouts.Idle,
	}, o.guard)
	stack = transport
	if o.withoutToken {
		return proxy.NewCounter(stack, g.exchanges), transport
	}
	stack = authn.NewCredentials(stack, o.allowHTTP)
	stack = proxy.NewCounter(stack, g.exchanges)
	stack = authn.NewTokenLayer(stack, o.name, g.now)
	return stack, transport
}

// guardFor allows what an operator has written into the configuration himself: an
// address, or localhost, stands for itself. A name does not: it is somebody's DNS
// that says where it leads.
func guardFor(u *url.URL, allowPrivate bool) egress.Guard {
	guard := egress.Guard{AllowPrivate: allowPrivate}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		guard.Hosts = []string{u.Host}
	}
	return guard
}
