package gateway

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/telemetry"
)

// upstreamOptions are what the stack of one upstream is made of.
type upstreamOptions struct {
	name         string
	base         string
	timeouts     config.Timeouts
	guard        egress.Guard
	allowHTTP    bool
	withoutToken bool
	protection   resilience.Settings
}

func protectionOf(r *config.Route) resilience.Settings {
	s := resilience.Settings{Tries: r.Retry.Tries, Breaker: r.Breaker, Concurrency: r.Concurrency}
	if r.Rate != nil {
		s.Rate = *r.Rate
	}
	return s
}

// own is the protection of the upstreams that the gateway asks for itself, the
// registry and the token endpoint: one failure counts sooner, since there are fewer
// calls, and whoever asks repeats in its own way.
var own = resilience.Settings{
	Tries: 1,
	Breaker: config.Breaker{Enabled: true, FailureRatio: 0.5, MinRequests: 10, Window: 30 * time.Second,
		Open: 5 * time.Second},
	Concurrency: config.Concurrency{Max: 20, Share: 1, Queue: 100, Wait: 5 * time.Second},
}

// stackKey is everything that decides what a stack is. If any of it changes, the
// upstream gets a new one.
type stackKey struct {
	options upstreamOptions
	egress  *egress.Egress
}

// stacked is one stack.
type stacked struct {
	stack      call.Sender
	transport  *egress.Transport
	protection *resilience.Upstream
	waiting    proxy.Waiting
}

// stackOf returns the stack of an upstream, that of the generation before if nothing
// about it has changed.
func (g *generation) stackOf(o upstreamOptions) (*stacked, stackKey) {
	key := stackKey{options: o, egress: g.egress}
	return g.gw.stacks.take(g, key, func() *stacked { return g.newStack(o) }), key
}

// newStack puts the layers of one upstream together, from the outside in:
//
//	evidence     has the intent of a write on disk before anything of it is sent
//	retry        repeats what may be repeated, within a budget
//	token        gets a token before anything else is spent on the try, so that a
//	             missing one is never held against the upstream; on a 401 drops the
//	             token and sends once more
//	rate         what the upstream may be asked a second
//	bulkhead     how many calls it has at once
//	breaker      none while it fails
//	counter      counts what is handed to the transport and names each try by a
//	             trace id of its own
//	tries        makes a span of each try, if there is a collector of traces
//	credentials  sets Authorization: lowest above the transport, so that nothing
//	             above it can log, strip or store a token
//	transport    connections, time-outs, the check of addresses
//
// The transport and the protection are the upstream's own, shared with no other
// upstream, even on the same host.
func (g *generation) newStack(o upstreamOptions) *stacked {
	s := &stacked{
		transport: g.egress.Transport(o.timeouts, o.guard),
		protection: resilience.NewUpstream(resilience.Options{
			Name: o.name, Settings: o.protection, Now: g.gw.o.Now, Log: g.gw.o.Log,
			Classify: egress.Classify, Neutral: isHealthCheck,
			// Upstreams of the same name and base URL share one rate.
			Shared: clusterRates{&g.gw.redis}, SharedName: "upstream " + o.name + "\x00" + o.base,
		}),
	}
	var rt call.Sender = s.transport
	if !o.withoutToken {
		rt = authn.NewCredentials(s.transport, o.allowHTTP)
	}
	rt = telemetry.NewTries(rt, g.gw.tracer.Load)
	rt = proxy.NewCounter(rt, egress.Classify, g.gw.o.Now, &s.waiting)
	rt = s.protection.Breaker(rt)
	rt = s.protection.Bulkhead(rt)
	rt = s.protection.Rate(rt)
	if !o.withoutToken {
		rt = authn.NewTokenLayer(rt, o.name)
	}
	s.stack = evidence.NewLayer(s.protection.Retry(rt), g.gw.evidence.Intent)
	return s
}

// isHealthCheck reports whether an answer is that of a health check that says DOWN with a 503:
// an answer like any other, and no sign that the upstream itself is down.
func isHealthCheck(c *call.Call, resp *http.Response) bool {
	return resp.StatusCode == http.StatusServiceUnavailable && !c.Internal && c.Action == ebox.None
}

// internalSender is the way of the gateway's own calls, as an http.RoundTripper.
type internalSender struct {
	stack call.Sender
	name  string
}

// RoundTrip implements http.RoundTripper.
func (s internalSender) RoundTrip(r *http.Request) (*http.Response, error) {
	c := call.Internal(s.name)
	c.Method = r.Method
	return s.stack.Send(r.Context(), c, r)
}

// upstreams shows every upstream, by name.
func (g *Gateway) upstreams() []operate.Upstream {
	list := []operate.Upstream{}
	g.stacks.each(func(key stackKey, s *stacked) {
		list = append(list, operate.Upstream{
			Name: key.options.name, Base: key.options.base, State: s.protection.State(), WaitingState: s.waiting.State(),
			Connections: s.transport.Counts(),
		})
	})
	slices.SortFunc(list, func(a, b operate.Upstream) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Base, b.Base))
	})
	return list
}
