// Package gateway puts the parts together: a validated configuration in, a running
// gateway out.
//
// New builds everything and touches nothing outside: no listener is opened and no
// upstream is called, so a configuration can be tried by building it. Start opens
// the listeners; Run serves until its context is done and then drains. Replace
// builds another configuration whole and swaps it in. The parts do not know one
// another; what one needs of another is handed to it here, as a function or an
// interface of one method.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/exchange"
	"ebox-gateway/internal/server"
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

// Gateway is a running gateway, whose configuration can be replaced.
type Gateway struct {
	o       Options
	started time.Time
	pool    *pool

	// current is what serves. replacing serialises its replacement.
	current   atomic.Pointer[generation]
	replacing sync.Mutex
	// background runs what works by itself: token renewal, the directory.
	background *background

	internal, admin *server.Server
	draining        atomic.Bool
}

// New builds a gateway. The error says what of the configuration does not work.
func New(cfg *config.Config, o Options) (*Gateway, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Done == nil {
		o.Done = func(*exchange.Record) {}
	}
	g := &Gateway{o: o, started: o.Now(), pool: newPool(), background: newBackground()}
	first, err := newGeneration(cfg, o, g.pool, nil)
	if err != nil {
		return nil, err
	}
	g.current.Store(first)
	limits := limitsOf(cfg)
	g.internal = server.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.current.Load().endpoint.ServeHTTP(w, r)
	}), limits, o.Log)
	administration := admin.New(admin.Options{Ready: g.ready, Health: g.health, Status: func() any { return g.Status() }})
	g.admin = server.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.current.Load().edge.Guard(administration).ServeHTTP(w, r)
	}), limits, o.Log)
	return g, nil
}

func limitsOf(cfg *config.Config) server.Limits {
	l := cfg.Server.Limits
	return server.Limits{
		MaxHeaderBytes: int(l.MaxHeaderBytes), MaxConnections: l.MaxConnections, MaxStreams: l.MaxStreams,
		ReadHeaderTimeout: l.ReadHeaderTimeout, IdleTimeout: l.IdleTimeout,
	}
}

// Start opens the listeners, or none of them.
func (g *Gateway) Start() error {
	cfg := g.current.Load().cfg
	internal, err := listeners(cfg.Server.Listen)
	if err != nil {
		return err
	}
	administration, err := listeners(cfg.Admin.Listen)
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

// Addrs are the internal endpoint's addresses, once Start has returned.
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
	g.background.start(g.current.Load())
	defer g.background.stop()

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-g.internal.Failed():
	case failure = <-g.admin.Failed():
	}
	g.draining.Store(true)
	g.internal.CloseIdle()
	drain := g.current.Load().cfg.Server.Drain
	if failure == nil {
		g.o.Log.Info("stopping: still serving", "for", drain.Delay.String())
		select {
		case <-time.After(drain.Delay):
		case <-cut.Done():
		}
	}
	deadline, cancel := context.WithTimeout(cut, drain.Timeout)
	defer cancel()
	err := g.internal.Shutdown(deadline)
	if err != nil {
		err = fmt.Errorf("stopping: requests were cut after %s: %w", drain.Timeout, err)
	}
	return errors.Join(failure, err, g.admin.Shutdown(deadline))
}

// Explain takes a request through the endpoint up to the point where it would be
// sent. target is a path with its query, from the caller's address, listener the
// name of the listener it would come in by.
func (g *Gateway) Explain(method, target string, from netip.Addr, listener string, header http.Header) (Explanation, error) {
	return g.current.Load().explain(method, target, from, listener, header)
}

// CheckOnline asks the Authorization Server for each token that the configuration
// needs, the registry for its list, and every upstream whether it answers. The
// upstreams are asked without a token and for nothing in particular: any answer
// shows that the way there works, and no e-Box is touched.
func (g *Gateway) CheckOnline(ctx context.Context) []Check { return g.current.Load().checkOnline(ctx) }

// Token asks for one token, with the key of src if it is not nil, and keeps nothing.
func (g *Gateway) Token(ctx context.Context, client string, scopes []string, src *authn.KeySource) (authn.Token, error) {
	return g.current.Load().tokens.Try(ctx, client, scopes, src)
}
