// Package gateway puts the parts together: a validated configuration in, a running
// gateway out.
//
// New builds everything and touches nothing outside: no listener is opened and no
// upstream is called, so a configuration can be tried by building it. Start opens
// the listeners; Run serves until its context is done and then drains. The parts
// do not know one another; what one needs of another is handed to it here, as a
// function or an interface of one method.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/proxy"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// Options are what a gateway takes from its process.
type Options struct {
	// Log is the program's log.
	Log *slog.Logger
	// Done receives the record of each finished request, for the access log. It
	// must not keep it. Nil for none.
	Done func(*exchange.Record)
	// Version is shown in the status.
	Version string
	// Now is time.Now if nil.
	Now func() time.Time
}

// Gateway is one gateway, built from one configuration.
type Gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	now     func() time.Time
	version string
	started time.Time

	exchanges proxy.Options
	egress    *egress.Egress
	tokens    *authn.Tokens
	directory *directory.Directory
	callers   *tenancy.Callers
	resolver  *tenancy.Resolver
	routes    []*server.Route
	federated []*federated
	endpoint  *server.Endpoint
	edge      *server.Edge

	internal, admin *server.Server
	draining        atomic.Bool
}

// New builds a gateway. The error says what of the configuration does not work.
func New(cfg *config.Config, o Options) (*Gateway, error) {
	g := &Gateway{cfg: cfg, log: o.Log, now: o.Now, version: o.Version}
	if g.now == nil {
		g.now = time.Now
	}
	if o.Done == nil {
		o.Done = func(*exchange.Record) {}
	}
	g.started = g.now()
	g.exchanges = proxy.Options{
		Environment: string(cfg.Environment), Log: o.Log, NewID: exchange.NewID, Now: g.now, Classify: classify,
	}
	var err error
	if g.egress, err = egress.New(egress.Options{
		Proxy: cfg.Egress.ProxyURL(), NoProxy: cfg.Egress.NoProxy, CAFile: cfg.Egress.CAFile, Now: g.now,
	}); err != nil {
		return nil, fmt.Errorf("preparing the way out: %w", err)
	}
	if err := g.newTokens(); err != nil {
		return nil, fmt.Errorf("preparing the OAuth clients: %w", err)
	}
	if g.callers, err = newCallers(cfg.Callers); err != nil {
		return nil, err
	}
	if g.resolver, err = g.newResolver(); err != nil {
		return nil, err
	}
	for _, route := range cfg.Routes {
		if err := g.addRoute(route); err != nil {
			return nil, fmt.Errorf("preparing route %s: %w", route.Name, err)
		}
	}
	if err := g.newDirectory(); err != nil {
		return nil, err
	}
	exchanges, err := proxy.New(g.exchanges)
	if err != nil {
		return nil, err
	}
	g.edge = server.NewEdge(cfg.Server.PublicURL, cfg.Server.AllowedHosts, cfg.Server.AllowedOrigins)
	g.endpoint = g.newEndpoint(exchanges, o.Done)
	g.newServers()
	return g, nil
}

// classify translates what the transport's package says of an error into the
// words of the proxy's, which know nothing of each other.
func classify(err error) proxy.Failure {
	f := egress.Classify(err)
	return proxy.Failure{Kind: f.Kind, Timeout: f.Timeout, Sent: f.Sent, Cancelled: f.Cancelled}
}

// forwarder is what sends a call, or only looks at it.
type forwarder interface {
	Serve(http.ResponseWriter, *http.Request, *proxy.Call)
}

func (g *Gateway) newEndpoint(f forwarder, done func(*exchange.Record)) *server.Endpoint {
	absent := make(map[string]string, len(g.cfg.Absent))
	for _, a := range g.cfg.Absent {
		absent[a.Path] = a.Reason
	}
	return server.NewEndpoint(server.Options{
		Edge: g.edge, PublicURL: g.cfg.Server.PublicURL, TrustedProxies: g.cfg.Server.TrustedProxies,
		MaxTarget: int(g.cfg.Server.Limits.MaxTargetBytes), MaxParameters: g.cfg.Server.Limits.MaxQueryParameters,
		Callers: g.callers, Resolver: g.resolver, Proxy: f, Providers: g.listProviders, Routes: g.routes,
		Absent: absent, Environment: string(g.cfg.Environment), CredentialKey: credentialKey, Done: done,
	})
}

func (g *Gateway) newServers() {
	l := g.cfg.Server.Limits
	limits := server.Limits{
		MaxHeaderBytes: int(l.MaxHeaderBytes), MaxConnections: l.MaxConnections, MaxStreams: l.MaxStreams,
		ReadHeaderTimeout: l.ReadHeaderTimeout, IdleTimeout: l.IdleTimeout,
	}
	g.internal = server.New(g.endpoint, limits, g.log)
	handler := g.edge.Guard(admin.New(admin.Options{Ready: g.ready, Health: g.health, Status: func() any { return g.Status() }}))
	g.admin = server.New(handler, limits, g.log)
}

// Handler is the internal endpoint, for those who bring their own listener.
func (g *Gateway) Handler() http.Handler { return g.endpoint }

// Start opens the listeners, or none of them.
func (g *Gateway) Start() error {
	internal, err := listeners(g.cfg.Server.Listen)
	if err != nil {
		return err
	}
	administration, err := listeners(g.cfg.Admin.Listen)
	if err != nil {
		return err
	}
	if err := g.admin.Listen(administration); err != nil {
		return fmt.Errorf("starting the admin listener: %w", err)
	}
	if err := g.internal.Listen(internal); err != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return errors.Join(fmt.Errorf("starting the internal endpoint: %w", err), ignore(g.admin.Shutdown(ctx), context.Canceled))
	}
	return nil
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// Addrs and AdminAddrs are what is listened on, once Start has returned.
func (g *Gateway) Addrs() []net.Addr { return g.internal.Addrs() }

// AdminAddrs are the admin listener's addresses.
func (g *Gateway) AdminAddrs() []net.Addr { return g.admin.Addrs() }

// Run serves until ctx is done, then stops in order: not ready at once, everything
// served for drain.delay with connections closing, then no new requests, and
// drain.timeout for those under way. The error is nil if nothing had to be cut.
//
// A second context ends the draining: what is under way when cut is done is cut
// at once.
func (g *Gateway) Run(ctx, cut context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { g.tokens.Run(background) })
	wg.Go(func() { g.directory.Run(background) })
	defer wg.Wait()
	defer stop()

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-g.internal.Failed():
	case failure = <-g.admin.Failed():
	}
	g.draining.Store(true)
	g.internal.CloseIdle()
	if failure == nil {
		g.log.Info("stopping: still serving", "for", g.cfg.Server.Drain.Delay.String())
		select {
		case <-time.After(g.cfg.Server.Drain.Delay):
		case <-cut.Done():
		}
	}
	deadline, cancel := context.WithTimeout(cut, g.cfg.Server.Drain.Timeout)
	defer cancel()
	err := g.internal.Shutdown(deadline)
	if err != nil {
		err = fmt.Errorf("stopping: requests were cut after %s: %w", g.cfg.Server.Drain.Timeout, err)
	}
	return errors.Join(failure, err, g.admin.Shutdown(deadline))
}

// tokenTransport is the stack of the token endpoint, an upstream like any other.
func (g *Gateway) tokenTransport() (http.RoundTripper, error) {
	u, err := url.Parse(g.cfg.OAuth.TokenURL)
	if err != nil {
		return nil, fmt.Errorf("reading oauth.tokenUrl: %w", err)
	}
	t := g.cfg.OAuth.Timeout
	return g.egress.Transport(egress.Timeouts{Connect: min(t, 3*time.Second), Header: t, Idle: t},
		guardFor(u, g.cfg.OAuth.AllowPrivateNetworks)), nil
}
