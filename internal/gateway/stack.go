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

// upstreamOptions are what the stack of one upstream is made of. They are compared,
// to tell whether a new configuration leaves an upstream as it was.
type upstreamOptions struct {
	name         string
	base         string
	timeouts     config.Timeouts
	allowPrivate bool
	// allowed is the host that the operator wrote into the configuration as an
	// address, empty if it was none.
	allowed      string
	allowHTTP    bool
	withoutToken bool
}

// stackOf returns the stack of an upstream, that of the generation before if nothing
// about it has changed.
func (g *generation) stackOf(o upstreamOptions) (*stacked, stackKey) {
	key := stackKey{options: o, egress: g.egress}
	return g.pool.take(g, key, func() *stacked {
		s := new(stacked)
		s.stack, s.transport = g.stack(o)
		return s
	}), key
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
func (g *generation) stack(o upstreamOptions) (stack http.RoundTripper, transport *egress.Transport) {
	transport = g.egress.Transport(egress.Timeouts{
		Connect: o.timeouts.Connect, Header: o.timeouts.Header, Idle: o.timeouts.Idle,
	}, o.guard())
	stack = transport
	if o.withoutToken {
		return proxy.NewCounter(stack, g.exchanges), transport
	}
	stack = authn.NewCredentials(stack, o.allowHTTP)
	stack = proxy.NewCounter(stack, g.exchanges)
	stack = authn.NewTokenLayer(stack, o.name, g.now)
	return stack, transport
}

func (o upstreamOptions) guard() egress.Guard {
	guard := egress.Guard{AllowPrivate: o.allowPrivate}
	if o.allowed != "" {
		guard.Hosts = []string{o.allowed}
	}
	return guard
}

// written gives the host of a URL that an operator wrote into the configuration if
// it stands for itself: an address, or localhost. A name does not: it is somebody's
// DNS that says where it leads.
func written(u *url.URL) string {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return u.Host
	}
	return ""
}
