// Package gateway puts the parts together: a validated configuration in, a running
// gateway out.
//
// New builds everything and touches nothing outside: no listener is opened and no
// upstream is called, so a configuration can be tried by building it. Start opens
// the listeners; Run serves until its context is done and then drains (gateway.go).
// Replace builds another configuration whole and swaps it in (reload.go); what it
// carries over from the one before stands in generation.go, what it makes anew in
// parts.go. The parts do not know one another; what one needs of another is handed to
// it here, as a function or an interface of one method.
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
	"sync"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/egress"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/wire"
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

// Gateway is a running gateway. What stands here outlives every configuration; what a
// configuration makes is its generation, which Replace swaps.
type Gateway struct {
	o       Options
	started time.Time

	// current is what serves; serving counts the requests under way, of all generations.
	current atomic.Pointer[generation]
	serving atomic.Int64
	state   atomic.Int32 // one of serving, leaving, refusing
	// replacing serialises the replacement of current. rejected is the last configuration
	// that was not taken, nil if that was before the one in force.
	replacing sync.Mutex
	// reloading is held from reading a configuration until it is in force: numbers that are
	// suspended meanwhile would be so in the generation alone that is replaced.
	reloading  sync.Mutex
	rejected   atomic.Pointer[rejection]
	background *background
	readiness  readiness

	internal, admin *listen.Server
	certificates    atomic.Pointer[certificates]

	// stacks are those of upstreams: what an upstream is to us, its circuit and its
	// connections among it, is not forgotten because another line of the configuration
	// changed. When nobody needs one any more, its idle connections are given up; requests
	// under way are not cut.
	stacks *shared[stackKey, *stacked]
	// redis is the store that replicas share, and tracer what is told of every try: those
	// of the generation in force, nil for none. instance names this process in traces.
	redis    atomic.Pointer[redisstore.Store]
	tracer   atomic.Pointer[telemetry.Tracer]
	instance string
	limits   *resilience.Limits // the rates of enterprises and callers
	memory   *memory.Budget     // bounds what is held for callers
	cache    *cache.Cache
	calls    *wire.Calls // the trace ids under way
	switches *maintenance.Switches
	evidence evidence.Keeper
	activity *activity.Recent
	metrics  *telemetry.Metrics
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
	g := &Gateway{
		o: o, started: o.Now(), background: newBackground(), instance: call.NewID(), calls: wire.NewCalls(),
		stacks: newShared[stackKey](func(s *stacked) { s.transport.CloseIdleConnections() }),
		memory: memory.NewBudget(heldOf(cfg.Server.Limits)),
	}
	g.certificates.Store(new(certificates))
	g.limits = resilience.NewLimits(clusterRates{&g.redis}, o.Now)
	g.cache = cache.New(cache.Options{
		Memory: memoryOf(cfg.Cache), Log: o.Log, Now: o.Now, Classify: egress.Classify, Done: g.askedByCache,
	})
	g.switches = maintenance.New(maintenance.Options{Now: o.Now, Log: o.Log, Store: g.sharedSwitches,
		Known: g.knownProvider})
	g.activity = activity.New(activity.Options{Now: o.Now, Mask: telemetry.Mask, Known: g.isProvider})
	var err error
	if g.metrics, err = g.newMetrics(); err != nil {
		return nil, err
	}
	first, err := g.newGeneration(cfg, nil)
	if err != nil {
		return nil, err
	}
	g.use(first)
	g.internal = g.newServer(http.HandlerFunc(g.serve), true)
	g.admin = g.newServer(g.administration(), false)
	return g, nil
}

// newServer makes a server. With reserve, it leaves the last file descriptors to the others.
func (g *Gateway) newServer(h http.Handler, reserve bool) *listen.Server {
	return listen.New(listen.Options{
		Handler: h, ConnContext: server.ConnContext, NewID: call.NewID, Log: g.o.Log, Reserve: reserve,
		Memory: g.memory,
	})
}

// Start opens the evidence and the listeners, or none of them.
func (g *Gateway) Start() error {
	cfg := g.current.Load().cfg
	o := audit.Options{Version: g.o.Version, OpenFile: g.o.OpenFile, Now: g.o.Now, Log: g.o.Log}
	if err := g.evidence.Open(cfg, o); err != nil {
		return errors.Join(err, g.closeEvidence())
	}
	listeners, err := g.prepareListeners(cfg)
	if err != nil {
		return errors.Join(err, g.closeEvidence())
	}
	listeners.commit()
	g.o.Log.Info("started", "version", g.o.Version, "environment", string(cfg.Environment), "hash", cfg.Hash(),
		"listeners", texts(g.Addrs()), "admin", texts(g.AdminAddrs()),
		"clients", slices.Sorted(maps.Keys(cfg.OAuth.Clients)), "enterprises", len(cfg.Tenancy.Enterprises),
		"callers", len(cfg.Callers), "routes", len(cfg.Routes))
	return nil
}

func texts(addresses []net.Addr) (list []string) {
	for _, a := range addresses {
		list = append(list, a.String())
	}
	return list
}

// Addrs are the internal endpoint's addresses, once Start has returned.
func (g *Gateway) Addrs() []net.Addr { return g.internal.Addrs() }

// AdminAddrs are the admin listener's addresses.
func (g *Gateway) AdminAddrs() []net.Addr { return g.admin.Addrs() }

// serve has a request served by the generation in force, which is kept until the request
// is done.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
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

// done takes each finished record, in this order. A new observer is added here and nowhere
// else. None may keep the record, and none may wait: the caller's connection waits with it.
func (g *Gateway) done(r *call.Record) {
	now := g.current.Load()
	g.o.Done(r) // the access log
	g.activity.Done(r)
	g.metrics.Done(r)
	now.trace(r)
	g.evidence.Done(r, now.impersonal[r.Route]) // and the log of refusals
}

// askedByCache takes the record of what the cache asked in the background: the collector of
// traces would not know otherwise where its tries belong.
func (g *Gateway) askedByCache(r *call.Record) {
	g.o.Done(r)
	g.current.Load().trace(r)
}

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
	g.background.wg.Go(func() { g.switches.Follow(g.background.ctx) })
	g.background.wg.Go(func() { g.followKeys(g.background.ctx) })
	g.background.wg.Go(func() { g.becomeReady(g.background.ctx) })
	defer g.cache.Close()
	defer func() {
		// No configuration that is being taken can start anything after it.
		g.replacing.Lock()
		defer g.replacing.Unlock()
		g.background.stop()
	}()

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
	err = empty(deadline, &g.serving)
	if n := g.serving.Load(); err != nil {
		g.o.Log.Warn("stopping: requests are cut", "requests", n, "after", drain.Timeout.String())
		err = fmt.Errorf("stopping: %d requests were cut after %s: %w", n, drain.Timeout, err)
	}
	// What is still under way is cut by a deadline that is over; nothing else waits.
	for _, s := range []*listen.Server{g.internal, g.admin} {
		if failed := s.Shutdown(deadline); !errors.Is(failed, deadline.Err()) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// empty waits until the requests that n counts are done. The error is that of ctx.
func empty(ctx context.Context, n *atomic.Int64) error {
	const pause = 10 * time.Millisecond
	for n.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}
