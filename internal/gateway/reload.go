package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/tenancy"
	"ebox-gateway/internal/watch"
)

// rejection is the last configuration that was not taken, and why.
type rejection struct {
	at     time.Time
	hash   string
	errors []string
	// confirmable says that it is taken all the same if somebody confirms it.
	confirmable bool
}

// DropError is a configuration that would drop more enterprises, or lift more
// suspensions, than a slip should be able to: a list that was cut off, or emptied by a
// full disk, looks like one that somebody shortened.
type DropError struct {
	// Hash is the configuration's.
	Hash string
	// Dropped of Listed enterprises would be gone; Lifted of Suspended ones would be
	// served again.
	Dropped, Listed, Lifted, Suspended int
}

func (e *DropError) Error() string {
	var what []string
	if e.Dropped > 0 {
		what = append(what, fmt.Sprintf("drops %d of %d enterprises", e.Dropped, e.Listed))
	}
	if e.Lifted > 0 {
		what = append(what, fmt.Sprintf("lifts the suspension of %d of %d enterprises", e.Lifted, e.Suspended))
	}
	return "the new configuration " + strings.Join(what, " and ") +
		": if that is meant, confirm it with SIGHUP, or with POST /configuration/confirm?hash=" + e.Hash +
		" on the admin listener"
}

// dropLimit is the share of the enterprises, and of the suspensions, that a reload may
// drop unconfirmed.
const dropLimit = 0.05

// tooManyDropped returns a DropError if next drops more than it may unconfirmed, with
// those counts alone that are too high. All suspensions are always too many.
func tooManyDropped(old *generation, next *config.Config) error {
	e := &DropError{Hash: next.Hash()}
	if n, listed := droppedEnterprises(old.cfg, next),
		len(old.cfg.Tenancy.Enterprises); float64(n) > dropLimit*float64(listed) {
		e.Dropped, e.Listed = n, listed
	}
	suspended, after := old.resolver.Suspended(), tenancy.SuspendedIn(next.Tenancy)
	n := liftedSuspensions(suspended, after, next.Tenancy)
	if float64(n) > dropLimit*float64(len(suspended)) || n > 0 && len(after) == 0 {
		e.Lifted, e.Suspended = n, len(suspended)
	}
	if e.Dropped == 0 && e.Lifted == 0 {
		return nil
	}
	return e
}

// liftedSuspensions counts the suspended enterprises that next serves again.
func liftedSuspensions(suspended, after map[enterprise.Number]bool, next config.Tenancy) (n int) {
	listed := listedIn(next)
	for number := range suspended {
		if !after[number] && (next.Mode == config.Any || listed[number]) {
			n++
		}
	}
	return n
}

// Replace builds the configuration whole and swaps it in, with no request lost. On
// an error everything is as it was. A configuration that drops more than 5 % of the
// enterprises or of the suspensions is refused with a DropError unless confirmed is its
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
	next, err := newGeneration(cfg, g.o, g.pool, old, g.done)
	if err != nil {
		return err
	}
	listeners, err := g.prepareListeners(cfg)
	if err != nil {
		next.discard(old)
		return err
	}
	if err := g.pool.evidence.Replace(old.cfg, cfg); err != nil {
		g.o.Log.Error("the log of refusals stays where it was", "cause", err.Error())
	}
	g.background.start(next)
	g.current.Store(next)
	listeners.commit() // a new listener's callers are known by now
	next.useRedis()
	next.useTracer()
	g.useMetrics(next)
	g.takeLevel(old.cfg, cfg)
	g.pool.cache.Resize(memoryOf(cfg.Cache))
	g.pool.memory.Resize(heldOf(cfg.Server.Limits))
	g.background.wg.Go(func() { g.retire(old) })
	g.o.Log.Info("the configuration was replaced", "hash", cfg.Hash(), "before", old.cfg.Hash(), "changed",
		config.Changed(old.cfg, cfg),
		"enterprises", len(cfg.Tenancy.Enterprises), "dropped", droppedEnterprises(old.cfg, cfg))
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
	g.background.running.leaveAll(old)
	for old.active.Load() > 0 && g.background.ctx.Err() == nil { // a long download; it counts as under way
		select {
		case <-g.background.ctx.Done():
		case <-time.After(time.Second):
		}
	}
	g.pool.stacks.leaveAll(old)
}

// droppedEnterprises counts those of old that next has not.
func droppedEnterprises(old, next *config.Config) (n int) {
	if old.Tenancy.Mode != config.Listed || next.Tenancy.Mode != config.Listed {
		return 0
	}
	kept := listedIn(next.Tenancy)
	for _, e := range old.Tenancy.Enterprises {
		if !kept[e.Number] {
			n++
		}
	}
	return n
}

func listedIn(t config.Tenancy) map[enterprise.Number]bool {
	numbers := make(map[enterprise.Number]bool, len(t.Enterprises))
	for _, e := range t.Enterprises {
		numbers[e.Number] = true
	}
	return numbers
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
	r.confirmable = errors.As(err, &drop)
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

// Confirm takes the configuration that was refused with a DropError, if it
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
// anything: a number in them is stopped at once, and even while another file is bad. A
// number that is gone from them is served again with the next configuration that is
// taken, which has to be confirmed if there are many of them.
func (g *Gateway) Watch(ctx context.Context, interval time.Duration, hup <-chan os.Signal) {
	w := &watcher{gateway: g, files: watch.NewFiles(g.current.Load().cfg.Files()...)}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := g.pool.evidence.Reopen(); err != nil {
				g.o.Log.Error("a log of the evidence could not be opened anew", "cause", err.Error())
			}
			g.current.Load().tokens.Retry()
			w.reload(ctx, true)
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

// load reads the configuration, or gives up when ctx is done: on a file system that
// hangs it may take some seconds.
func (w *watcher) load(ctx context.Context) (*config.Config, error) {
	type result struct {
		cfg *config.Config
		err error
	}
	done := make(chan result, 1)
	go func() {
		cfg, err := w.gateway.o.Load()
		done <- result{cfg, err}
	}()
	select {
	case r := <-done:
		return r.cfg, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reload reads the configuration. An operator who asks by a signal for what was
// refused with a DropError has confirmed it.
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
		confirmed = r.hash
	}
	now := g.current.Load()
	// A number that was added to a suspended file and taken out again leaves the hash as
	// it was, and is still suspended.
	added := len(now.resolver.Suspended()) > len(tenancy.SuspendedIn(now.cfg.Tenancy))
	if cfg.Hash() == now.cfg.Hash() && !added {
		if asked {
			g.o.Log.Info("nothing has changed: the configuration in force is that of the files", "hash", cfg.Hash())
		}
		w.pending = false
		g.rejected.Store(nil)
		return
	}
	err = g.Replace(cfg, confirmed)
	if w.pending = err != nil; err == nil {
		w.pending = w.files.Follow(cfg.Files()...) // files that were named anew are loaded once more
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
