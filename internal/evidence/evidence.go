// Package evidence says what of a request the chain of package audit is given: the intent of a
// write before it is sent, whatever became of a call, and who was refused, which has a log of its
// own beside it. While the chain cannot be written, nobody is served who would leave a record.
package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/logfile"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/tenancy"
)

// Keeper keeps evidence and outlives configurations. Its zero value keeps nothing: a
// gateway that was built and not started opens no file.
type Keeper struct {
	log      atomic.Pointer[audit.Log]
	ship     *logfile.File // nil if checkpoints go to a stream or nowhere
	refusals refusals
}

// AuditOptions says what a chain of evidence of a configuration is made of.
func AuditOptions(cfg *config.Config) (audit.Options, error) {
	a := cfg.Audit
	o := audit.Options{
		Dir: a.Dir, Replica: a.Replica, KeyFile: a.KeyFile, SegmentSize: int64(a.SegmentSize),
		CheckpointEvery: a.CheckpointEvery, StampURL: a.TimestampURL, StampEvery: a.TimestampEvery,
		KeepYears: a.KeepYears, StopAfter: stopAfter(a), Mask: telemetry.Mask,
		Queue: Queue(cfg),
	}
	if o.Replica == "" {
		var err error
		if o.Replica, err = os.Hostname(); err != nil {
			return o, fmt.Errorf("naming this replica's evidence: %w; set audit.replica", err)
		}
	}
	return o, nil
}

// Queue is how many records may wait in memory. From half of it on no request
// begins: the other half has room for an intent and an outcome of all that may be under way.
func Queue(cfg *config.Config) int { return max(20_000, 4*cfg.Server.Limits.MaxRequests) }

func stopAfter(a config.Audit) time.Duration {
	if a.StopAfter == config.StopNever {
		return audit.Never
	}
	return time.Duration(a.StopAfter)
}

// Demanded tells the environments in which there are real messages, so that evidence should be kept.
func Demanded(e config.Environment) bool {
	return e == config.Production || e == config.Acceptance
}

// Open begins to keep evidence, before the first request is served. p is what of the options is
// the process's: Version, OpenFile, Now and Log.
func (k *Keeper) Open(cfg *config.Config, p audit.Options) error {
	if cfg.Audit.Dir == "" {
		if err := k.useRefusals(cfg.Log.Security); err != nil {
			return err
		}
		if Demanded(cfg.Environment) {
			p.Log.Warn("no evidence is kept of who read or changed what: set audit.dir")
		}
		return nil
	}
	o, err := AuditOptions(cfg)
	if err != nil {
		return err
	}
	o.Version, o.OpenFile, o.Now, o.Log = p.Version, p.OpenFile, p.Now, p.Log
	if o.Ship, k.ship, err = openOutput(cfg.Audit.Checkpoints, 0, 0); err != nil {
		return fmt.Errorf("opening audit.checkpoints: %w", err)
	}
	if k.ship != nil {
		o.Shipped = cfg.Audit.Checkpoints
	}
	log, err := audit.Open(o)
	if err != nil {
		return errors.Join(err, k.ship.Close())
	}
	k.log.Store(log)
	if err := k.useRefusals(cfg.Log.Security); err != nil {
		return err
	}
	k.Event(audit.KindConfiguration, netip.Addr{}, "result", "started", "newHash", cfg.Hash())
	p.Log.Info("evidence is kept", "directory", log.Dir(), "key", log.Status().Key)
	return nil
}

// Close signs the end.
func (k *Keeper) Close() error {
	log := k.log.Load()
	if log == nil {
		return k.refusals.close()
	}
	return errors.Join(k.refusals.close(), log.Close(), k.ship.Close())
}

// Kept reports whether evidence is kept.
func (k *Keeper) Kept() bool { return k.log.Load() != nil }

// Reopen opens the logs anew, after they were moved away.
func (k *Keeper) Reopen() error { return errors.Join(k.refusals.reopen(), k.ship.Reopen()) }

// Replace takes over what of a new configuration can change while the gateway runs. After
// an error the log of refusals stays where it was.
func (k *Keeper) Replace(old, next *config.Config) (err error) {
	if log := k.log.Load(); log != nil {
		log.SetStopAfter(stopAfter(next.Audit))
	}
	if old.Log.Security != next.Log.Security {
		err = k.useRefusals(next.Log.Security)
	}
	k.Event(audit.KindConfiguration, netip.Addr{}, "result", "taken", "oldHash", old.Hash(), "newHash", next.Hash(),
		"changed", strings.Join(config.Changed(old, next), " "))
	return err
}

// Fixed refuses a configuration whose evidence would begin elsewhere: a chain
// belongs to a process.
func Fixed(old, next *config.Config) error {
	a, b := old.Audit, next.Audit
	a.StopAfter, b.StopAfter = 0, 0
	if a != b {
		return errors.New("audit cannot change while the gateway runs, but for stopAfter: restart it")
	}
	return nil
}

func (k *Keeper) useRefusals(to string) error {
	if err := k.refusals.use(to, k.log.Load()); err != nil {
		return fmt.Errorf("opening log.security: %w", err)
	}
	return nil
}

// openOutput opens where lines go: "stdout" and "stderr" are the streams, anything else is a file,
// which is given a second time to be closed, empty is nowhere. most and keep are those of logfile.Open.
func openOutput(to string, most int64, keep int) (io.Writer, *logfile.File, error) {
	switch to {
	case "":
		return nil, nil, nil
	case "stdout":
		return telemetry.Locked(os.Stdout), nil, nil
	case "stderr":
		return telemetry.Locked(os.Stderr), nil, nil
	}
	file, err := logfile.Open(to, most, keep)
	return file, file, err
}

// Event records something that is no call. The fields are names and values in turn.
func (k *Keeper) Event(kind audit.Kind, source netip.Addr, fields ...string) {
	log := k.log.Load()
	if log == nil {
		return
	}
	known := make(map[string]string)
	if source.IsValid() {
		known["source"] = source.String()
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			known[fields[i]] = fields[i+1]
		}
	}
	log.Event(kind, known)
}

// Done keeps a finished request, if it is evidence. An impersonal one is about nobody.
func (k *Keeper) Done(r *call.Record, impersonal bool) {
	k.refusals.done(r)
	if log := k.log.Load(); log != nil && (r.Intent || !impersonal) {
		log.Done(r)
	}
}

// Intent is audit.Log.Intent for the stacks of upstreams, which are made before there is a log.
func (k *Keeper) Intent(ctx context.Context, r *call.Record) error {
	log := k.log.Load()
	if log == nil {
		return nil
	}
	return log.Intent(ctx, r)
}

// Admitter lets a call in, or gives the problem that it is refused with.
type Admitter = func(context.Context, *call.Call, tenancy.Tenant) error

// Admission lets nobody in while evidence has been failing for longer than it may, and
// nobody who would leave a record while too many wait. impersonal are the routes that
// leave none.
func (k *Keeper) Admission(impersonal map[string]bool, next Admitter) Admitter {
	const again = 10 * time.Second
	return func(ctx context.Context, c *call.Call, tenant tenancy.Tenant) error {
		log := k.log.Load()
		if log == nil {
			return next(ctx, c, tenant)
		}
		if log.Refused() {
			return problem.Unavailable("The gateway cannot write its evidence, and serves nobody without it. Nothing was "+
				"sent. The platform team finds the reason in its status; try again later.", again).
				Proxy(problem.ProxyInternalError)
		}
		if log.Full() && !impersonal[c.Route] && audit.MayRecord(c.Method, c.Action, c.Path) {
			return problem.Unavailable("The gateway holds as many records of its evidence as it may that are not on disk yet, "+
				"and begins nothing of which it could lose the record. Nothing was sent. The platform team finds the reason in "+
				"its status; try again later.", again).
				Proxy(problem.ProxyInternalError)
		}
		return next(ctx, c, tenant)
	}
}

// Status is nil if no evidence is kept.
func (k *Keeper) Status() *audit.Status {
	log := k.log.Load()
	if log == nil {
		return nil
	}
	s := log.Status()
	return &s
}

// Administered records what is changed by the admin listener: purges, switches, levels.
func (k *Keeper) Administered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		noted := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(noted, r)
		if noted.Status() >= http.StatusBadRequest {
			return // nothing changed
		}
		const most = 1024
		from, _ := netip.ParseAddrPort(r.RemoteAddr) // invalid is left out
		query := telemetry.Mask(r.URL.RawQuery)
		k.Event(audit.KindAdministration, from.Addr().Unmap(), "method", r.Method, "url",
			strings.TrimSuffix(r.URL.Path+"?"+query[:min(len(query), most)], "?"),
			"requestId", w.Header().Get("X-Request-Id"), "result", strconv.Itoa(cmp.Or(noted.Status(), http.StatusOK)))
	})
}
