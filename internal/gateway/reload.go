package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/watch"
)

// rejection is the last configuration that was not taken, and why.
type rejection struct {
	at     time.Time
	hash   string
	errors []string
	// drop is how many enterprises it would have dropped, if that was the reason;
	// what is confirmed is taken all the same.
	drop int
}

// DropError is a configuration that would drop more enterprises than a slip should
// be able to.
type DropError struct {
	// Hash is the configuration's, Dropped and Before count enterprises.
	Hash            string
	Dropped, Before int
}

func (e *DropError) Error() string {
	return fmt.Sprintf("the new configuration drops %d of %d enterprises: if that is meant, confirm it with SIGHUP, or with POST /configuration/confirm?hash=%s on the admin listener", e.Dropped, e.Before, e.Hash)
}

// dropLimit is the share of the enterprises that a reload may drop unconfirmed.
const dropLimit = 0.05

// Replace builds the configuration whole and swaps it in, with no request lost. On
// an error everything is as it was. A configuration that drops more than 5 % of the
// enterprises is refused with a DropError unless confirmed is its hash.
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
	if dropped := droppedEnterprises(old.cfg, cfg); float64(dropped) > dropLimit*float64(len(old.cfg.Tenancy.Enterprises)) && confirmed != cfg.Hash() {
		return &DropError{Hash: cfg.Hash(), Dropped: dropped, Before: len(old.cfg.Tenancy.Enterprises)}
	}
	if err := fixedEvidence(old.cfg, cfg); err != nil {
		return err
	}
	next, err := newGeneration(cfg, g.o, g.pool, old, g.done)
	if err != nil {
		return err
	}
	if err := g.listen(cfg); err != nil {
		next.discard(old)
		return err
	}
	g.replaceEvidence(old.cfg, cfg)
	g.pool.join(next)
	g.background.start(next)
	g.current.Store(next)
	next.useRedis()
	next.useTracer()
	g.useMetrics(next)
	g.takeLevel(old.cfg, cfg)
	g.pool.cache.Resize(memoryOf(cfg.Cache))
	g.background.wg.Go(func() { g.retire(old) })
	g.o.Log.Info("the configuration was replaced", "hash", cfg.Hash(), "enterprises", len(cfg.Tenancy.Enterprises), "routes", len(cfg.Routes))
	return nil
}

// retire ends a generation when the last of its requests is done, or when they have
// had the time that a stop would give them.
func (g *Gateway) retire(old *generation) {
	ctx, cancel := context.WithTimeout(g.background.ctx, old.cfg.Server.Drain.Timeout)
	defer cancel()
	for old.active.Load() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	g.background.end(old)
	for old.active.Load() > 0 && g.background.ctx.Err() == nil { // a long download; it counts as under way
		select {
		case <-g.background.ctx.Done():
		case <-time.After(time.Second):
		}
	}
	g.pool.leaveAll(old)
}

// droppedEnterprises counts those of old that next has not.
func droppedEnterprises(old, next *config.Config) (n int) {
	if old.Tenancy.Mode != config.Listed || next.Tenancy.Mode != config.Listed {
		return 0
	}
	kept := make(map[enterprise.Number]bool, len(next.Tenancy.Enterprises))
	for _, e := range next.Tenancy.Enterprises {
		kept[e.Number] = true
	}
	for _, e := range old.Tenancy.Enterprises {
		if !kept[e.Number] {
			n++
		}
	}
	return n
}

// reject remembers why a configuration was not taken, and says so once.
func (g *Gateway) reject(cfg *config.Config, err error) {
	r := &rejection{at: g.o.Now(), errors: []string{err.Error()}}
	var list config.Errors
	if errors.As(err, &list) {
		r.errors = r.errors[:0]
		for _, e := range list {
			r.errors = append(r.errors, e.Error())
		}
	}
	var drop *DropError
	if errors.As(err, &drop) {
		r.drop = drop.Dropped
	}
	if cfg != nil {
		r.hash = cfg.Hash()
	}
	if last := g.rejected.Load(); last != nil && slices.Equal(last.errors, r.errors) {
		return
	}
	g.rejected.Store(r)
	g.rejectedEvidence(r)
	g.o.Log.Error("the configuration was not taken; the one before stays in force", "cause", err.Error())
}

// Confirm takes the configuration that was refused for dropping enterprises, if it
// still is the one with this hash.
func (g *Gateway) Confirm(hash string) error {
	if g.o.Load == nil {
		return errors.New("this gateway's configuration does not change")
	}
	cfg, err := g.o.Load()
	if err != nil {
		return err
	}
	if cfg.Hash() != hash {
		return fmt.Errorf("the files have changed since: their hash is %s now", cfg.Hash())
	}
	return g.Replace(cfg, hash)
}

// Watch replaces the configuration when its files change, by their content, and on
// every signal of hup, until ctx is done. A file has to be the same for two looks
// before it is read, lest it be read half written. Suspended files need not wait for
// anything: a number in them is stopped at once, and even while another file is bad.
func (g *Gateway) Watch(ctx context.Context, interval time.Duration, hup <-chan os.Signal) {
	w := &watcher{gateway: g, files: watch.NewFiles(g.current.Load().cfg.Files()...)}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := g.pool.evidence.reopen(); err != nil {
				g.o.Log.Error("a log of the evidence could not be opened anew", "cause", err.Error())
			}
			w.reload(true)
		case <-tick.C:
			w.look()
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

func (w *watcher) look() {
	changed := w.files.Changed()
	if len(changed) > 0 {
		w.gateway.suspend(changed)
		w.pending = true
		return // until it has been the same for two looks
	}
	if w.pending {
		w.reload(false)
	}
}

// reload reads the configuration. An operator who asks by a signal for what was
// refused for dropping enterprises has confirmed it.
func (w *watcher) reload(asked bool) {
	g := w.gateway
	cfg, err := g.o.Load()
	if err != nil {
		if asked {
			g.rejected.Store(nil) // so that it is said again
		}
		g.reject(nil, err)
		w.pending = true
		return
	}
	confirmed := ""
	if r := g.rejected.Load(); asked && r != nil && r.drop > 0 {
		confirmed = r.hash
	}
	if cfg.Hash() == g.current.Load().cfg.Hash() {
		if asked {
			g.o.Log.Info("nothing has changed: the configuration in force is that of the files", "hash", cfg.Hash())
		}
		w.pending = false
		g.rejected.Store(nil)
		return
	}
	err = g.Replace(cfg, confirmed)
	w.pending = err != nil
	if err == nil {
		w.files = watch.NewFiles(cfg.Files()...)
	}
}

// suspend stops the numbers of suspended files that changed, whatever else is wrong.
func (g *Gateway) suspend(changed []string) {
	now := g.current.Load()
	if !slices.ContainsFunc(now.cfg.Tenancy.SuspendedFiles, func(f string) bool { return slices.Contains(changed, f) }) {
		return
	}
	var numbers []enterprise.Number
	for _, f := range now.cfg.Tenancy.SuspendedFiles {
		list, err := config.LoadSuspended(f)
		if err != nil {
			g.o.Log.Error("a suspended file has lines that cannot be read; the others are in force", "file", f, "cause", err.Error())
			if len(list) == 0 { // unreadable as a whole: nobody is set free by that
				numbers = append(numbers, now.cfg.Tenancy.Suspended...)
			}
		}
		numbers = append(numbers, list...)
	}
	now.resolver.suspend(numbers)
	g.o.Log.Info("the suspended enterprises changed", "suspended", len(numbers))
}
