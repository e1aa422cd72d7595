package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
	"ebox-gateway/internal/watch"
)

// Watch replaces the configuration when its files change, by their content, and on
// every signal of hup, until ctx is done. A file has to be the same for two looks
// before it is read, lest it be read half written. Suspended files need not wait for
// anything: a number in them is stopped at once, and even while another file is bad. A
// number that is gone from them is served again with the next configuration that is
// taken, which has to be confirmed if there are many of them.
func (g *Gateway) Watch(ctx context.Context, interval time.Duration, hup <-chan os.Signal) {
	// The files may have changed since the configuration in force was read.
	w := &watcher{gateway: g, files: watch.NewFiles(g.current.Load().cfg.Files()...), pending: true}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := g.evidence.Reopen(); err != nil {
				g.o.Log.Error("a log of the evidence could not be opened anew", "cause", err.Error())
			}
			g.current.Load().tokens.Retry()
			g.reloading.Lock()
			w.reload(ctx, true)
			g.reloading.Unlock()
		case <-tick.C:
			w.look(ctx)
		}
	}
}

// watcher follows the files of a configuration.
type watcher struct {
	gateway *Gateway
	files   *watch.Files
	// pending is set by a change and while the files as they are cannot be taken:
	// a file that a bad configuration names for the first time is not watched.
	pending bool
}

func (w *watcher) look(ctx context.Context) {
	w.gateway.reloading.Lock()
	defer w.gateway.reloading.Unlock()
	changed := w.files.Changed()
	if len(changed) > 0 {
		w.gateway.suspend(changed)
		w.pending = true
		return // until it has been the same for two looks
	}
	if w.pending {
		w.reload(ctx, false)
	}
}

// suspend stops the numbers that are new in suspended files, whatever else is wrong. It
// lifts no suspension: that waits for a whole configuration.
func (g *Gateway) suspend(changed []string) {
	now := g.current.Load()
	if !slices.ContainsFunc(now.cfg.Tenancy.SuspendedFiles, func(f string) bool { return slices.Contains(changed, f) }) {
		return
	}
	var numbers []enterprise.Number
	for _, f := range now.cfg.Tenancy.SuspendedFiles {
		list, err := config.LoadSuspended(f)
		if err != nil {
			g.o.Log.Error("a suspended file has lines that cannot be read; the others are in force", "file", f,
				"cause", err.Error())
		}
		numbers = append(numbers, list...)
	}
	if added := now.resolver.Suspend(numbers); added > 0 {
		g.o.Log.Info("enterprises were suspended", "added", added, "suspended", len(now.resolver.Suspended()))
	}
}

// reload reads the configuration and takes it, if it is another. An operator who asks by a
// signal for what was refused since it drops too much has confirmed it.
func (w *watcher) reload(ctx context.Context, asked bool) {
	g := w.gateway
	cfg, err := w.load(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if asked {
			g.rejected.Store(nil) // so that it is said again
		}
		g.reject(nil, err)
		w.pending = true
		return
	}
	confirmed := ""
	if r := g.rejected.Load(); asked && r != nil && r.confirmable {
		confirmed = r.Hash
	}
	now := g.current.Load()
	// A number that was added to a suspended file and taken out again leaves the hash as
	// it was, and is still suspended.
	added := len(now.resolver.Suspended()) > len(tenancy.SuspendedIn(now.cfg.Tenancy))
	if cfg.Hash() == now.cfg.Hash() && !added {
		if asked {
			g.o.Log.Info("nothing has changed: the configuration in force is that of the files", "hash", cfg.Hash())
		}
		g.rejected.Store(nil)
	} else if err := g.Replace(cfg, confirmed); err != nil {
		w.pending = true
		return
	}
	// Files that were named anew, also by a configuration that was confirmed meanwhile, are
	// loaded once more.
	w.pending = w.files.Follow(cfg.Files()...)
}

// load reads the configuration, or gives up when ctx is done: on a file system that
// hangs it may take some seconds.
func (w *watcher) load(ctx context.Context) (*config.Config, error) {
	var cfg *config.Config
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		cfg, err = w.gateway.o.Load()
	}()
	select {
	case <-done:
		return cfg, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Confirm takes the configuration that was refused since it drops too much, if it
// still is the one with this hash.
func (g *Gateway) Confirm(hash string) error {
	if g.o.Load == nil {
		return errors.New("this gateway's configuration does not change")
	}
	g.reloading.Lock()
	defer g.reloading.Unlock()
	cfg, err := g.o.Load()
	if err != nil {
		return err
	}
	if cfg.Hash() != hash {
		return fmt.Errorf("the files have changed since: their hash is %s now", cfg.Hash())
	}
	return g.Replace(cfg, hash)
}

// Replace builds the configuration whole and swaps it in, with no request lost. On
// an error everything is as it was. A configuration that drops more than 5 % of the
// enterprises or of the suspensions is refused unless confirmed is its
// hash.
func (g *Gateway) Replace(cfg *config.Config, confirmed string) error {
	g.replacing.Lock()
	defer g.replacing.Unlock()
	err := g.replace(cfg, confirmed)
	if err != nil {
		g.reject(cfg, err)
		return err
	}
	g.rejected.Store(nil)
	return nil
}

func (g *Gateway) replace(cfg *config.Config, confirmed string) error {
	if g.background.ctx.Err() != nil {
		return errors.New("the gateway has stopped: the next start takes the new configuration")
	}
	old := g.current.Load()
	if confirmed != cfg.Hash() {
		if err := tooManyDropped(old, cfg); err != nil {
			return err
		}
	}
	if err := evidence.Fixed(old.cfg, cfg); err != nil {
		return err
	}
	next, err := g.newGeneration(cfg, old)
	if err != nil {
		return err
	}
	listeners, err := g.prepareListeners(cfg)
	if err != nil {
		next.discard(old)
		return err
	}
	// From here on nothing fails.
	if err := g.evidence.Replace(old.cfg, cfg); err != nil {
		g.o.Log.Error("the log of refusals stays where it was", "cause", err.Error())
	}
	g.background.start(next)
	g.use(next)
	listeners.commit() // a new listener's callers are known by now
	g.takeLevel(old.cfg, cfg)
	g.background.wg.Go(func() { g.retire(old) })
	g.o.Log.Info("the configuration was replaced", "hash", cfg.Hash(), "before", old.cfg.Hash(), "changed",
		config.Changed(old.cfg, cfg),
		"enterprises", len(cfg.Tenancy.Enterprises), "dropped", droppedEnterprises(old.cfg, cfg))
	return nil
}

// use puts a generation in force: for new requests, and in what outlives generations.
func (g *Gateway) use(next *generation) {
	g.current.Store(next)
	before := g.redis.Swap(next.redis)
	if next.redis == nil {
		g.cache.UseStore(nil)
	} else {
		g.cache.UseStore(next.redis.Answers())
		if before != nil && before != next.redis {
			next.redis.TellLater(before.Untold()) // invalidations that it could not tell
		}
	}
	g.cache.Resize(memoryOf(next.cfg.Cache))
	g.memory.Resize(heldOf(next.cfg.Server.Limits))
	g.tracer.Store(next.tracer)
	names := []string{server.InboxRoute}
	for _, r := range next.cfg.Routes {
		names = append(names, r.Name)
	}
	g.metrics.UseRoutes(names)
}

// retire ends a generation: what it runs beside the requests when the last of them is done,
// or when they have had the time that a stop would give them; its stacks after a long
// download, too.
func (g *Gateway) retire(old *generation) {
	ctx, cancel := context.WithTimeout(g.background.ctx, old.cfg.Server.Drain.Timeout)
	defer cancel()
	_ = empty(ctx, &old.active)
	g.background.running.leaveAll(old)
	_ = empty(g.background.ctx, &old.active)
	g.stacks.leaveAll(old)
}

// rejection is the last configuration that was not taken.
type rejection struct {
	operate.Rejected
	// confirmable says that it is taken all the same if somebody confirms it.
	confirmable bool
}

// reject remembers why a configuration was not taken, and says so once. cfg is nil if it
// could not be read.
func (g *Gateway) reject(cfg *config.Config, err error) {
	r := &rejection{Rejected: operate.Rejected{At: g.o.Now(), Errors: []string{err.Error()}}}
	var list config.Errors
	if errors.As(err, &list) {
		r.Errors = r.Errors[:0]
		for _, e := range list {
			r.Errors = append(r.Errors, e.Error())
		}
	}
	_, r.confirmable = err.(dropError)
	if cfg != nil {
		r.Hash = cfg.Hash()
	}
	if last := g.rejected.Load(); last != nil && slices.Equal(last.Errors, r.Errors) {
		return
	}
	g.rejected.Store(r)
	g.evidence.Event(audit.KindConfiguration, netip.Addr{}, "result", "rejected", "oldHash",
		g.current.Load().cfg.Hash(), "newHash", r.Hash, "errors", strconv.Itoa(len(r.Errors)), "firstError", r.Errors[0])
	g.o.Log.Error("the configuration was not taken; the one before stays in force", "cause", err.Error())
}
