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
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/telemetry"
)

// Options are what a gateway takes from its process.
type Options struct {
	// Log is the program's log.
	Log *slog.Logger
	// Done receives the record of each finished request, for the access log. It
	// must not keep it. Nil for none.
	Done func(*call.Record)
	// Version is shown in the status.
	Version string
	// Load reads the configuration anew; nil if it cannot change.
	Load func() (*config.Config, error)
	// Level is that of the logs, which the admin listener may set; nil if it may not.
	Level *slog.LevelVar
	// OpenFile opens the files of the evidence; os.OpenFile if nil.
	OpenFile audit.OpenFile
	// Now is time.Now if nil.
	Now func() time.Time
}

// Gateway is a running gateway, whose configuration can be replaced.
type Gateway struct {
	o       Options
	started time.Time
	pool    *pool
	// done is told of each finished record.
	done func(*call.Record)
	// activity is what happened in the last minutes.
	activity *activity.Recent
	metrics  *telemetry.Metrics

	// serving counts the requests under way, of all generations.
	serving atomic.Int64
	// current is what serves. replacing serialises its replacement.
	current   atomic.Pointer[generation]
	replacing sync.Mutex
	// background runs what works by itself: token renewal, the directory.
	background *background

	// rejected is the last configuration that was not taken.
	rejected atomic.Pointer[rejection]

	readiness    readiness
	certificates certificates
	// listenerCertificates is when the certificates in use expire, by listener.
	listenerCertificates atomic.Pointer[map[string]time.Time]
	internal, admin      *listen.Server
	state                atomic.Int32 // one of serving, leaving, refusing
}

// The states of a gateway: requests are served; they are served, and callers asked
// to go elsewhere; new ones are refused.
const (
	serving int32 = iota
	leaving
	refusing
)

// New builds a gateway. The error says what of the configuration does not work.
func New(cfg *config.Config, o Options) (*Gateway, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Done == nil {
		o.Done = func(*call.Record) {}
	}
	g := &Gateway{o: o, started: o.Now(), background: newBackground()}
	g.pool = newPool(cfg, o, g.tell, g.knownProvider)
	g.activity = g.newActivity()
	var err error
	if g.metrics, err = g.newMetrics(); err != nil {
		return nil, err
	}
	g.done = g.finished()
	first, err := newGeneration(cfg, o, g.pool, nil, g.done)
	if err != nil {
		return nil, err
	}
	first.useRedis()
	first.useTracer()
	g.useMetrics(first)
	g.current.Store(first)
	g.internal = g.newServer(http.HandlerFunc(g.serveInternal), true)
	g.admin = g.newServer(g.administration(), false)
	return g, nil
}

// serveInternal has a request served by the generation in force, which is kept until
// the request is done.
func (g *Gateway) serveInternal(w http.ResponseWriter, r *http.Request) {
	if g.state.Load() == refusing {
		g.metrics.Stopping()
		problem.Write(w, r, problem.Unavailable("The gateway is stopping. Send the request again; another one will take it.",
			time.Second), call.NewID(), 0)
		return
	}
	now := g.enter()
	defer now.leave()
	defer g.serving.Add(-1)
	if g.serving.Add(1) > int64(now.cfg.Server.Limits.MaxRequests) {
		g.metrics.Overloaded()
		problem.Write(w, r, problem.Unavailable("The gateway is serving as many requests as server.limits.maxRequests "+
			"allows. Nothing was sent. Try again shortly, with fewer requests at once.", time.Second).
			Proxy(problem.ProxyConnectionLimit), call.NewID(), 0)
		return
	}
	now.endpoint.ServeHTTP(w, r)
}

// enter takes the generation in force. One that was replaced in the same moment is
// given up again, so that a generation that nobody is in stays empty.
func (g *Gateway) enter() *generation {
	for {
		now := g.current.Load()
		now.active.Add(1)
		if now == g.current.Load() {
			return now
		}
		now.leave()
	}
}

// adminToken reads the token of the admin listener, which may change at any time.
func (g *Gateway) adminToken() (string, error) {
	file := g.current.Load().cfg.Admin.TokenFile
	if file == "" {
		return "", nil
	}
	token, err := files.Text(file, files.Most)
	if err != nil {
		return "", fmt.Errorf("reading admin.tokenFile: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}

// newServer makes a server. With reserve, it leaves the last file descriptors to the others.
func (g *Gateway) newServer(h http.Handler, reserve bool) *listen.Server {
	return listen.New(listen.Options{
		Handler: h, ConnContext: server.ConnContext, NewID: call.NewID, Log: g.o.Log, Reserve: reserve,
	})
}

func limitsOf(cfg *config.Config) listen.Limits {
	return listen.Limits{Limits: cfg.Server.Limits, Grace: cfg.Server.Drain.Timeout}
}

// Start opens the evidence and the listeners, or none of them.
func (g *Gateway) Start() error {
	if err := g.openEvidence(); err != nil {
		return errors.Join(err, g.closeEvidence())
	}
	change, err := g.prepareListeners(g.current.Load().cfg)
	if err != nil {
		return errors.Join(err, g.closeEvidence())
	}
	change.commit()
	g.logStart()
	return nil
}

// logStart says in one line what was started.
func (g *Gateway) logStart() {
	cfg := g.current.Load().cfg
	var callers, administration []string
	for _, a := range g.Addrs() {
		callers = append(callers, a.String())
	}
	for _, a := range g.AdminAddrs() {
		administration = append(administration, a.String())
	}
	g.o.Log.Info("started", "version", g.o.Version, "environment", string(cfg.Environment), "hash", cfg.Hash(),
		"listeners", callers,
		"admin", administration, "clients", slices.Sorted(maps.Keys(cfg.OAuth.Clients)), "enterprises",
		len(cfg.Tenancy.Enterprises), "callers", len(cfg.Callers), "routes", len(cfg.Routes))
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
func (g *Gateway) Run(ctx, cut context.Context) (err error) {
	defer func() {
		err = errors.Join(err, g.closeEvidence())
		g.o.Log.Info("stopped")
	}()
	g.background.start(g.current.Load())
	g.background.wg.Go(func() { g.pool.switches.Follow(g.background.ctx) })
	g.background.wg.Go(func() { g.followKeys(g.background.ctx) })
	g.background.wg.Go(func() { g.becomeReady(g.background.ctx) })
	defer g.pool.cache.Close()
	defer g.stopBackground()

	<-ctx.Done()
	g.internal.Leave() // first: who reads that it is not ready may count on closing connections
	g.state.Store(leaving)
	drain := g.current.Load().cfg.Server.Drain
	g.o.Log.Info("stopping: still serving", "for", drain.Delay.String())
	select {
	case <-time.After(drain.Delay):
	case <-cut.Done():
	}
	g.state.Store(refusing)
	deadline, cancel := context.WithTimeout(cut, drain.Timeout)
	defer cancel()
	err = g.drained(deadline)
	if err != nil {
		g.o.Log.Warn("stopping: requests are cut", "requests", g.underway(), "after", drain.Timeout.String())
		err = fmt.Errorf("stopping: %d requests were cut after %s: %w", g.underway(), drain.Timeout, err)
	}
	// What is still under way is cut by a deadline that is over; nothing else waits.
	return errors.Join(err, ignore(g.internal.Shutdown(deadline), deadline.Err()),
		ignore(g.admin.Shutdown(deadline), deadline.Err()))
}

// stopBackground ends what works by itself. No configuration that is being taken can
// start anything after it.
func (g *Gateway) stopBackground() {
	g.replacing.Lock()
	defer g.replacing.Unlock()
	g.background.stop()
}

// drained waits until no request is under way.
func (g *Gateway) drained(ctx context.Context) error {
	const pause = 10 * time.Millisecond
	for g.underway() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// underway counts the requests that are being served, by whatever generation.
func (g *Gateway) underway() int64 { return g.serving.Load() }
